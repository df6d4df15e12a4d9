"""The figures that an alert rule may name: what each is, in which unit, and its value in a reading of telemetry.

A value of None is: not known now. What is not known neither raises nor clears an alert.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator
from typing import Final

from nodeagent.protocol import BundleTelemetry, HostHealth, SinkTelemetry, SourceTelemetry, Telemetry

TEN_MIN_US: Final = 600_000_000
MINUTE_US: Final = 60_000_000
FORECAST_SPAN_US_MIN: Final = 3_600_000_000
FORECAST_POINTS_MAX: Final = 1_440
SAMPLES_MAX: Final = 1_200
DAY_US: Final = 86_400_000_000
CLOCK_BEGINS_US: Final = 1_735_689_600_000_000  # 2025-01-01: a clock that says less has not been set


@dataclasses.dataclass(frozen=True)
class Measure:
    """`what` stands before the value in the alert's message; `scale` turns the figure into the unit shown."""

    what: str
    unit: str = ""
    scale: float = 1.0
    of_bundle: bool = True

    def shown(self, value: float) -> str:
        """The value with its unit, as a person reads it."""
        text = f"{value * self.scale:,.4g}"
        return f"{text} {'day' if self.unit == 'days' and text == '1' else self.unit}".strip()


def _host(what: str, unit: str = "", scale: float = 1.0) -> Measure:
    return Measure(what, unit, scale, of_bundle=False)


MEASURES: Final[dict[str, Measure]] = {
    "host.temperature_c": _host("the processor has", "°C"),
    "host.cpu_percent": _host("the processors are busy to", "%"),
    "host.memory_percent": _host("memory is in use to", "%"),
    "host.load_1m": _host("the load is"),
    "host.disk_bytes_free": _host("free on the disk:", "MB", 1e-6),
    "host.disk_days_left": _host("at the rate of the last hours the disk is full in", "days"),
    "clock.step_s": _host("the wall clock jumped within 10 min by", "s"),
    "clock.unset_days": _host("the wall clock was never set and is behind by", "days"),
    "bundle.restarts_10min": Measure("worker ended within 10 min, times:"),
    "bundle.records_lost_1min": Measure("predictions of the last minute that were not recorded:"),
    "bundle.errors_1min": Measure("predictions of the last minute that failed:"),
    "bundle.rejects_share": Measure("sweeps that were too bad for the model:", "%", 100.0),
    "bundle.quality_good_share": Measure("inputs of good quality:", "%", 100.0),
    "bundle.latency_ms_p95": Measure("p95 latency", "ms"),
    "bundle.latency_ms_p99": Measure("p99 latency", "ms"),
    "bundle.inferences_per_s": Measure("inferences a second:"),
    "bundle.queue_share": Measure("the queue is full to", "%", 100.0),
    "bundle.memory_bytes": Measure("the worker takes", "MB", 1e-6),
    "bundle.score": Measure("the score is"),
    "bundle.drift": Measure("the data drifts, which says nothing of accuracy"),
    "source.silent_s": Measure("sent nothing for", "s"),
    "source.bad_items": Measure("items that the device does not give:"),
    "sink.dropped_1min": Measure("messages given up within a minute:"),
    "sink.waiting_share": Measure("the outbox is full to", "%", 100.0),
}


@dataclasses.dataclass(frozen=True)
class Reading:
    """One figure of one subject. `text`: what a person reads in place of the value; `note`: what is known beside."""

    figure: str
    subject: str
    value: float | None
    bundle: str = ""
    text: str = ""
    note: str = ""


class Measurer:
    """Reads telemetry, and remembers what counters, clock and disk were: rates need a before."""

    def __init__(self) -> None:
        self._counters: dict[str, deque[tuple[int, float]]] = {}
        self._offsets: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)
        self._free: deque[tuple[int, int]] = deque(maxlen=FORECAST_POINTS_MAX)

    def read(self, telemetry: Telemetry) -> list[Reading]:
        """Every figure there is now."""
        now_us = telemetry.boottime_us
        self._keep_clock(telemetry)
        self._keep_free(now_us, telemetry.host.disk_bytes_free)
        seen: set[str] = set()
        found = [*self._host(telemetry.host), *self._clock(telemetry)]
        for bundle in telemetry.bundles:
            found += self._bundle(bundle, now_us, seen)
        self._counters = {name: samples for name, samples in self._counters.items() if name in seen}
        return found

    # -- host and clock

    def _host(self, host: HostHealth) -> Iterator[Reading]:
        used, total = host.memory_bytes_used, host.memory_bytes_total
        yield Reading("host.temperature_c", "processor", host.temperature_c)
        yield Reading("host.cpu_percent", "processor", host.cpu_percent)
        yield Reading("host.memory_percent", "memory", 100.0 * used / total if used is not None and total else None)
        yield Reading("host.load_1m", "processor", host.load_1m)
        yield Reading("host.disk_bytes_free", "disk", host.disk_bytes_free)
        yield Reading("host.disk_days_left", "disk", self._days_left())

    def _keep_free(self, now_us: int, free: int | None) -> None:
        if free is not None and (not self._free or now_us - self._free[-1][0] >= MINUTE_US):
            self._free.append((now_us, free))

    def _days_left(self) -> float | None:
        """By the straight line through the free bytes of the last day; infinite where they do not shrink."""
        if not self._free or self._free[-1][0] - self._free[0][0] < FORECAST_SPAN_US_MIN:
            return None
        count = len(self._free)
        middle_t = sum(t for t, _ in self._free) / count
        middle_v = sum(v for _, v in self._free) / count
        spread = sum((t - middle_t) ** 2 for t, _ in self._free)
        slope = sum((t - middle_t) * (v - middle_v) for t, v in self._free) / spread
        return self._free[-1][1] / -slope / DAY_US if slope < 0 else math.inf

    def _keep_clock(self, telemetry: Telemetry) -> None:
        self._offsets.append((telemetry.boottime_us, telemetry.wall_us - telemetry.boottime_us))
        while self._offsets[0][0] < telemetry.boottime_us - TEN_MIN_US:
            self._offsets.popleft()

    def _clock(self, telemetry: Telemetry) -> Iterator[Reading]:
        offsets = [offset for _, offset in self._offsets]
        yield Reading("clock.step_s", "clock", (max(offsets) - min(offsets)) / 1e6)
        behind = max(0.0, (CLOCK_BEGINS_US - telemetry.wall_us) / DAY_US)
        yield Reading("clock.unset_days", "clock", behind)

    # -- bundles

    def _bundle(self, bundle: BundleTelemetry, now_us: int, seen: set[str]) -> Iterator[Reading]:
        name = bundle.bundle

        def rose(what: str, total: int, within_us: int) -> float:
            seen.add(f"{name}/{what}")
            return self._rose(f"{name}/{what}", total, now_us, within_us)

        def reading(figure: str, value: float | None, *, text: str = "", note: str = "") -> Reading:
            return Reading(f"bundle.{figure}", name, value, name, text, note)

        passed = bundle.inferences_per_s + bundle.rejects_per_s
        restarts = rose("restarts", bundle.restarts_total, TEN_MIN_US)
        yield reading("restarts_10min", restarts, note=bundle.reason)
        yield reading("records_lost_1min", rose("lost", bundle.records_lost_total, MINUTE_US))
        yield reading("errors_1min", rose("errors", bundle.errors_total, MINUTE_US))
        # What a lost source rejects is told by the source's own alert: one cause, one alert.
        fed = passed > 0 and all(source.state == "up" for source in bundle.sources)
        yield reading("rejects_share", bundle.rejects_per_s / passed if fed else None)
        yield reading("quality_good_share", bundle.quality_good_share)
        yield reading("latency_ms_p95", bundle.latency_ms_p95)
        yield reading("latency_ms_p99", bundle.latency_ms_p99)
        yield reading("inferences_per_s", bundle.inferences_per_s)
        yield reading("queue_share", bundle.queue / bundle.queue_max if bundle.queue_max else None)
        yield reading("memory_bytes", bundle.memory_bytes)
        yield reading("score", bundle.last.score if bundle.last is not None else None)
        drifts = bundle.drift.startswith("drift")
        known = drifts or bundle.drift == "ok"
        yield reading("drift", float(drifts) if known else None, text=f"{bundle.drift}; this is not accuracy")
        for source in bundle.sources:
            yield from _source(name, source)
        types: dict[str, int] = {}
        for sink in bundle.sinks:
            types[sink.type] = nth = types.get(sink.type, 0) + 1
            subject = sink.type if nth == 1 else f"{sink.type}#{nth}"
            yield from _sink(name, subject, sink, rose(f"sink/{subject}", sink.dropped_total, MINUTE_US))

    def _rose(self, name: str, total: int, now_us: int, within_us: int) -> float:
        """How far a counter rose within a time; one that fell was started anew."""
        samples = self._counters.setdefault(name, deque(maxlen=SAMPLES_MAX))
        if samples and total < samples[-1][1]:
            samples.clear()
        samples.append((now_us, total))
        while samples[0][0] < now_us - within_us:
            samples.popleft()
        return total - samples[0][1]


def _source(bundle: str, source: SourceTelemetry) -> Iterator[Reading]:
    """A source that was stopped on purpose has no figures. One that says it is silent is so for ever."""
    if source.state == "stopped":
        return
    subject = f"{bundle}/{source.id}"
    age = "never sent data" if source.age_s is None else f"sent nothing for {source.age_s:.0f} s"
    silent_s = math.inf if source.state == "silent" else source.age_s or 0.0
    text = f"source {source.id} is silent" if source.state == "silent" else f"source {source.id} {age}"
    yield Reading("source.silent_s", subject, silent_s, bundle, text, source.reason)
    yield Reading("source.bad_items", subject, len(source.bad_items), bundle, note=", ".join(source.bad_items[:4]))


def _sink(bundle: str, name: str, sink: SinkTelemetry, dropped: float) -> Iterator[Reading]:
    subject = f"{bundle}/{name}"
    share = sink.waiting / sink.waiting_max if sink.waiting_max else None
    yield Reading("sink.dropped_1min", subject, dropped, bundle, note=sink.reason)
    yield Reading("sink.waiting_share", subject, share, bundle, note=sink.reason)
