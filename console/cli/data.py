"""`logs`, `records`, `label`, `trend`: what a node wrote down, and what a person says of it."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import aclosing

from console import figures
from console.cli.arguments import add_verb
from console.cli.session import Session
from console.client.clocks import made_us
from console.failure import OK, Failure
from nodeagent.protocol import PAGE_ROWS_MAX, LogLine, Record

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
    records.add_argument("--context", metavar="'product=A4 shift=2'", help="pairs that all must hold")
    records.add_argument("-n", "--limit", type=int, default=LIMIT)
    named = add_verb(verbs, "label", label_record, summary="say what a record really was; appended, never edited")
    named.add_argument("node")
    named.add_argument("bundle")
    named.add_argument("key", type=int, help="its key in `outstation records`")
    named.add_argument("label", help="such as wear, or false-alarm")
    named.add_argument("--note", default="")
    trend = add_verb(verbs, "trend", show_trend, summary="rollups of a bundle, or of the host")
    trend.add_argument("node")
    trend.add_argument("bundle", nargs="?", default="")
    trend.add_argument("--hours", type=float)


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
            context=args.context,
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


async def label_record(session: Session, args: argparse.Namespace) -> int:
    """Needs no second step: nothing on the line changes, and another label may follow."""
    async with session.client(args.node) as client:
        record = await client.label(args.key, args.bundle, args.label, args.note)
    if session.as_json:
        session.json(record)
    else:
        session.line(f"{args.node}: record {record.key} of {record.bundle} is labelled {record.label}")
    return OK


def _record_row(record: Record) -> tuple[str, ...]:
    quality = QUALITY[record.quality] if 0 <= record.quality < len(QUALITY) else "?"
    return (
        figures.day_and_time(made_us(record)),
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


def _limit(wanted: int) -> int:
    if not 0 < wanted <= PAGE_ROWS_MAX:
        raise Failure(f"--limit is 1 to {PAGE_ROWS_MAX}", code=2)
    return wanted
