"""Which conditions need a person, and the life of an alert as ISA-18.2 has it. Pure.

`conditions` says what is abnormal beside the figures that rules look at (rule_watch.py); `fold` compares both with the
alerts that stand and returns what changed. A latched condition (a trial that went back) stands until a person has
acknowledged it. What is shelved, by a person for a time or since the node is out of service, is recorded and not
announced.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from nodeagent.protocol import Alert, AlertState, BundleTelemetry, Telemetry, WorkerState

OPEN_MAX = 256
MODEL_ALARM = "MODEL.ALARM"
STARTING_US_MAX = 15_000_000

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


def conditions(telemetry: Telemetry, standing: frozenset[Key]) -> list[Condition]:
    """The abnormal conditions that no figure stands for. `standing` are the keys of alerts now open."""
    found = [*_node(telemetry), *_people(telemetry)]
    for bundle in telemetry.bundles:
        found += _worker(bundle)
        found += _alarm(bundle, standing)
    return found + _not_heard_of_yet(telemetry, standing)


@dataclasses.dataclass(frozen=True)
class Changes:
    """What a look at the conditions changes: alerts to raise, and keys of alerts to clear, in that order."""

    clear: tuple[Key, ...]
    raise_: tuple[Condition, ...]


def fold(
    standing: Iterable[Alert], found: Iterable[Condition], *, announce: bool, shelved: frozenset[Key] = frozenset()
) -> Changes:
    """Compares the alerts that stand with the conditions that are there.

    A latched alert is cleared by a person alone. With `announce` (the node is in service) a shelved alert that nobody
    keeps on the shelf (`shelved`) and whose condition still stands is cleared and raised anew, so that it is heard.
    """
    present = {condition.key: condition for condition in reversed(list(found)[: 2 * OPEN_MAX])}
    clear: list[Key] = []
    kept: set[Key] = set()
    for alert in standing:
        key = (alert.code, alert.subject)
        if alert.code in LATCHED:
            present.setdefault(key, _again(alert))
        if alert.state is AlertState.SHELVED and announce and key in present and key not in shelved:
            clear.append(key)
        elif key in present:
            kept.add(key)
        else:
            clear.append(key)
    raise_ = tuple(condition for key, condition in present.items() if key not in kept)
    return Changes(tuple(clear), raise_[: max(0, OPEN_MAX - len(kept))])


def _again(alert: Alert) -> Condition:
    return Condition(alert.code, alert.subject, alert.priority, alert.message, alert.advice, latched=True)


# Codes that their own end clears (another person's review, a receiver that is back), and no acknowledgement.
REVIEWED = frozenset({"CHANGE.EMERGENCY", "SYSLOG.BEHIND"})
# Codes that only a person clears.
LATCHED = frozenset(
    {
        "TRIAL.ROLLED_BACK",
        "BLOB.DAMAGED",
        "BINDINGS.EDITED",
        "CHANGE.EMERGENCY",
        "SYSLOG.BEHIND",
        "RULES.UNREADABLE",
        "ONE_WAY.NOT_WRITTEN",
    }
)


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


def bad_rules(error: str, origin: str) -> Condition:
    """The alert about rules that cannot be read; those before them, or the defaults, are in force."""
    text = f"the alert rules are not used, others are in force: {error}"
    return Condition(
        "RULES.UNREADABLE", origin, 3, text, "Correct the line; set them with outstation alert rules.", True
    )


def _node(telemetry: Telemetry) -> list[Condition]:
    if telemetry.mode != "safe":
        return []
    text = "the node's database could not be opened; the last known good bundle is served, nothing can be changed"
    return [Condition("NODE.SAFE", "node", 1, text, "Run outstation-agent check on the node.")]


def _people(telemetry: Telemetry) -> list[Condition]:
    found = list[Condition]()
    if (hold := telemetry.hold) is not None:
        text = f"outputs are held at the safe value by {hold.by}: {hold.reason or 'no reason given'}"
        found.append(Condition("HOLD", "node", 2, text, "Release the hold when the plant may be driven again."))
    out = telemetry.out_of_service
    if out is not None and out.until_us is not None and telemetry.wall_us > out.until_us:
        who = out.owner or out.by
        text = f"out of service since longer than {out.by} expected; {who} has to bring it back: {out.reason}"
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


def _worker(bundle: BundleTelemetry) -> list[Condition]:
    if bundle.state is not WorkerState.BACKOFF:
        return []
    text = f"the worker ended and is started again later: {bundle.reason or 'no reason known'}"
    advice = "Read the node's log; roll the bundle back if it is new."
    return [Condition("WORKER.RESTARTS", bundle.bundle, 2, text, advice)]
