from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from store import db, ledger
from store.ledger import Stamp
from store.node import alerts, bindings, identity, labels, standing, trend
from store.node.trend import Point

At = Callable[..., Stamp]


def test_a_node_gets_one_id_for_life(node: sqlite3.Connection) -> None:
    assert identity.node_id(node) is None
    identity.create(node, "n-1", wall_us=5)
    with pytest.raises(sqlite3.IntegrityError):
        identity.create(node, "n-2", wall_us=6)
    assert identity.node_id(node) == "n-1"


def test_boots_are_numbered_once_each_and_never_by_the_wall_clock(node: sqlite3.Connection) -> None:
    first = identity.enter_boot(node, "a", boottime_us=10, wall_us=9_000)
    second = identity.enter_boot(node, "b", boottime_us=10, wall_us=0)
    again = identity.enter_boot(node, "a", boottime_us=99, wall_us=99)
    assert (first.number, second.number, again) == (1, 2, first)
    assert [boot.number for boot in identity.boots(node)] == [1, 2]


def test_the_wall_time_of_a_key_follows_the_clock_that_stepped(node: sqlite3.Connection) -> None:
    boot = identity.enter_boot(node, "a", boottime_us=100, wall_us=0)
    identity.add_clock_pair(node, boot.number, boottime_us=500, wall_us=1_000_000)

    def wall_us(boottime_us: int) -> int | None:
        return identity.wall_us_of_key(node, boot.number << identity.KEY_SHIFT | boottime_us)

    assert [wall_us(n) for n in (100, 499, 500, 700)] == [0, 399, 1_000_000, 1_000_200]
    assert wall_us(50) == -50
    assert identity.wall_us_of_key(node, 9 << identity.KEY_SHIFT) is None


def test_the_pairs_of_a_boot_are_bounded(node: sqlite3.Connection) -> None:
    with db.transaction(node):
        node.executemany(
            "INSERT INTO clock VALUES (1, ?, 0)", ((n,) for n in range(identity.CLOCK_PAIRS_A_BOOT_MAX + 5))
        )
    identity.add_clock_pair(node, 1, boottime_us=10**9, wall_us=0)
    assert node.execute("SELECT count(*) FROM clock").fetchone() == (identity.CLOCK_PAIRS_A_BOOT_MAX,)


def test_an_order_stands_until_a_person_lifts_it_and_the_first_one_counts(node: sqlite3.Connection, at: At) -> None:
    order = standing.give(node, at(1), "hold", "smoke", until_us=5)
    assert standing.give(node, at(2, actor="bob"), "hold", "other") == order
    assert standing.get(node, "hold") == order
    assert standing.get(node, "out_of_service") is None
    assert standing.lift(node, at(3, actor="bob"), "hold", "clear") == order
    assert standing.lift(node, at(4), "hold") is None
    assert [(entry.actor, entry.action) for entry in ledger.page(node)] == [("alice", "hold.set"), ("bob", "hold.lift")]


def test_an_alert_is_raised_once_acknowledged_once_and_cleared_once(node: sqlite3.Connection, at: At) -> None:
    def raise_() -> alerts.Alert:
        return alerts.raise_(node, at(1), code="DISK", subject="node", priority=2, message="m", advice="a")

    alert = raise_()
    assert raise_() == alert
    acknowledged = alerts.acknowledge(node, at(2, actor="bob"), alert.id, "on it")
    assert (acknowledged.state, acknowledged.acknowledged_by, acknowledged.note) == ("acknowledged", "bob", "on it")
    assert alerts.acknowledge(node, at(3, actor="eve"), alert.id) == acknowledged
    assert alerts.shelve(node, at(3), alert.id, "until monday").state == "shelved"
    cleared = alerts.clear(node, at(4), code="DISK", subject="node")
    assert cleared is not None
    assert cleared.state == "cleared"
    assert alerts.clear(node, at(5), code="DISK", subject="node") is None
    assert raise_().id != alert.id
    actions = ["alert.raise", "alert.acknowledge", "alert.shelve", "alert.clear", "alert.raise"]
    assert [entry.action for entry in ledger.page(node)] == actions


def test_open_alerts_come_most_urgent_first(node: sqlite3.Connection, at: At) -> None:
    for priority in (3, 1, 2):
        alerts.raise_(node, at(1), code=f"C{priority}", subject="s", priority=priority, message="", advice="")
    assert [alert.priority for alert in alerts.open_ones(node)] == [1, 2, 3]


def test_the_newest_label_of_a_record_counts_and_the_older_stay(node: sqlite3.Connection, at: At) -> None:
    about = labels.Facts(3, "2.1", "alarm", 0.5, "product=A4")
    labels.add(node, at(1), bundle="b", record_key=7, label="worn", facts=about)
    labels.add(node, at(2), bundle="b", record_key=7, label="ok", note="looked again")
    labels.add(node, at(3), bundle="c", record_key=7, label="other bundle")
    assert labels.newest_of(node, "b", [*range(1_200), 7]) == {7: "ok"}
    assert [label.label for label in labels.of_record(node, "b", 7)] == ["worn", "ok"]
    assert [facts for _, facts in labels.page(node, "b", 0, 10)] == [about, None]


def test_a_trend_is_bounded_and_comes_oldest_first(node: sqlite3.Connection) -> None:
    def point(key: int) -> Point:
        return Point(key, key, 1.0, None, None, None, None, 0.5)

    trend.add(node, 60, (("b", point(key)) for key in range(trend.POINTS_MAX + 2)))
    found = trend.points(node, "b", 60)
    assert (len(found), found[0].key, found[-1].key) == (trend.POINTS_MAX, 2, trend.POINTS_MAX + 1)
    assert trend.points(node, "b", 60, limit=2) == [point(trend.POINTS_MAX), point(trend.POINTS_MAX + 1)]


def test_bindings_are_set_on_top_of_what_was_seen_or_refused(node: sqlite3.Connection, at: At) -> None:
    first = bindings.add(node, at(1), base_revision=0, content='{"plc":1}', detail={"added": ["plc"]})
    with pytest.raises(bindings.Stale) as caught:
        bindings.add(node, at(2), base_revision=0, content="{}", detail={})
    assert caught.value.current == first.revision == 1
    second = bindings.add(node, at(3), base_revision=1, content="{}", detail={})
    assert bindings.current(node) == second
    assert bindings.get(node, 1) == first
