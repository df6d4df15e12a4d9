"""Rollups for charts: one row a bundle (or the host, as bundle ``), step and time. Bounded by count."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from store.db import transaction

POINTS_MAX = 3_000


class Point(NamedTuple):
    """Means over one step that ended at `key` (boot number and boottime, as a record's). None: not known."""

    key: int
    wall_us: int
    inferences_per_s: float | None
    latency_ms_p95: float | None
    cpu_percent: float | None
    memory_percent: float | None
    rejects_per_s: float | None
    score: float | None = None


def add(connection: sqlite3.Connection, step_s: int, points: Iterable[tuple[str, Point]]) -> None:
    """Adds one point each to the bundles named; keeps the last POINTS_MAX of each bundle and step."""
    with transaction(connection):
        for bundle, point in points:
            connection.execute(
                "INSERT OR REPLACE INTO trend VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (bundle, step_s, *point[:-1])
            )
            if point.score is not None:
                row = (bundle, step_s, point.key, point.score)
                connection.execute("INSERT OR REPLACE INTO trend_scores VALUES (?, ?, ?, ?)", row)
            for table in ("trend_scores", "trend"):
                connection.execute(
                    f"DELETE FROM {table} WHERE bundle = ? AND step_s = ? AND key <= (SELECT key FROM trend "
                    "WHERE bundle = ? AND step_s = ? ORDER BY key DESC LIMIT 1 OFFSET ?)",
                    (bundle, step_s, bundle, step_s, POINTS_MAX),
                )


def points(connection: sqlite3.Connection, bundle: str, step_s: int, limit: int = POINTS_MAX) -> list[Point]:
    """The newest `limit` points, oldest first."""
    rows = connection.execute(
        "SELECT key, wall_us, inferences_per_s, latency_ms_p95, cpu_percent, memory_percent, rejects_per_s, score "
        "FROM trend LEFT JOIN trend_scores USING (bundle, step_s, key) WHERE bundle = ? AND step_s = ? "
        "ORDER BY key DESC LIMIT ?",
        (bundle, step_s, limit),
    )
    return [Point(*row) for row in rows][::-1]
