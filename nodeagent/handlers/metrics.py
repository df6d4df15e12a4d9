"""/metrics in OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec/), from the last telemetry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from nodeagent.http.message import HttpError, Request, Response
from nodeagent.protocol import BundleTelemetry, Telemetry, WorkerState

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PATH = "/metrics"


@dataclasses.dataclass(frozen=True)
class MetricsHandlers:
    """One path, outside of the API's own."""

    telemetry: Callable[[], Telemetry]

    async def metrics(self, request: Request) -> Response:
        if request.method != "GET":
            raise HttpError("REQUEST.METHOD", f"{PATH} takes GET")
        text = render(self.telemetry())
        return Response(200, text.encode(), {"content-type": CONTENT_TYPE})


@dataclasses.dataclass(frozen=True)
class _Family:
    name: str
    kind: str
    help: str
    value: Callable[[BundleTelemetry], float | int | None]


_BUNDLE = (
    _Family("outstation_predictions", "counter", "Predictions made.", lambda b: b.predictions_total),
    _Family("outstation_errors", "counter", "Predictions that failed.", lambda b: b.errors_total),
    _Family("outstation_rejects", "counter", "Requests refused before the model.", lambda b: b.rejects_total),
    _Family("outstation_worker_restarts", "counter", "Times the worker ended.", lambda b: b.restarts_total),
    _Family("outstation_records", "counter", "Records committed.", lambda b: b.records_total),
    _Family("outstation_records_lost", "counter", "Predictions not recorded.", lambda b: b.records_lost_total),
    _Family("outstation_inferences_per_second", "gauge", "Rate.", lambda b: b.inferences_per_s),
    _Family("outstation_latency_p50_milliseconds", "gauge", "Median.", lambda b: b.latency_ms_p50),
    _Family("outstation_latency_p95_milliseconds", "gauge", "95th percentile.", lambda b: b.latency_ms_p95),
    _Family("outstation_latency_p99_milliseconds", "gauge", "99th percentile.", lambda b: b.latency_ms_p99),
    _Family("outstation_queue", "gauge", "Requests waiting.", lambda b: b.queue),
    _Family("outstation_revision", "gauge", "Active revision.", lambda b: b.revision),
    _Family("outstation_serving", "gauge", "1 while it serves.", lambda b: int(b.state is WorkerState.SERVING)),
)


def render(telemetry: Telemetry) -> str:
    """All families; a figure that is not known is left out, never zero."""
    return "".join(_lines(telemetry)) + "# EOF\n"


def _lines(telemetry: Telemetry) -> Iterator[str]:
    host = telemetry.host
    for name, value in (
        ("outstation_host_cpu_percent", host.cpu_percent),
        ("outstation_host_memory_used_bytes", host.memory_bytes_used),
        ("outstation_host_disk_free_bytes", host.disk_bytes_free),
        ("outstation_host_temperature_celsius", host.temperature_c),
        ("outstation_alerts", len(telemetry.alerts)),
        ("outstation_hold", int(telemetry.hold is not None)),
    ):
        if value is not None:
            yield f"# TYPE {name} gauge\n{name} {value}\n"
    for family in _BUNDLE:
        yield from _family(family, telemetry.bundles)


def _family(family: _Family, bundles: Iterable[BundleTelemetry]) -> Iterator[str]:
    suffix = "_total" if family.kind == "counter" else ""
    yield f"# TYPE {family.name} {family.kind}\n# HELP {family.name} {family.help}\n"
    for bundle in bundles:
        if (value := family.value(bundle)) is not None:
            labels = f'bundle="{_escape(bundle.bundle)}",model="{_escape(bundle.model)}"'
            yield f"{family.name}{suffix}{{{labels}}} {value}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
