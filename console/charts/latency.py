"""How long answers took, as the node counts them: bins, quantiles, and bars of them. Pure.

The node counts in four bins a power of two of microseconds and sends those that have any answers (docs/protocol.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BINS_MAX: Final = 160
_FIRST_US: Final = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers that took from `low_ms` to `high_ms`."""

    low_ms: float
    high_ms: float
    count: int


def bins_of(histogram_ms: Sequence[tuple[float, int]]) -> list[Bin]:
    """Every bin from the first to the last that has answers, the empty ones between them too."""
    counts: dict[float, int] = {}
    for end_ms, count in histogram_ms[:BINS_MAX]:
        if end_ms > 0 and count > 0:
            counts[end_ms] = counts.get(end_ms, 0) + count
    if not counts:
        return []
    first, last = min(counts), max(counts)
    ends = sorted({end for end in _ends_ms() if first <= end <= last} | set(counts))
    before = max((end for end in _ends_ms() if end < first), default=0.0)
    return [Bin(low, high, counts.get(high, 0)) for low, high in zip([before, *ends], ends, strict=False)]


def _ends_ms() -> list[float]:
    ends = [*_FIRST_US, *((5 + i % 4) << i // 4 for i in range(BINS_MAX - len(_FIRST_US)))]
    return [end / 1e3 for end in ends]


def fitted(bins: Sequence[Bin], bars_max: int) -> list[Bin]:
    """The bins in at most `bars_max` bars: neighbours are taken together. None where there are no bins."""
    if not bins:
        return []
    each = -(-len(bins) // max(1, bars_max))
    groups = [bins[i : i + each] for i in range(0, len(bins), each)]
    return [Bin(group[0].low_ms, group[-1].high_ms, sum(b.count for b in group)) for group in groups]


def quantile_ms(bins: Sequence[Bin], share: float) -> float | None:
    """The upper end of the bin that `share` of the answers reach; None without answers."""
    needed, seen = share * sum(b.count for b in bins), 0
    for found in bins:
        seen += found.count
        if found.count and seen >= needed:
            return found.high_ms
    return None
