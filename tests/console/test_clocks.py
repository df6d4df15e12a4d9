"""The middle of the round trip tells a node's clock; half of it is what that could be wrong by."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from console.client.clocks import Offset, made_us, measure, offset_of
from nodeagent.protocol import ClockReading, Record


def reading(wall_s: float) -> ClockReading:
    return ClockReading(boot_id="b", boottime_us=1, wall_us=round(wall_s * 1e6), may_set=False)


class Node:
    """Reads `ahead_s` more than we do, at the middle of round trips of these lengths; the clock moves with them."""

    def __init__(self, ahead_s: float, trips_s: list[float]) -> None:
        self.ahead_s, self.trips_s, self.now_s = ahead_s, list(trips_s), 1_000.0

    async def clock(self) -> ClockReading:
        trip_s = self.trips_s.pop(0)
        self.now_s += trip_s
        return reading(self.now_s - trip_s / 2 + self.ahead_s)


def test_the_middle_of_the_trip_is_when_the_node_read_its_clock() -> None:
    found = offset_of(100.0, 102.0, reading(131.0))
    assert found == Offset(30.0, 1.0, False)
    assert found.is_seen
    assert not Offset(0.4, 0.5, False).is_seen


def test_the_shortest_trip_counts() -> None:
    node: Any = Node(5.0, [2.0, 0.1, 1.0])
    found = asyncio.run(measure(node, rounds=3, now_s=lambda: node.now_s))
    assert found.error_s == pytest.approx(0.05)
    assert found.seconds == pytest.approx(5.0)


def test_a_record_is_shown_where_the_node_re_timed_it() -> None:
    record = Record(
        key=1, bundle="b", revision=1, wall_us=5_000_000, source_us=None, latency_us=1, score=None, label="",
        decision="", quality=0, reason="",
    )  # fmt: skip
    assert made_us(record) == 5_000_000
    assert made_us(record, 2.0) == 3_000_000
    from msgspec.structs import replace

    assert made_us(replace(record, at_us=9_000_000), 2.0) == 9_000_000
