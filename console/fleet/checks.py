"""Checks of nodes as a person reads them: what each node says of itself, and what only the console can see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console import backup as backups
from console import figures
from console.backup import Backup
from console.client.client import AgentClient
from console.client.clocks import Offset, measure
from nodeagent.protocol import PROTOCOL_MINOR, Check, Status

NAMES: Final = ("link", "offset", "version", "backup")
OFFSET_S_MAX: Final = 1.0
RTT_S_SLOW: Final = 2.0
BACKUP_DAYS_MAX: Final = 30.0
ORDER: Final = {"bad": 0, "warn": 1, "unknown": 2, "ok": 3}
SIGNS: Final = {"bad": "■", "warn": "▲", "unknown": "?", "ok": "·"}
ASCII_SIGNS: Final = {"bad": "X", "warn": "!", "unknown": "?", "ok": "."}


@dataclass(frozen=True, slots=True)
class Checked:
    """Every check of one node, those of the console first."""

    node: str
    checks: tuple[Check, ...]

    def count(self, verdict: str) -> int:
        return sum(check.verdict == verdict for check in self.checks)


async def check_node(client: AgentClient, version: str, home: Path, way: str = "") -> Checked:
    """Asks the node and measures its clock. `version` and `home` are this console's. Raises LinkError, AgentError."""
    status = await client.status()
    offset = await measure(client)
    kept = await asyncio.to_thread(backups.read, home, client.node)
    seen = (
        link(offset, way),
        offset_check(client.node, offset),
        version_check(client.node, status, version),
        backup_check(client.node, status, kept, time.time()),
    )
    return Checked(client.node, (*seen, *await client.checks()))


def link(offset: Offset, way: str) -> Check:
    """The round trip and by which way."""
    trip_s = 2 * offset.error_s
    text = f"{figures.milliseconds(trip_s * 1e3)} round trip" + (f", by {way}" if way else "")
    if trip_s > RTT_S_SLOW:
        return Check(name="link", verdict="warn", text=text, advice="A slow link: allow longer --confirm-within.")
    return Check(name="link", verdict="ok", text=text)


def offset_check(node: str, offset: Offset) -> Check:
    """The node's clock against ours, with what the measurement could be wrong by."""
    text = f"{offset.seconds:+.3f} s, to within {offset.error_s:.3f} s"
    if abs(offset.seconds) - offset.error_s <= OFFSET_S_MAX:
        return Check(name="offset", verdict="ok", text=text)
    verb = "set" if offset.may_set else "note"
    advice = f"`outstation clock {verb} {node}`, once your own clock is right; times here are shown without the offset."
    return Check(name="offset", verdict="warn", text=text, advice=advice)


def version_check(node: str, status: Status, version: str) -> Check:
    """The agent against this console."""
    text = f"agent {status.agent_version}, console {version}"
    if status.protocol_minor > PROTOCOL_MINOR:
        advice = "The node speaks a newer protocol: upgrade this console."
    elif status.agent_version == version:
        return Check(name="version", verdict="ok", text=text)
    else:
        advice = f"One version apart works; `outstation agent upgrade {node} --kit FILE` makes them one."
    return Check(name="version", verdict="warn", text=text, advice=advice)


def backup_check(node: str, status: Status, kept: Backup | None, now_s: float) -> Check:
    """What this console kept for the day on which the box breaks, and how old that is."""
    advice = f"`outstation node backup {node}`"
    if kept is None:
        return Check(name="backup", verdict="warn", text="none on this console", advice=advice)
    days = max(0.0, now_s - kept.taken_wall_s) / 86_400
    text = f"{days:.0f} days old, {len(kept.revisions)} bundle(s)"
    if kept.node_id != status.node_id:
        return Check(name="backup", verdict="warn", text=f"{text}, of the box before this one", advice=advice)
    running = {(bundle.bundle, bundle.digest) for bundle in status.telemetry.bundles if bundle.trial is None}
    if running - {(revision.bundle, revision.digest) for revision in kept.revisions} or days > BACKUP_DAYS_MAX:
        return Check(
            name="backup", verdict="warn", text=f"{text}, and the node has changed or it is old", advice=advice
        )
    return Check(name="backup", verdict="ok", text=text)


def worst_first(checks: Iterable[Check]) -> list[Check]:
    """What needs a person on top; otherwise as they were asked."""
    return sorted(checks, key=lambda check: ORDER[check.verdict])


def summary(checks: Sequence[Check]) -> str:
    """`2 bad, 1 warn, 3 unknown, 22 ok`; what there is none of is left out."""
    counts = [(sum(check.verdict == verdict for check in checks), verdict) for verdict in ORDER]
    return ", ".join(f"{count} {verdict}" for count, verdict in counts if count)
