"""Which records a person should look at: alarms, what lay near the limit, and some of the normal ones. Pure.

Without the normal ones a miss is never found: of them a share is taken by their key, so that everybody gets the same.
Of what another person has labelled a share comes again, so that two can differ.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from nodeagent.protocol import Record, ReviewItem, ReviewReason

ALARMS: Final = frozenset({"alarm", "reject"})
NORMALS: Final = frozenset({"normal", "accept"})
NORMAL_SHARE: Final = 0.02
SECOND_SHARE: Final = 0.2
BAND_OF_LIMIT: Final = 0.1
_MIX: Final = 0x9E3779B97F4A7C15  # of splitmix64: keys that follow each other are spread over all shares
_ORDER: Final = ("alarm", "uncertain", "second opinion", "normal")


@dataclasses.dataclass(frozen=True)
class Band:
    """Scores from `low` to `high` lie so near the limit that a person should look."""

    low: float
    high: float

    def holds(self, score: float | None) -> bool:
        return score is not None and self.low <= score <= self.high


def band_of(pipeline: str) -> Band | None:
    """The band around the limit that a pipeline's `[decide]` names; None where it names no number."""
    try:
        decide = tomllib.loads(pipeline).get("decide", {})
    except tomllib.TOMLDecodeError:
        return None
    limit = _number(decide, "high", "low", "reject_at")
    if limit is None:
        return None
    width = max(_number(decide, "deadband") or 0.0, abs(limit) * BAND_OF_LIMIT)
    return Band(limit - width, limit + width)


def queue(
    records: Iterable[Record], labelled: Mapping[int, frozenset[str]], person: str, band: Band | None, limit: int
) -> list[ReviewItem]:
    """What `person` should look at, the most telling first, of each kind the newest. `labelled`: who, by key."""
    found: dict[int, ReviewItem] = {}
    for record in records:
        by = labelled.get(record.key, frozenset())
        if record.key in found or person in by:
            continue
        why = _why(record, band)
        if by and why:
            why = "second opinion" if _share(record.key, 1) < SECOND_SHARE else None
        if why:
            found[record.key] = ReviewItem(why=why, record=record, labelled_by=sorted(by))
    return sorted(found.values(), key=lambda item: (_ORDER.index(item.why), -item.record.key))[:limit]


def _why(record: Record, band: Band | None) -> ReviewReason | None:
    if record.decision in ALARMS:
        return "alarm"
    if record.decision == "review" or (band is not None and band.holds(record.score)):
        return "uncertain"
    if record.decision in NORMALS and _share(record.key, 0) < NORMAL_SHARE:
        return "normal"
    return None


def _share(key: int, salt: int) -> float:
    """A number from 0 to 1 that only the key decides."""
    mixed = (key + salt) * _MIX & (1 << 64) - 1
    mixed ^= mixed >> 31
    return (mixed * _MIX & (1 << 64) - 1) / (1 << 64)


def _number(table: Mapping[str, Any], *names: str) -> float | None:
    found = (table.get(name) for name in names)
    return next((float(value) for value in found if isinstance(value, int | float)), None)
