"""Which conditions need a person, and the life of an alert as ISA-18.2 has it. Pure.

`conditions` says what is abnormal now; `fold` compares that with the alerts that stand and returns what changed.
A latched condition (a trial that went back) stands until a person has acknowledged it. While the node is out of
service new alerts are shelved: recorded, not announced.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from nodeagent.protocol import Alert, AlertState, BundleTelemetry, Telemetry, WorkerState
from nodeagent.settings import Settings

OPEN_MAX = 256
MODEL_ALARM = "MODEL.ALARM"
STARTING_US_MAX = 15_000_000
# A condition that stands clears only when its figure is this much better than its limit: no chattering.
DEADBAND = 0.05

Key = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Condition:
    """One abnormal condition: `code` and `subject` identify it, priority 1 is the highest of 4."""

    code: str
    subject: str
    priority: int
    message: str
    advice: str
    latched: bool = False

    @property
    def key(self) -> Key:
        return self.code, self.subject


@dataclasses.dataclass(frozen=True)
class Recent:
    """What counters did lately: by bundle, restarts in the last 10 min and records lost in the last minute."""

    restarts: Mapping[str, int]
    records_lost: Mapping[str, int]


def conditions(telemetry: Telemetry, recent: Recent, settings: Settings, standing: frozenset[Key]) -> list[Condition]:
    """All abnormal conditions that telemetry shows. `standing` are the keys of alerts now open."""
    found = [*_host(telemetry, settings, standing), *_people(telemetry)]
    for bundle in telemetry.bundles:
        found += _bundle(bundle, recent, settings)
        found += _alarm(bundle, standing)
    found += _not_heard_of_yet(telemetry, standing)
    return found[:OPEN_MAX]


@dataclasses.dataclass(frozen=True)
class Changes:
    """What a look at the conditions changes: alerts to raise, and keys of alerts to clear, in that order."""

    clear: tuple[Key, ...]
    raise_: tuple[Condition, ...]


def fold(standing: Iterable[Alert], found: Iterable[Condition], *, announce: bool) -> Changes:
    """Compares the alerts that stand with the conditions that are there.

    A latched alert is cleared by a person alone. With `announce` (the node is in service) a shelved alert whose
    condition still stands is cleared and raised anew, so that it is heard.
    """
    present = {condition.key: condition for condition in found}
    clear: list[Key] = []
    kept: set[Key] = set()
    for alert in standing:
        key = (alert.code, alert.subject)
        if alert.state is AlertState.SHELVED and announce and key in present:
            clear.append(key)
        elif key in present or alert.code in LATCHED:
            kept.add(key)
        else:
            clear.append(key)
    raise_ = tuple(condition for key, condition in present.items() if key not in kept)
    return Changes(tuple(clear), raise_[: max(0, OPEN_MAX - len(kept))])


# Codes that only a person clears.
LATCHED = frozenset({"TRIAL.ROLLED_BACK", "BLOB.DAMAGED", "BINDINGS.EDITED"})


def rolled_back(bundle: str, version: str, reason: str, text: str) -> Condition:
    """The alert of a trial that did not become permanent. A power cut is no evidence against the bundle."""
    priority = 3 if reason == "INTERRUPTED" else 2
    return Condition(
        code="TRIAL.ROLLED_BACK",
        subject=bundle,
        priority=priority,
        message=f"{bundle} {version} went back: {reason}. {text}".strip(),
        advice="Read the deployment's history; deploy again once the cause is known.",
        latched=True,
    )


def _host(telemetry: Telemetry, settings: Settings, standing: frozenset[Key]) -> list[Condition]:
    host, found = telemetry.host, list[Condition]()
    disk_key = ("DISK.LOW", "disk")
    free_min = settings.disk.bytes_free_min * (1 + DEADBAND * (disk_key in standing))
    if host.disk_bytes_free is not None and host.disk_bytes_free < free_min:
        text = f"{host.disk_bytes_free / 1e6:.0f} MB free; deployments are refused, serving goes on"
        found.append(Condition(*disk_key, 2, text, "Free space, or lower [records] bytes_max in node.toml."))
    heat_key = ("HOST.TEMPERATURE", "processor")
    limit = settings.alerts.temperature_c_max * (1 - DEADBAND * (heat_key in standing))
    if host.temperature_c is not None and host.temperature_c > limit:
        found.append(Condition(*heat_key, 2, f"{host.temperature_c:.0f} °C", "Check cooling and the cabinet's fan."))
    if telemetry.mode == "safe":
        text = "the node's database could not be opened; the last known good bundle is served, nothing can be changed"
        found.append(Condition("NODE.SAFE", "node", 1, text, "Run outstation-agent check on the node."))
    return found


def _people(telemetry: Telemetry) -> list[Condition]:
    found = list[Condition]()
    if (hold := telemetry.hold) is not None:
        text = f"outputs are held at the safe value by {hold.by}: {hold.reason or 'no reason given'}"
        found.append(Condition("HOLD", "node", 2, text, "Release the hold when the plant may be driven again."))
    out = telemetry.out_of_service
    if out is not None and out.until_us is not None and telemetry.wall_us > out.until_us:
        text = f"out of service since longer than {out.by} expected: {out.reason}"
        found.append(
            Condition("OUT_OF_SERVICE.OVERDUE", "node", 3, text, "Ask the person named, then lift or renew it.")
        )
    return found


def _not_heard_of_yet(telemetry: Telemetry, standing: frozenset[Key]) -> list[Condition]:
    """Alarms that stood when the agent ended go on standing until its bundles had the time to come back."""
    if telemetry.boottime_us - telemetry.started_us > STARTING_US_MAX:
        return []
    shown = {bundle.bundle for bundle in telemetry.bundles}
    kept = sorted(key for key in standing if key[0] == MODEL_ALARM and key[1] not in shown)
    return [Condition(*key, 1, f"{key[1]} has not come back yet", "") for key in kept]


def _alarm(bundle: BundleTelemetry, standing: frozenset[Key]) -> list[Condition]:
    """The model's own alarm. While nothing is predicted nobody knows, and what stood goes on standing."""
    key = (MODEL_ALARM, bundle.bundle)
    unknown = bundle.last is None and bundle.state is not WorkerState.STOPPED
    if not bundle.alarm and not (unknown and key in standing):
        return []
    text = f"the model of {bundle.bundle} {bundle.version} raises an alarm: {bundle.alarm}"
    return [Condition(*key, 1, text, "Look at the machine. The records of this bundle hold the inputs and the score.")]


def _bundle(bundle: BundleTelemetry, recent: Recent, settings: Settings) -> list[Condition]:
    name, found = bundle.bundle, list[Condition]()
    restarts, lost = recent.restarts.get(name, 0), recent.records_lost.get(name, 0)
    if bundle.state is WorkerState.BACKOFF or restarts >= settings.alerts.worker_restarts_per_10min_max:
        text = f"the worker ended {restarts} times in 10 min: {bundle.reason or 'no reason known'}"
        found.append(
            Condition("WORKER.RESTARTS", name, 2, text, "Read the node's log; roll the bundle back if it is new.")
        )
    if lost:
        text = f"{lost} predictions of the last minute were not recorded"
        found.append(Condition("RECORDS.LOST", name, 3, text, "The disk is too slow or full, or the rate too high."))
    for source in bundle.sources:
        quiet = source.state == "silent" or (source.age_s or 0.0) > settings.alerts.source_silent_s
        if quiet and source.state != "stopped":
            age = "never sent data" if source.age_s is None else f"sent nothing for {source.age_s:.0f} s"
            text = f"source {source.id} {age}. {source.reason}".strip()
            found.append(
                Condition("SOURCE.SILENT", f"{name}/{source.id}", 2, text, "Check the device and its network.")
            )
    return found
