"""Running sums by minute and decision, kept in memory and written beside the rows that they sum."""

from __future__ import annotations

from collections.abc import Sequence

from store.segment import Stored, minute_of

# Rows of one minute and decision, as the segment's `rollup` table holds them after its two key columns.
_WALL, _ROWS, _LATENCY_SUM, _LATENCY_MAX, _SCORES, _SCORE_SUM, _SQUARE_SUM, _GOOD = range(8)
UPSERT = "INSERT OR REPLACE INTO rollup VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Rollups:
    """The sums of one segment. Only the newest minute is kept here; the file holds the rest."""

    def __init__(self) -> None:
        self._minute = -1
        self._sums: dict[int, list[float]] = {}

    def add(self, rows: Sequence[Stored]) -> list[tuple[float, ...]]:
        """Add rows in key order; returns the `rollup` rows that changed, to be written in the same transaction."""
        changed: list[tuple[float, ...]] = []
        start = 0
        while start < len(rows):
            minute, end = minute_of(rows[start][0]), len(rows)
            if minute_of(rows[-1][0]) != minute:
                end = next(at for at in range(start, len(rows)) if minute_of(rows[at][0]) != minute)
            changed += self._add_minute(minute, rows[start:end])
            start = end
        return changed

    def _add_minute(self, minute: int, rows: Sequence[Stored]) -> list[tuple[float, ...]]:
        if minute != self._minute:
            self._minute, self._sums = minute, {}
        groups: dict[int, list[Stored]] = {}
        for row in rows:
            groups.setdefault(row[6], []).append(row)
        for decision, group in groups.items():
            self._sums[decision] = _added(self._sums.get(decision), group)
        return [(minute, decision, *self._sums[decision]) for decision in groups]


def _added(sums: list[float] | None, rows: list[Stored]) -> list[float]:
    found = [rows[0][1], 0, 0, 0, 0, 0.0, 0.0, 0] if sums is None else sums
    latencies = [row[3] for row in rows]
    scores = [score for row in rows if (score := row[4]) is not None and score == score]
    found[_ROWS] += len(rows)
    found[_LATENCY_SUM] += sum(latencies)
    found[_LATENCY_MAX] = max(found[_LATENCY_MAX], max(latencies))
    found[_SCORES] += len(scores)
    found[_SCORE_SUM] += sum(scores)
    found[_SQUARE_SUM] += sum([score * score for score in scores])
    found[_GOOD] += [row[7] for row in rows].count(0)
    return found
