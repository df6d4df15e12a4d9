from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import db, ledger, migrations
from store.ledger import Stamp
from store.node import lease
from store.node.lease import Fenced, Held

At = Callable[..., Stamp]


def test_one_holder_at_a_time_until_it_is_over(node: sqlite3.Connection, at: At) -> None:
    first = lease.take(node, at(0), "alice@laptop", seconds=60)
    with pytest.raises(Held) as caught:
        lease.take(node, at(59), "bob@laptop", seconds=60)
    assert caught.value.lease.holder == "alice@laptop"
    second = lease.take(node, at(60), "bob@laptop", seconds=60)
    assert second.token == first.token + 1


def test_i11_a_lower_token_and_a_token_past_its_time_are_fenced(node: sqlite3.Connection, at: At) -> None:
    old = lease.take(node, at(0), "a", seconds=60)
    with pytest.raises(Fenced):
        lease.check(node, at(61), old.token)
    new = lease.take(node, at(61), "b", seconds=60)
    assert lease.check(node, at(62), new.token) == new
    for token in (old.token, new.token + 1, None):
        with pytest.raises(Fenced):
            lease.check(node, at(62), token)


def test_i11_a_reboot_ends_the_lease_and_the_token_still_rises(node: sqlite3.Connection, at: At) -> None:
    first = lease.take(node, at(1_000), "a", seconds=60)
    with pytest.raises(Fenced):
        lease.check(node, at(1, boot="boot-2"), first.token)
    assert lease.take(node, at(1, boot="boot-2"), "b", seconds=60).token > first.token


def test_renewing_moves_the_deadline_and_keeps_the_token(node: sqlite3.Connection, at: At) -> None:
    held = lease.take(node, at(0), "a", seconds=60)
    assert lease.renew(node, at(50), held.token, seconds=60) == held._replace(deadline_us=110_000_000)
    with pytest.raises(Fenced):
        lease.renew(node, at(111), held.token, seconds=60)


def test_breaking_a_lease_names_both_in_the_ledger(node: sqlite3.Connection, at: At) -> None:
    lease.take(node, at(0), "a", seconds=60)
    broken = lease.take(node, at(1), "b", seconds=60, break_held=True)
    entry = ledger.page(node)[-1]
    assert (entry.action, entry.subject, entry.detail) == ("lease.break", "b", {"token": broken.token, "broken": "a"})


def test_a_holder_that_lost_the_answer_takes_it_again_and_fences_its_old_token(
    node: sqlite3.Connection, at: At
) -> None:
    lost = lease.take(node, at(0), "a", seconds=60)
    again = lease.take(node, at(1), "a", seconds=60)
    assert again.token == lost.token + 1
    with pytest.raises(Fenced):
        lease.check(node, at(1), lost.token)


def test_a_released_lease_is_free_and_an_old_token_releases_nothing(node: sqlite3.Connection, at: At) -> None:
    first = lease.take(node, at(0), "a", seconds=60)
    lease.release(node, at(1), first.token)
    second = lease.take(node, at(1), "b", seconds=60)
    lease.release(node, at(2), first.token)
    assert lease.current(node, at(2)) == second


_STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "break", "renew", "release", "write", "wait", "reboot"]), st.integers(0, 3)),
    max_size=60,
)


@settings(max_examples=50, deadline=None)
@given(steps=_STEPS)
def test_i11_writes_of_four_consoles_carry_tokens_that_never_fall(steps: list[tuple[str, int]]) -> None:
    node = sqlite3.connect(":memory:", isolation_level=None)
    migrations.migrate(node, "node", migrations.schema.STEPS)
    held: dict[int, int] = {}
    written: list[int] = []
    boot, now = 1, 0
    for act, console in steps:
        stamp = Stamp(f"b{boot}", now, 0, str(console))
        try:
            if act in ("take", "break"):
                taken = lease.take(node, stamp, f"c{console}", seconds=3e-6, break_held=act == "break")
                assert taken.token > max([0, *held.values()])
                held[console] = taken.token
            elif act == "renew" and console in held:
                lease.renew(node, stamp, held[console], seconds=3e-6)
            elif act == "release" and console in held:
                lease.release(node, stamp, held[console])
            elif act == "write" and console in held:
                with db.transaction(node):
                    written.append(lease.check(node, stamp, held[console]).token)
            elif act == "wait":
                now += console
            elif act == "reboot":
                boot, now = boot + 1, 0
        except (Held, Fenced):
            continue
    assert written == sorted(written)
    node.close()
