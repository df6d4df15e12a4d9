"""What a shift hands to the next one: everything that stands on a node and that a person has to know of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from console import figures
from console.client.clocks import Offset
from console.fleet.checks import OFFSET_S_MAX
from nodeagent.protocol import AgentUpgrade, Alert, BundleTelemetry, Status
from store.ledger import Entry

TAKE: Final = "handover.take"
EMERGENCY: Final = "CHANGE.EMERGENCY"
DRY_RUN: Final = "dry run"
SUBJECT_CHARS_MAX: Final = 200
# An offset is measured anew each time: who took it over has taken it over for so long.
CLOCK_TAKEN_US: Final = 12 * 3_600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that stands. `name` is what the ledger calls it; `since_us` by the node's clock, None: not known."""

    node: str
    kind: str
    name: str
    text: str
    since_us: int | None = None
    left_s: float | None = None
    next: str = ""
    taken_by: str = ""
    taken_us: int | None = None


@dataclass(frozen=True, slots=True)
class Owed:
    """A rollout of this console owes the node a bundle: it did not answer when its turn was."""

    rollout: str
    bundle: str


def standing(
    node: str, status: Status, *, offset: Offset | None, upgrade: AgentUpgrade | None, owed: Sequence[Owed] = ()
) -> list[Item]:
    """What stands on a node, what runs out first on top."""
    telemetry = status.telemetry
    items = [item for bundle in telemetry.bundles for item in _bundle(node, bundle)]
    if upgrade is not None and upgrade.phase == "trial":
        text = f"agent {upgrade.version} on trial, before {upgrade.previous}"
        items.append(Item(node, "agent trial", f"agent trial {upgrade.id}", text, left_s=upgrade.seconds_left,
                          next=f"outstation agent show {node}"))  # fmt: skip
    if (lease := telemetry.lease) is not None:
        items.append(Item(node, "lease", f"lease {lease.token}", f"{lease.holder} is changing this node",
                          left_s=lease.seconds_left, next="ask them; it ends by itself"))  # fmt: skip
    if (hold := telemetry.hold) is not None:
        items.append(Item(node, "hold", f"hold since {hold.since_us}", f"by {hold.by}: {hold.reason or 'no reason'}",
                          hold.since_us, next=f"outstation release {node}"))  # fmt: skip
    if (out := telemetry.out_of_service) is not None:
        left_s = None if out.until_us is None else (out.until_us - telemetry.wall_us) / 1e6
        who = f", {out.owner} brings it back" if out.owner else ""
        items.append(Item(node, "out of service", f"out of service since {out.since_us}",
                          f"by {out.by}: {out.reason}{who}", out.since_us, left_s,
                          f"outstation back-in-service {node}"))  # fmt: skip
    items += [item for alert in telemetry.alerts for item in _alert(node, alert)]
    items += [Item(node, "owed", f"owed {one.bundle} by {one.rollout}", f"{one.bundle}, by rollout {one.rollout}",
                   next=f"outstation rollout resume {one.rollout}") for one in owed]  # fmt: skip
    if offset is not None and abs(offset.seconds) - offset.error_s > OFFSET_S_MAX:
        text = f"{figures.offset(offset.seconds)} against this console, to within {offset.error_s:.3f} s"
        items.append(Item(node, "clock", "clock", text, next=f"outstation clock set {node}"))
    return [replace(item, name=item.name[:SUBJECT_CHARS_MAX]) for item in _in_order(items)]


def _bundle(node: str, bundle: BundleTelemetry) -> list[Item]:
    found = []
    title = f"{bundle.bundle} {bundle.version} r{bundle.revision}"
    if (trial := bundle.trial) is not None:
        back = "stops" if trial.previous_revision is None else f"goes back to r{trial.previous_revision}"
        found.append(Item(node, "trial", f"trial {trial.deployment}", f"{title}; unconfirmed it {back}",
                          left_s=trial.seconds_left, next=f"outstation confirm {node}"))  # fmt: skip
    found += [
        Item(node, "write-back", f"write-back {title} {sink.type}", f"{title}, {sink.type}: {sink.reason}",
             next="nothing is written to the plant until it is armed")
        for sink in bundle.sinks if sink.reason.startswith(DRY_RUN)
    ]  # fmt: skip
    return found


def _alert(node: str, alert: Alert) -> list[Item]:
    found = []
    if alert.shelved_s_left:
        text = f"{alert.code} {alert.subject} by {alert.shelved_by}: {alert.note or 'no reason'}"
        found.append(Item(node, "shelved", f"shelved {alert.code} {alert.subject}", text, alert.raised_us,
                          alert.shelved_s_left, f"outstation alert unshelve {node} {alert.id}"))  # fmt: skip
    if alert.code == EMERGENCY:
        found.append(Item(node, "emergency", f"emergency {alert.subject}", alert.message, alert.raised_us,
                          next=f"another person: outstation review {node}"))  # fmt: skip
    return found


def _in_order(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: (item.left_s is None, item.left_s or 0.0))


def with_takers(items: Sequence[Item], entries: Sequence[Entry]) -> list[Item]:
    """The items with who took each over last, as the node's ledger (oldest first) says it."""
    taken = {entry.subject: entry for entry in entries if entry.action == TAKE}
    newest_us = entries[-1].wall_us if entries else 0
    found = []
    for item in items:
        entry = taken.get(item.name)
        stands = entry is not None and (item.kind != "clock" or newest_us - entry.wall_us <= CLOCK_TAKEN_US)
        found.append(replace(item, taken_by=entry.actor, taken_us=entry.wall_us) if entry and stands else item)
    return found
