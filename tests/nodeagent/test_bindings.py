"""A node's bindings: merging, differences, secrets."""

from __future__ import annotations

import itertools
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.deployment import bindings

OLD: dict[str, Any] = {
    "plc": "tcp://10.0.0.5:502",
    "broker": {"url": "mqtt://b:1883", "user": "press", "password": "hunter2"},
    "scale": 0.5,
}
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('abc"\\\né', max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def test_merging_sets_replaces_and_unsets() -> None:
    new = bindings.merge(OLD, {"scale": 2, "gain": [1, 2]}, ["plc"])
    assert new == {"broker": OLD["broker"], "scale": 2, "gain": [1, 2]}
    assert list(bindings.diff(OLD, new)) == ["gain", "plc", "scale"]


def test_a_secret_given_back_as_stars_keeps_its_value() -> None:
    shown = bindings.hide(OLD)
    assert shown["broker"]["password"] == "***"
    assert bindings.merge(OLD, shown, []) == OLD


def test_a_changed_secret_is_in_the_difference_and_never_shown() -> None:
    new = bindings.merge(OLD, {"broker": {**OLD["broker"], "password": "other"}}, [])
    changes = bindings.shown_diff(OLD, new)
    assert list(changes) == ["broker"]
    assert "hunter2" not in repr(changes)
    assert "other" not in repr(changes)


def test_what_is_stored_holds_no_secret_and_can_be_put_together_again() -> None:
    stored, secrets = bindings.take_out(OLD, iter("ab").__next__, {})
    assert "hunter2" not in repr(stored)
    assert bindings.put_back(stored, secrets) == OLD
    assert bindings.secret_ids(stored) == {"a"}


def test_a_secret_that_did_not_change_keeps_its_id() -> None:
    _, secrets = bindings.take_out(OLD, iter("a").__next__, {})
    again, _ = bindings.take_out({**OLD, "scale": 3}, iter(()).__next__, secrets)
    assert bindings.secret_ids(again) == {"a"}


def test_a_lost_secret_says_what_to_do() -> None:
    stored, _ = bindings.take_out(OLD, iter("a").__next__, {})
    with pytest.raises(bindings.BindingError, match="bind it again"):
        bindings.put_back(stored, {})


@pytest.mark.parametrize(
    "values",
    [
        {"no name": 1},
        {"a": None},
        {"a": {"$secret": "x"}},
        {"a": float("nan")},
        {"a": "mqtt://user:pass@broker"},
        {"a": "x" * bindings.BYTES_MAX},
        {f"n{number}": 1 for number in range(bindings.NAMES_MAX + 1)},
        {"a": [[[[[[[[1]]]]]]]], "b": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}},
    ],
)
def test_what_cannot_be_a_binding_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(bindings.BindingError):
        bindings.check(values)


def test_unsetting_what_is_not_bound_is_refused() -> None:
    with pytest.raises(bindings.BindingError, match="ghost is not bound"):
        bindings.merge(OLD, {}, ["ghost"])


def test_missing_names_are_listed_once_and_in_order() -> None:
    assert bindings.missing(["z", "plc", "a", "z"], OLD) == ["a", "z"]


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_the_file_reads_back_as_the_same_values(values: dict[str, Any]) -> None:
    assert tomllib.loads(bindings.to_toml(values)) == values


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_taking_secrets_out_and_putting_them_back_changes_nothing_but_their_type(values: dict[str, Any]) -> None:
    counter = itertools.count()
    stored, secrets = bindings.take_out(values, lambda: str(next(counter)), {})
    assert bindings.hide(bindings.put_back(stored, secrets)) == bindings.hide(values)
