"""The sample plant's trends and latencies: waves with a gap, the same for every node."""

from __future__ import annotations

import math
from typing import Final

from nodeagent.protocol import Trend, TrendLimit, TrendPoint

_STEPS_S: Final = ((300.0, 1.0), (3_600.0, 10.0), (180_000.0, 60.0), (math.inf, 900.0))
_GAP: Final = (0.55, 0.62)
_BINS: Final = 44


def sample_trend(bundle: str, *, wall_s: float, hours: float, points_max: int) -> Trend:
    """What a node would answer at that time. The gap lies between these shares of the time asked for."""
    span_s = hours * 3_600
    finest_s = next(step for most, step in _STEPS_S if span_s <= most)
    step_s = finest_s * max(1, math.ceil(span_s / finest_s / points_max))
    count = int(span_s / step_s)
    points = [_point(i, count, int((wall_s - span_s + step_s * i) * 1e6)) for i in range(count)]
    limits = [
        TrendLimit(figure="bundle.score", value=0.8, side="high", code="DECIDE"),
        TrendLimit(figure="bundle.latency_ms_p95", value=4.0, side="high", code="PRESS.SLOW"),
        TrendLimit(figure="bundle.rejects_share", value=0.5, side="high", code="PREDICTIONS.REJECTED"),
    ]
    return Trend(bundle=bundle, step_s=step_s, points=points, limits=limits)


def _point(i: int, count: int, wall_us: int) -> TrendPoint:
    lost = _GAP[0] <= i / count < _GAP[1]
    return TrendPoint(
        wall_us=wall_us,
        inferences_per_s=None if lost else 412 + 30 * math.sin(i / 14),
        latency_ms_p95=None if lost else 1.8 + 0.3 * math.sin(i / 9) + (2.6 if i % 122 == 61 else 0),
        cpu_percent=31 + 6 * math.sin(i / 30),
        memory_percent=48 + i / 90,
        rejects_per_s=None if lost else 0.4 if i % 97 == 50 else 0.0,
        score=None if lost else 0.12 + 0.05 * math.sin(i / 23) + (0.75 if i > 0.94 * count else 0.0),
    )


def sample_histogram(p95_ms: float, total: int) -> list[tuple[float, int]]:
    """Latencies in the node's own bins, with a long thin tail."""
    found = []
    for i in range(_BINS):
        end_us = (5 + i % 4) << (i // 4 + 4)
        share = math.exp(-((math.log(end_us / 1e3 / (0.6 * p95_ms)) / 0.28) ** 2) / 2) / 7
        count = int(total * share) + (1 + i % 3 if 0.4 * p95_ms < end_us / 1e3 < 9 * p95_ms else 0)
        if count:
            found.append((end_us / 1e3, count))
    return found
