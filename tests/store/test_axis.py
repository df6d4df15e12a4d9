"""Records of a node whose clock stood in 1970 keep their order and get their time once somebody knows it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from store import ledger
from store.ledger import Stamp
from store.node import identity
from store.node.axis import NOTE, SET, Axis

TODAY_US = 1_790_000_000_000_000
At = Callable[..., Stamp]


@pytest.fixture
def boot(node: sqlite3.Connection) -> identity.Boot:
    return identity.enter_boot(node, "a", boottime_us=5, wall_us=7)


def key(boot: identity.Boot, boottime_us: int) -> int:
    return boot.number << identity.KEY_SHIFT | boottime_us


def give(node: sqlite3.Connection, action: str, boottime_us: int, wall_us: int) -> None:
    stamp = Stamp("a", boottime_us, 9, "alice", "")
    ledger.note(node, stamp, action, "node", {"before_us": 9, "wall_us": wall_us, "error_us": 1_000})


def test_what_nothing_is_known_of_stays_as_it_is(node: sqlite3.Connection, boot: identity.Boot) -> None:
    axis = Axis()
    axis.follow(node)
    assert axis.at_us(key(boot, 50), 52) is None


@pytest.mark.parametrize("action", [SET, NOTE])
def test_records_before_and_after_a_given_time_move_to_it(
    node: sqlite3.Connection, boot: identity.Boot, action: str
) -> None:
    axis = Axis()
    axis.follow(node)
    give(node, action, 1_000, TODAY_US)
    axis.follow(node)
    assert [axis.at_us(key(boot, at), at) for at in (400, 1_000, 1_600)] == [TODAY_US + n for n in (-600, 0, 600)]


def test_the_nearest_given_time_counts(node: sqlite3.Connection, boot: identity.Boot) -> None:
    axis = Axis()
    give(node, NOTE, 1_000, TODAY_US)
    give(node, NOTE, 9_000, TODAY_US + 50_000)
    axis.follow(node)
    assert axis.at_us(key(boot, 2_000), 0) == TODAY_US + 1_000
    assert axis.at_us(key(boot, 8_000), 0) == TODAY_US + 49_000


def test_a_clock_that_was_set_by_itself_moves_what_was_recorded_in_1970(
    node: sqlite3.Connection, boot: identity.Boot
) -> None:
    identity.add_clock_pair(node, boot.number, boottime_us=1_000, wall_us=TODAY_US)
    axis = Axis()
    axis.follow(node)
    assert axis.at_us(key(boot, 400), 402) == TODAY_US - 600
    assert axis.at_us(key(boot, 2_000), TODAY_US + 1_000) is None


def test_another_boot_is_another_matter(node: sqlite3.Connection, boot: identity.Boot) -> None:
    give(node, NOTE, 1_000, TODAY_US)
    later = identity.enter_boot(node, "b", boottime_us=5, wall_us=7)
    axis = Axis()
    axis.follow(node)
    assert axis.at_us(key(later, 1_000), 8) is None
