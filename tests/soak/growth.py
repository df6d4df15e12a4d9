"""Whether what a process or a folder takes stays flat: samples over time, the slope after warm-up, and a limit."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WARM_UP_SHARE = 0.3
SAMPLES_MIN = 8
SAMPLES_MAX = 240
# (share of the level, absolute) that a run may end above where it began; the larger counts.
LIMITS: Mapping[str, tuple[float, float]] = {
    "rss MB": (0.15, 8.0),
    "descriptors": (0.15, 6.0),
    "WAL MB": (0.25, 4.5),
    "segments MB": (0.25, 2.0),
    "threads": (0.25, 6.0),
}


@dataclass(frozen=True)
class Slope:
    """One series after warm-up. `per_hour` and `level` are in the unit of the kind; `grown` over the judged time."""

    name: str
    kind: str
    level: float
    per_hour: float
    grown: float
    allowed: float
    samples: int

    @property
    def is_flat(self) -> bool:
        return self.grown <= self.allowed


def judge(name: str, kind: str, series: Sequence[tuple[float, float]]) -> Slope | None:
    """The slope of (seconds, value) by Theil and Sen: the median of the slopes of all pairs, which restarts and single
    peaks do not move. None: too few samples after warm-up to tell.
    """
    warm = series[int(len(series) * WARM_UP_SHARE) :]
    warm = warm[:: max(1, len(warm) // SAMPLES_MAX)]
    if len(warm) < SAMPLES_MIN:
        return None
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(warm, 2) if b[0] > a[0]]
    per_s, level = statistics.median(slopes), statistics.median(value for _, value in warm)
    share, floor = LIMITS[kind]
    grown = per_s * (warm[-1][0] - warm[0][0])
    return Slope(name, kind, level, per_s * 3_600, grown, max(share * level, floor), len(warm))
