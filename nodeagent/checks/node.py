"""Checks of what the agent keeps and runs: the database, the blobs, the workers and what comes in and goes out."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3

from nodeagent.checks.finding import Finding, bad, ok, unknown, warn
from nodeagent.parts import Parts
from nodeagent.protocol import SinkTelemetry, WorkerState
from nodeagent.sinks.mailbag import OUTBOX_FILE
from nodeagent.state.database import Condition
from nodeagent.state.forwarder import Forwarder
from nodeagent.state.logs import Log
from nodeagent.state.state_folder import read_id
from store import db, ledger, outbox
from store.node import identity, revisions
from store.node.axis import WALL_US_MIN

OUTBOX_AGE_S_WARN = 3_600.0
REHEARSED = "rehearse"
REHEARSAL_DAYS_MAX = 180.0
LEDGER_LOOKED_AT_MAX = 5_000
_UNREADABLE = "node.db cannot be read"


@dataclasses.dataclass(frozen=True)
class Agent:
    """The running agent that is looked at."""

    parts: Parts
    log: Log
    node_id: str
    forwarder: Forwarder | None = None

    @property
    def readable(self) -> bool:
        return self.parts.database.condition is not Condition.SAFE


async def identity_(agent: Agent) -> Finding:
    """One id in the database and in the file beside it: another one is a copied disk."""
    on_disk = await asyncio.to_thread(read_id, agent.parts.state)
    if on_disk == agent.node_id:
        return ok(agent.node_id)
    text = f"node.db says {agent.node_id}, node.id says {on_disk or 'nothing'}"
    return bad(text, "Was this disk copied from another node?")


async def database(agent: Agent) -> Finding:
    """Whether node.db can be written, and SQLite finds no damage in it."""
    node_db = agent.parts.database
    if node_db.condition is not Condition.WRITABLE:
        return bad(f"{node_db.condition}: {node_db.reason}", "Serving goes on. Look at the node's disk.")
    if not await node_db.read(db.is_sound):
        return bad("SQLite finds damage in node.db", "Keep a copy of the state folder, then restore the node.")
    size = (agent.parts.state / "node.db").stat().st_size
    return ok(f"can be written, sound, {size / 1e6:.1f} MB")


async def ledger_(agent: Agent) -> Finding:
    """Every entry fits the one before it."""
    if not agent.readable:
        return unknown(_UNREADABLE)
    broken = await agent.parts.database.read(ledger.verify)
    if broken is not None:
        return bad(f"the chain breaks at {broken}", "The history was edited: compare with a console's `ledger verify`.")
    head = await agent.parts.database.read(ledger.head)
    return ok(f"{head.seq} entries, the chain is whole")


async def blobs(agent: Agent) -> Finding:
    """Every blob of every active bundle is read and hashed."""
    if not agent.readable:
        return unknown(_UNREADABLE)
    damaged = []
    rows = await agent.parts.database.read(revisions.all_active)
    for active in rows:
        row = await agent.parts.switcher.revision(active.bundle, active.revision)
        if row is not None and not await agent.parts.activations.intact(row.digest, row.signature):
            damaged.append(f"{row.bundle} r{row.revision}")
    if damaged:
        return bad(f"damaged: {', '.join(damaged)}", "Deploy the bundle again, and check the disk.")
    return ok(f"{len(rows)} active bundle(s), every blob is its digest")


async def workers(agent: Agent) -> Finding:
    """Whether every bundle answers."""
    bundles = agent.parts.runtimes.telemetry()
    ill = [item for item in bundles if item.state is not WorkerState.SERVING]
    if ill:
        return bad("; ".join(f"{item.bundle}: {item.state} {item.reason}".strip() for item in ill), "Read its log.")
    return ok(f"{len(bundles)} serving")


async def golden_vectors(agent: Agent) -> Finding:
    """Whether each running model had to reproduce its bundle's promised outputs on this machine to be let in."""
    if not agent.readable:
        return unknown(_UNREADABLE)
    proved: list[str] = []
    without: list[str] = []
    for active in await agent.parts.database.read(revisions.all_active):
        row = await agent.parts.switcher.revision(active.bundle, active.revision)
        if row is not None:
            _, facts = await agent.parts.activations.facts(row.digest)
            (proved if facts.golden_digest else without).append(row.bundle)
    if without:
        return warn(
            f"none in {', '.join(without)}", "Build the bundle with golden.npz: it proves the model on each node."
        )
    return ok(f"reproduced here before it was let in: {', '.join(proved)}" if proved else "nothing runs")


async def connectors(agent: Agent) -> Finding:
    """Whether every source of every pipeline delivers."""
    sources = [(b.bundle, source) for b in agent.parts.runtimes.telemetry() for source in b.sources]
    down = [f"{name}/{s.id}: {s.state} {s.reason}".strip() for name, s in sources if s.state != "up"]
    ill = [f"{name}/{s.id}: {', '.join(s.bad_items[:5])}" for name, s in sources if s.state == "up" and s.bad_items]
    if down:
        return bad("; ".join(down), "Look at cable and device; `outstation source probe NODE URL` asks it directly.")
    return (
        warn(f"bad items: {'; '.join(ill)}", "Compare the names with the device's.")
        if ill
        else ok(f"{len(sources)} up")
    )


async def outbox_(agent: Agent) -> Finding:
    """What waits to be delivered, for how long, and what was given up."""
    sinks = [(b.bundle, sink) for b in agent.parts.runtimes.telemetry() for sink in b.sinks]
    ages = await asyncio.to_thread(_outbox_ages, agent)
    oldest_s = max(ages.values(), default=0.0)
    waiting = sum(sink.waiting for _, sink in sinks)
    text = f"{waiting} wait" + (f", the oldest for {oldest_s / 60:.0f} min" if oldest_s >= 60 else "")
    lost = [f"{bundle}/{sink.type}: {sink.dropped_total}" for bundle, sink in sinks if sink.dropped_total]
    if lost:
        return bad(
            f"{text}; given up: {', '.join(lost)}", "The other end was away too long: look at it, raise the caps."
        )
    down = [f"{bundle}/{sink.type}: {_why(sink)}" for bundle, sink in sinks if sink.state == "down"]
    if down or oldest_s > OUTBOX_AGE_S_WARN:
        return warn("; ".join([text, *down]), "Nothing is lost yet: look at the other end.")
    return ok(text if sinks else "no sinks")


def _why(sink: SinkTelemetry) -> str:
    return f"down {sink.reason}".strip()


def _outbox_ages(agent: Agent) -> dict[str, float]:
    clock, found = agent.parts.clock, {}
    for path in sorted((agent.parts.state / "work").glob(f"*/{OUTBOX_FILE}")):
        ages = outbox.oldest_age_s(path, boot_id=clock.boot_id(), boottime_us=clock.boottime_us())
        found.update({f"{path.parent.name}/{sink}": age_s for sink, age_s in ages.items()})
    return found


async def cold_start(agent: Agent) -> Finding:
    """When this node last proved that it comes up by itself: by a rehearsal, or by a real boot."""
    if not agent.readable:
        return unknown(_UNREADABLE)
    boots = await agent.parts.database.read(identity.boots)
    up_days = agent.parts.clock.boottime_us() / 86_400e6
    booted = f"boot {boots[-1].number if boots else '?'}, {up_days:.0f} days ago"
    entry = await agent.parts.database.read(_last_rehearsal)
    if entry is None:
        return unknown(f"never rehearsed; {booted}", "`outstation rehearse NODE` shows whether it comes up alone.")
    passed, since_us = bool(entry.detail.get("passed")), agent.parts.clock.wall_us() - entry.wall_us
    days = since_us / 86_400e6 if entry.wall_us > WALL_US_MIN and since_us >= 0 else None
    told = f"rehearsed {f'{days:.0f} days ago' if days is not None else 'by an unset clock'}; {booted}"
    if not passed:
        return bad(
            f"the rehearsal failed: {entry.detail.get('text', '')}; {told}", "Mend it before the next power cut."
        )
    if days is not None and days > REHEARSAL_DAYS_MAX:
        return warn(told, "`outstation rehearse NODE`, since much has changed.")
    return ok(told)


async def syslog(agent: Agent) -> Finding:
    """Whether every ledger entry reached the receiver that node.toml names."""
    forwarder = agent.forwarder
    if forwarder is None:
        return warn("the ledger goes to no syslog", "Name a receiver in node.toml: [syslog] target = ...")
    text = f"{forwarder.target}: {forwarder.sent} entries sent, {forwarder.waiting} wait"
    if forwarder.error:
        advice = "Look at the receiver, or name another: [syslog] target in node.toml. Nothing is lost meanwhile."
        return warn(f"{text}; {forwarder.error}", advice)
    return ok(text)


def _last_rehearsal(connection: sqlite3.Connection) -> ledger.Entry | None:
    return next((e for e in ledger.newest(connection, LEDGER_LOOKED_AT_MAX) if e.action == REHEARSED), None)


async def log(agent: Agent) -> Finding:
    """Whether the agent's own log reaches the disk."""
    lost = agent.log.unwritten_total
    return warn(f"{lost} lines are in memory only", "Free room.") if lost else ok("written")
