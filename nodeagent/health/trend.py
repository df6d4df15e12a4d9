"""How a node did over the last minutes, hours and weeks: points folded from the telemetry of each period.

Five minutes of single periods and an hour in steps of 10 s are in memory; minutes and quarters of an hour are handed
on to be kept as rows. What was not seen is a gap (None), never zero. With an empty bundle name a trend is the host's
own.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

from nodeagent.protocol import HostHealth, Telemetry, TrendPoint

PERIOD_STEP_S: Final = 1.0
STEP_S: Final = 10.0
MINUTE_S: Final = 60
QUARTER_S: Final = 900
IN_MEMORY: Final = {PERIOD_STEP_S: 300, STEP_S: 360}
BUNDLES_MAX: Final = 64

KeepPoint = Callable[[str, int, TrendPoint], None]


@dataclasses.dataclass
class _Mean:
    """A mean of what was known; nothing known is None."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.count += 1

    def value(self, digits: int = 3) -> float | None:
        return round(self.total / self.count, digits) if self.count else None


@dataclasses.dataclass
class _Fold:
    """One step. Latency keeps the worst, since a mean of percentiles means nothing."""

    began_us: int
    wall_us: int
    inferences: _Mean = dataclasses.field(default_factory=_Mean)
    rejects: _Mean = dataclasses.field(default_factory=_Mean)
    cpu: _Mean = dataclasses.field(default_factory=_Mean)
    memory: _Mean = dataclasses.field(default_factory=_Mean)
    score: _Mean = dataclasses.field(default_factory=_Mean)
    latency: float | None = None

    def add(self, point: TrendPoint) -> None:
        """Takes one more point in."""
        self.inferences.add(point.inferences_per_s)
        self.rejects.add(point.rejects_per_s)
        self.cpu.add(point.cpu_percent)
        self.memory.add(point.memory_percent)
        self.score.add(point.score)
        if point.latency_ms_p95 is not None:
            self.latency = point.latency_ms_p95 if self.latency is None else max(self.latency, point.latency_ms_p95)

    def point(self) -> TrendPoint:
        return TrendPoint(
            wall_us=self.wall_us,
            inferences_per_s=self.inferences.value(),
            latency_ms_p95=self.latency,
            cpu_percent=self.cpu.value(1),
            memory_percent=self.memory.value(1),
            rejects_per_s=self.rejects.value(),
            score=self.score.value(6),
        )


class Trends:
    """The trends of a node. `keep(bundle, step_s, point)` takes each rollup that is to outlive this process."""

    def __init__(self, keep: KeepPoint) -> None:
        self._keep = keep
        self._folds: dict[tuple[str, float], _Fold] = {}
        self._points: dict[tuple[str, float], deque[TrendPoint]] = {}

    def add(self, telemetry: Telemetry) -> None:
        """Folds one period in. Bundles beyond BUNDLES_MAX are not followed."""
        at_us, host = telemetry.boottime_us, _host_point(telemetry.wall_us, telemetry.host)
        self._add("", at_us, host)
        for bundle in telemetry.bundles[:BUNDLES_MAX]:
            point = TrendPoint(
                wall_us=host.wall_us,
                inferences_per_s=bundle.inferences_per_s,
                latency_ms_p95=bundle.latency_ms_p95,
                cpu_percent=host.cpu_percent,
                memory_percent=host.memory_percent,
                rejects_per_s=bundle.rejects_per_s,
                score=_finite(bundle.last.score) if bundle.last is not None else None,
            )
            self._add(bundle.bundle, at_us, point)

    def points(self, bundle: str, step_s: float = STEP_S) -> list[TrendPoint]:
        """The finished steps that are in memory, oldest first."""
        return list(self._points.get((bundle, step_s), ()))

    def _add(self, name: str, at_us: int, point: TrendPoint) -> None:
        self._remember(name, PERIOD_STEP_S, point)
        for step_s in (STEP_S, MINUTE_S, QUARTER_S):
            fold = self._folds.get((name, step_s))
            if fold is not None and at_us - fold.began_us >= step_s * 1e6:
                if step_s in IN_MEMORY:
                    self._remember(name, step_s, fold.point())
                else:
                    self._keep(name, int(step_s), fold.point())
                fold = None
            if fold is None:
                fold = self._folds[name, step_s] = _Fold(began_us=at_us, wall_us=point.wall_us)
            fold.add(point)

    def _remember(self, name: str, step_s: float, point: TrendPoint) -> None:
        self._points.setdefault((name, step_s), deque(maxlen=IN_MEMORY[step_s])).append(point)


def folded(points: Sequence[TrendPoint], step_s: float, points_max: int) -> tuple[float, list[TrendPoint]]:
    """The step and at most about `points_max` points: neighbours in time are folded, a hole in time stays one."""
    if len(points) <= points_max:
        return step_s, list(points)
    wide_s = step_s * math.ceil(len(points) / points_max)
    groups = groupby(points, key=lambda point: point.wall_us // round(wide_s * 1e6))
    return wide_s, [_merged(group) for _, group in groups]


def _merged(points: Iterable[TrendPoint]) -> TrendPoint:
    fold: _Fold | None = None
    for point in points:
        fold = fold or _Fold(began_us=0, wall_us=point.wall_us)
        fold.add(point)
    assert fold is not None
    return fold.point()


def _host_point(wall_us: int, host: HostHealth) -> TrendPoint:
    used, total = host.memory_bytes_used, host.memory_bytes_total
    memory = 100.0 * used / total if total and used is not None else None
    return TrendPoint(wall_us, None, None, host.cpu_percent, memory, None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
