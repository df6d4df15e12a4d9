"""The rules that every node has before anybody writes one. Limits that node.toml sets are taken from there."""

from __future__ import annotations

from nodeagent.health import rules
from nodeagent.settings import Settings

_TEXT = """
[[alert]]
code = "DISK.LOW"
figure = "host.disk_bytes_free"
low = {bytes_free_min}
deadband = {bytes_free_deadband}
priority = 2
message = "deployments are refused, serving goes on"
advice = "Free space, or lower [records] bytes_max in node.toml."
[[alert]]
code = "DISK.FORECAST"
figure = "host.disk_days_left"
low = 3
deadband = 1
on_delay = "10min"
off_delay = "10min"
priority = 3
advice = "See what fills the disk; lower [records] bytes_max or days_max before it is full."
[[alert]]
code = "HOST.TEMPERATURE"
figure = "host.temperature_c"
high = {temperature_c_max}
deadband = {temperature_c_deadband}
priority = 2
advice = "Check cooling and the cabinet's fan."
[[alert]]
code = "CLOCK.STEPPED"
figure = "clock.step_s"
high = 2
priority = 4
advice = "See what sets the clock. Records and trials do not depend on it; times shown do."
[[alert]]
code = "CLOCK.UNSET"
figure = "clock.unset_days"
high = 0
on_delay = "5min"
priority = 3
advice = "Set the clock or give the node a time server. Times shown are wrong; records and trials are not."
[[alert]]
code = "WORKER.RESTARTS"
figure = "bundle.restarts_10min"
high = {restarts_borne}
priority = 2
advice = "Read the node's log; roll the bundle back if it is new."
[[alert]]
code = "RECORDS.LOST"
figure = "bundle.records_lost_1min"
high = 0
priority = 3
advice = "The disk is too slow or full, or the rate too high."
[[alert]]
code = "PREDICTIONS.REJECTED"
figure = "bundle.rejects_share"
high = 0.5
deadband = 0.2
on_delay = "60s"
off_delay = "60s"
priority = 3
advice = "Look at the pipeline's stages: which one marks the values Bad, and the sensor behind it."
[[alert]]
code = "PREDICTIONS.FAILED"
figure = "bundle.errors_1min"
high = 0
priority = 2
advice = "Read the node's log; roll the bundle back if it is new."
[[alert]]
code = "MODEL.DRIFT"
figure = "bundle.drift"
high = 0
off_delay = "10min"
priority = 3
advice = "Look at the records, label some, and see whether sensor, product or machine changed."
[[alert]]
code = "SOURCE.SILENT"
figure = "source.silent_s"
high = {source_silent_s}
priority = 2
advice = "Check the device and its network."
[[alert]]
code = "SOURCE.BAD_ITEMS"
figure = "source.bad_items"
high = 0
on_delay = "60s"
off_delay = "10s"
priority = 3
advice = "Look with outstation source probe whether the tag is still there and under which name."
[[alert]]
code = "SINK.DROPPED"
figure = "sink.dropped_1min"
high = 0
off_delay = "60s"
priority = 3
advice = "See whether the receiver is up and takes what it is sent; the outbox has its cap in the pipeline."
"""


def text(settings: Settings) -> str:
    """The defaults as a file of rules."""
    alerts, free_min = settings.alerts, settings.disk.bytes_free_min
    return _TEXT.format(
        bytes_free_min=free_min,
        bytes_free_deadband=free_min // 20,
        temperature_c_max=alerts.temperature_c_max,
        temperature_c_deadband=max(0.0, alerts.temperature_c_max * 0.05),
        restarts_borne=alerts.worker_restarts_per_10min_max - 1,
        source_silent_s=alerts.source_silent_s,
    ).lstrip()


def defaults(settings: Settings) -> tuple[rules.Rule, ...]:
    """The defaults as rules."""
    return rules.parse(text(settings), file="defaults", origin=rules.DEFAULT)
