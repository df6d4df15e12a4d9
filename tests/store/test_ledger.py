from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import db, ledger
from store.ledger import GENESIS, Head, Stamp

At = Callable[..., Stamp]


def _write(node: sqlite3.Connection, at: At, count: int) -> list[Head]:
    return [ledger.note(node, at(n), "test.act", f"s{n}", {"n": n, "text": "grün \x00\n"}) for n in range(count)]


def test_i15_a_chain_that_nobody_touched_verifies(node: sqlite3.Connection, at: At) -> None:
    heads = _write(node, at, 5)
    assert ledger.verify(node) is None
    assert ledger.head(node) == heads[-1]
    assert [entry.seq for entry in ledger.page(node, after=2, limit=2)] == [3, 4]


def test_the_hash_is_the_one_that_the_contract_describes(node: sqlite3.Connection, at: At) -> None:
    (head,) = _write(node, at, 1)
    content = {
        "action": "test.act", "actor": "alice", "boot_id": "boot-1", "boottime_us": 0,
        "detail": {"n": 0, "text": "grün \x00\n"}, "seq": 1, "subject": "s0", "wall_us": 1_000_000,
    }  # fmt: skip
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert head.hash == hashlib.sha256((GENESIS + "\n" + text).encode()).hexdigest()


@pytest.mark.parametrize(
    "column", ["boot_id", "boottime_us", "wall_us", "actor", "action", "subject", "detail", "previous", "hash"]
)
def test_i15_a_change_of_any_field_breaks_the_chain_at_that_entry(
    node: sqlite3.Connection, at: At, column: str
) -> None:
    _write(node, at, 4)
    node.execute("DROP TRIGGER ledger_is_not_edited")
    value = '{"n":7}' if column == "detail" else 7 if column.endswith("_us") else "x"
    node.execute(f"UPDATE ledger SET {column} = ? WHERE seq = 2", (value,))
    assert ledger.verify(node) == 2


def test_i15_a_missing_entry_breaks_the_chain(node: sqlite3.Connection, at: At) -> None:
    _write(node, at, 4)
    node.execute("DROP TRIGGER ledger_is_not_cut")
    node.execute("DELETE FROM ledger WHERE seq = 3")
    assert ledger.verify(node) == 4


def test_i15_the_database_refuses_to_edit_or_cut_the_ledger(node: sqlite3.Connection, at: At) -> None:
    _write(node, at, 2)
    for statement in ("UPDATE ledger SET actor = 'x'", "DELETE FROM ledger"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            node.execute(statement)


def test_i15_a_rewritten_or_shortened_chain_does_not_extend_the_anchor(node: sqlite3.Connection, at: At) -> None:
    anchor = _write(node, at, 3)[-1]
    later = _write(node, at, 2)[-1]
    entries = ledger.page(node, after=anchor.seq)
    assert ledger.extends(anchor, entries, later)
    assert ledger.extends(later, [], later)
    assert not ledger.extends(Head(anchor.seq, "0" * 64), entries, later)
    assert not ledger.extends(later, [], anchor)
    assert not ledger.extends(anchor, entries[1:], later)
    assert not ledger.extends(anchor, entries[:1], later)


def test_an_entry_outside_of_a_transaction_is_refused(node: sqlite3.Connection, at: At) -> None:
    with pytest.raises(ValueError, match="transaction"):
        ledger.append(node, **at(0)._asdict(), action="a", subject="b", detail={})


@pytest.mark.parametrize("detail", [{"x": float("nan")}, {"x": b"bytes"}, {"x": "y" * (ledger.ENTRY_BYTES_MAX + 1)}])
def test_what_is_no_json_or_too_long_is_refused_and_takes_its_transaction_with_it(
    node: sqlite3.Connection, at: At, detail: dict[str, object]
) -> None:
    def change() -> None:
        with db.transaction(node):
            ledger.note(node, at(0), "first", "x")
            ledger.note(node, at(0), "second", "x", detail)

    with pytest.raises((ValueError, TypeError)):
        change()
    assert ledger.head(node) == Head(0, GENESIS)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(detail=st.dictionaries(_TEXTS, _VALUES, max_size=4))
def test_i15_any_json_survives_the_wire_with_its_hash(detail: dict[str, object]) -> None:
    entry = ledger.Entry(1, "b", 1, 2, "a", "act", "s", detail, GENESIS, "")
    sent = json.loads(json.dumps(entry._replace(hash=ledger.entry_hash(entry))._asdict()))
    assert ledger.first_break(Head(0, GENESIS), [ledger.Entry(**sent)]) is None
