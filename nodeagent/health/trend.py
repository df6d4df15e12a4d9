"""How a node did over the last hour and days: one point a step, folded from the telemetry of each period.

The last hour is in memory in steps of 10 s; minutes are handed on to be kept as rows. What was not seen is a gap
(None), never zero. With an empty bundle name a trend is the host's own.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

from nodeagent.protocol import HostHealth, Telemetry, TrendPoint

STEP_S = 10.0
POINTS_MAX = 360
MINUTE_S = 60.0
BUNDLES_MAX = 64


@dataclasses.dataclass
class _Fold:
    """Sums of one step. Latency keeps the worst, since a mean of percentiles means nothing."""

    began_us: int
    wall_us: int
    count: int = 0
    inferences: float = 0.0
    rejects: float = 0.0
    cpu: float = 0.0
    cpu_count: int = 0
    memory: float = 0.0
    memory_count: int = 0
    latency: float | None = None

    def point(self) -> TrendPoint:
        return TrendPoint(
            wall_us=self.wall_us,
            inferences_per_s=round(self.inferences / self.count, 3) if self.count else None,
            latency_ms_p95=self.latency,
            cpu_percent=round(self.cpu / self.cpu_count, 1) if self.cpu_count else None,
            memory_percent=round(self.memory / self.memory_count, 1) if self.memory_count else None,
            rejects_per_s=round(self.rejects / self.count, 3) if self.count else None,
        )


class Trends:
    """The trends of a node. `keep_minute(bundle, point)` is called once a minute and bundle with its rollup."""

    def __init__(self, keep_minute: Callable[[str, TrendPoint], None]) -> None:
        self._keep_minute = keep_minute
        self._steps: dict[str, _Fold] = {}
        self._minutes: dict[str, _Fold] = {}
        self._points: dict[str, deque[TrendPoint]] = {}

    def add(self, telemetry: Telemetry) -> None:
        """Folds one period in. Bundles beyond BUNDLES_MAX are not followed."""
        self._add("", telemetry, inferences=None, rejects=None, latency_ms=None)
        for bundle in telemetry.bundles[:BUNDLES_MAX]:
            self._add(
                bundle.bundle,
                telemetry,
                inferences=bundle.inferences_per_s,
                rejects=bundle.rejects_per_s,
                latency_ms=bundle.latency_ms_p95,
            )

    def points(self, bundle: str) -> list[TrendPoint]:
        """The finished steps of the last hour, oldest first."""
        return list(self._points.get(bundle, ()))

    def _add(
        self,
        name: str,
        telemetry: Telemetry,
        *,
        inferences: float | None,
        rejects: float | None,
        latency_ms: float | None,
    ) -> None:
        for folds, step_s, done in (
            (self._steps, STEP_S, self._finish_step),
            (self._minutes, MINUTE_S, self._keep_minute),
        ):
            fold = folds.get(name)
            if fold is not None and telemetry.boottime_us - fold.began_us >= step_s * 1e6:
                done(name, fold.point())
                fold = None
            if fold is None:
                fold = folds[name] = _Fold(began_us=telemetry.boottime_us, wall_us=telemetry.wall_us)
            _fold_in(fold, telemetry.host, inferences, rejects, latency_ms)

    def _finish_step(self, name: str, point: TrendPoint) -> None:
        self._points.setdefault(name, deque(maxlen=POINTS_MAX)).append(point)


def _fold_in(
    fold: _Fold, host: HostHealth, inferences: float | None, rejects: float | None, latency_ms: float | None
) -> None:
    if inferences is not None and rejects is not None:
        fold.count += 1
        fold.inferences += inferences
        fold.rejects += rejects
    if host.cpu_percent is not None:
        fold.cpu_count += 1
        fold.cpu += host.cpu_percent
    if host.memory_bytes_total and host.memory_bytes_used is not None:
        fold.memory_count += 1
        fold.memory += 100.0 * host.memory_bytes_used / host.memory_bytes_total
    if latency_ms is not None:
        fold.latency = latency_ms if fold.latency is None else max(fold.latency, latency_ms)
