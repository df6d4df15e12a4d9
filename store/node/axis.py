"""The one axis of time: when a record was made by a clock that can be believed, though the node's own may have stood
in 1970. Raw values are never changed; this only says where they belong.

A point of the axis is what a person's clock read at a moment of CLOCK_BOOTTIME, kept in the ledger by `clock.set` and
`clock.note`; failing that, what the node's own clock read once it was set, by whatever kept it.
"""

from __future__ import annotations

import bisect
import json
import sqlite3
from collections import defaultdict
from typing import Final, NamedTuple

from store.node.identity import KEY_SHIFT

SET, NOTE = "clock.set", "clock.note"
# A wall clock that reads less was never set.
WALL_US_MIN: Final = 1_735_689_600_000_000
POINTS_MAX: Final = 10_000


class Point(NamedTuple):
    """At `boottime_us` of its boot it was `wall_us`, to within `error_us`."""

    boottime_us: int
    wall_us: int
    error_us: int


class Axis:
    """What is known so far. `follow` reads what came since, so that a long ledger is walked once."""

    def __init__(self) -> None:
        self._given: dict[int, list[Point]] = defaultdict(list)
        self._own: dict[int, list[Point]] = defaultdict(list)
        self._seq = 0

    def follow(self, connection: sqlite3.Connection) -> None:
        """Takes in what the ledger and the clock table hold by now."""
        (head,) = connection.execute("SELECT ifnull(max(seq), 0) FROM ledger").fetchone()
        rows = connection.execute(
            "SELECT number, ledger.boottime_us, detail FROM ledger JOIN boots USING (boot_id)"
            " WHERE seq > ? AND action IN (?, ?) ORDER BY seq",
            (self._seq, SET, NOTE),
        )
        for number, boottime_us, detail in rows:
            told = json.loads(detail)
            bisect.insort(self._given[number], Point(boottime_us, int(told["wall_us"]), int(told["error_us"])))
        self._seq = head
        self._own.clear()
        pairs = connection.execute(
            "SELECT boot_number, boottime_us, wall_us FROM clock WHERE wall_us >= ?"
            " ORDER BY boot_number DESC, boottime_us DESC LIMIT ?",
            (WALL_US_MIN, POINTS_MAX),
        )
        for number, boottime_us, wall_us in pairs:
            bisect.insort(self._own[number], Point(boottime_us, wall_us, 0))

    def at_us(self, key: int, wall_us: int) -> int | None:
        """Microseconds since the Unix epoch on the axis, for a record's key and raw time; None: the raw one counts.

        A raw time that cannot be right, in a boot of which nothing better is known, stays as it is.
        """
        boot, boottime_us = key >> KEY_SHIFT, key & ((1 << KEY_SHIFT) - 1)
        points = self._given.get(boot)
        if points is None and wall_us < WALL_US_MIN:
            points = self._own.get(boot)
        if not points:
            return None
        nearest = _nearest(points, boottime_us)
        return nearest.wall_us + boottime_us - nearest.boottime_us


def _nearest(points: list[Point], boottime_us: int) -> Point:
    at = bisect.bisect_left(points, (boottime_us,))
    around = points[max(0, at - 1) : at + 1]
    return min(around, key=lambda point: abs(point.boottime_us - boottime_us))
