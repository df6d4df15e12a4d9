"""`logs`, `records`, `trend`, `ledger`: what a node wrote down."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import aclosing

from console import figures
from console.clean import clean_all
from console.cli.arguments import add_verb
from console.cli.session import Session
from console.client import AgentClient
from console.failure import FAILED, OK, Failure
from nodeagent.protocol import PAGE_ROWS_MAX, LedgerEntry, LogLine, Record
from store import ledger as chain

LEVELS = ("debug", "info", "warning", "error")
LIMIT = 50
QUALITY = ("good", "uncertain", "bad")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    logs = add_verb(verbs, "logs", show_logs, summary="a node's log")
    logs.add_argument("node")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines come, over losses of the link")
    logs.add_argument("--level", choices=LEVELS, help="this level and above")
    logs.add_argument("-n", "--limit", type=int, default=LIMIT)
    records = add_verb(verbs, "records", show_records, summary="what a bundle's models saw and said, newest first")
    records.add_argument("node")
    records.add_argument("bundle")
    records.add_argument("--decision")
    records.add_argument("--label")
    records.add_argument("--quality", choices=QUALITY)
    records.add_argument("-n", "--limit", type=int, default=LIMIT)
    trend = add_verb(verbs, "trend", show_trend, summary="rollups of a bundle, or of the host")
    trend.add_argument("node")
    trend.add_argument("bundle", nargs="?", default="")
    trend.add_argument("--hours", type=float)
    ledger = add_verb(verbs, "ledger", show_ledger, summary="a node's history, verified against what was seen before")
    ledger.add_argument("node")
    ledger.add_argument("-n", "--limit", type=int, default=LIMIT)


async def show_logs(session: Session, args: argparse.Namespace) -> int:
    """The newest lines, and with -f those that come."""
    async with session.fleet([args.node]) as fleet:
        client = fleet.client(args.node)
        page = await client.logs(limit=_limit(args.limit), level=args.level)
        for line in page.lines:
            _print_line(session, line, args.level)
        if not args.follow:
            return OK
        session.flush()
        watching = asyncio.create_task(fleet.run())
        try:
            async with aclosing(fleet.follow_logs(args.node, page.next)) as lines:
                async for line in lines:
                    _print_line(session, line, args.level)
                    session.flush()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    return OK


def _print_line(session: Session, line: LogLine, level: str | None) -> None:
    if level is not None and LEVELS.index(line.level) < LEVELS.index(level):
        return
    if session.as_json:
        session.json(line)
        return
    mark = {"error": "E", "warning": "W"}.get(line.level, " ")
    session.line(f"{figures.moment(line.wall_us)} {mark} {line.source}: {line.text}")


async def show_records(session: Session, args: argparse.Namespace) -> int:
    """Records and the gaps among them."""
    quality = None if args.quality is None else QUALITY.index(args.quality)
    async with session.client(args.node) as client:
        page = await client.records(
            args.bundle,
            limit=_limit(args.limit),
            decision=args.decision,
            label=args.label,
            quality=quality,
            newest_first=True,
        )
    if session.as_json:
        session.json(page)
        return OK
    session.table(
        ("TIME", "KEY", "SCORE", "LABEL", "DECISION", "QUALITY", "LATENCY", "REV"),
        [_record_row(record) for record in page.records],
        right=(2, 6, 7),
    )
    for gap in page.gaps:
        session.line(
            f"gap: {gap.count} predictions were not recorded between {gap.key_from} and {gap.key_to}: {gap.reason}"
        )
    return OK


def _record_row(record: Record) -> tuple[str, ...]:
    quality = QUALITY[record.quality] if 0 <= record.quality < len(QUALITY) else "?"
    return (
        figures.day_and_time(record.wall_us),
        str(record.key),
        figures.number(record.score) if record.score is not None else figures.NONE,
        record.label,
        record.decision,
        f"{quality} {record.reason}".strip(),
        f"{record.latency_us / 1_000:.1f} ms",
        f"r{record.revision}",
    )


async def show_trend(session: Session, args: argparse.Namespace) -> int:
    """One line a rollup; what is not known reads `?`."""
    async with session.client(args.node) as client:
        found = await client.trend(args.bundle, hours=args.hours)
    if session.as_json:
        session.json(found)
        return OK
    rows = [
        (
            figures.day_and_time(point.wall_us),
            figures.rate(point.inferences_per_s),
            figures.number(point.latency_ms_p95),
            figures.whole(point.cpu_percent),
            figures.whole(point.memory_percent),
            figures.rate(point.rejects_per_s),
        )
        for point in found.points
    ]
    session.table(("TIME", "INF/S", "P95 ms", "CPU %", "MEM %", "REJ/S"), rows, right=(1, 2, 3, 4, 5))
    return OK


async def show_ledger(session: Session, args: argparse.Namespace) -> int:
    """Verifies what is new against the head seen last time, keeps the new head, prints the newest entries."""
    async with session.client(args.node) as client:
        node_id = await client.identify()
        entries, verdict = await verify_ledger(session, client, node_id)
    newest = entries[-_limit(args.limit) :]
    if session.as_json:
        session.json({"chain": verdict or "verified", "entries": clean_all(newest)})
    else:
        rows = [(str(e.seq), figures.day_and_time(e.wall_us), e.actor, e.action, e.subject, _detail(e)) for e in newest]
        session.table(("SEQ", "TIME", "WHO", "WHAT", "OF", ""), rows, right=(0,))
        session.line(verdict or f"chain verified: {len(entries)} entries lead to the head that the node shows")
    return FAILED if verdict else OK


async def verify_ledger(session: Session, client: AgentClient, node_id: str) -> tuple[list[LedgerEntry], str]:
    """Every entry, and why the chain is broken ("" if it is whole). A whole chain moves this console's anchor (I15)."""
    entries: list[LedgerEntry] = []
    while True:
        page = await client.ledger(after=entries[-1].seq if entries else 0, limit=PAGE_ROWS_MAX, raw=True)
        entries += page.entries
        if not page.entries or entries[-1].seq >= page.head_seq:
            break
    end = chain.Head(page.head_seq, page.head_hash)
    plain = [chain.Entry(*(getattr(entry, name) for name in chain.Entry._fields)) for entry in entries]
    genesis = chain.Head(0, chain.GENESIS)
    broken = chain.first_break(genesis, plain)
    if broken is not None:
        return entries, f"CHAIN BROKEN at entry {broken}"
    if not chain.extends(genesis, plain, end):
        return entries, "CHAIN BROKEN: the entries do not lead to the head that the node shows"
    anchor = session.catalog.anchor(node_id)
    if anchor is not None and anchor.seq and _hash_at(plain, anchor.seq) != anchor.hash:
        return entries, f"CHAIN REWRITTEN: entry {anchor.seq} is not the one that this console verified before"
    if end.seq:
        session.catalog.set_anchor(node_id, end, wall_s=time.time())
    return entries, ""


def _hash_at(entries: list[chain.Entry], seq: int) -> str:
    return next((entry.hash for entry in entries if entry.seq == seq), "")


def _detail(entry: LedgerEntry) -> str:
    return ", ".join(f"{name} {value}" for name, value in entry.detail.items())


def _limit(wanted: int) -> int:
    if not 0 < wanted <= PAGE_ROWS_MAX:
        raise Failure(f"--limit is 1 to {PAGE_ROWS_MAX}", code=2)
    return wanted
