"""`outstation report`: a shift on paper. What ran, who changed what, alerts, how the models did, what is not known."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from console import figures
from console.cli.arguments import add_verb, duration_s
from console.cli.ledger import opened
from console.cli.session import Session
from console.failure import NOT_REACHED, OK, USAGE, Failure

if TYPE_CHECKING:
    from console.shift.report import ShiftReport

FORMS: Final = {".md": "md", ".html": "html", ".htm": "html", ".json": "json"}
SINCE_S_MAX: Final = 30 * 86_400.0
SINCE_S_MIN: Final = 60.0
AT_ONCE_MAX: Final = 16


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    summary = "a shift on paper: what ran, what changed and by whom, alerts, how the models did, what is not known"
    given = add_verb(verbs, "report", report, summary=summary)
    given.add_argument("nodes", nargs="*", metavar="NODE", help="left out: all")
    given.add_argument("--since", type=duration_s, default=8 * 3_600.0, metavar="8h", help="how far back; at most 30d")
    form = given.add_mutually_exclusive_group()
    form.add_argument(
        "--md", dest="form", action="store_const", const="md", help="Markdown, also where nothing is said"
    )
    form.add_argument("--html", dest="form", action="store_const", const="html", help="one page, for a browser")
    given.add_argument("-o", "--output", type=Path, metavar="FILE", help="left out: standard output")


async def report(session: Session, args: argparse.Namespace) -> int:
    """Exit code 3 where a node was not reached; the report says so too."""
    if not SINCE_S_MIN <= args.since <= SINCE_S_MAX:
        raise Failure("--since is from 1m to 30d", code=USAGE)
    form = _form(args)
    found = await _asked(session, args)
    data = _rendered(found, form)
    if args.output is None:
        session.document(data.decode())
    else:
        from store import durable

        durable.write_file(args.output, data, 0o644)
        missing = found.not_reached
        told = f"; NOT REACHED: {', '.join(node.node for node in missing)}" if missing else ""
        session.line(f"{args.output}: {figures.counted(len(found.nodes), 'node')}, {figures.size(len(data))}{told}")
    return NOT_REACHED if found.not_reached else OK


def _form(args: argparse.Namespace) -> str:
    named = "json" if args.json else args.form
    by_end = FORMS.get(args.output.suffix.lower()) if args.output is not None else None
    return named or by_end or "md"


async def _asked(session: Session, args: argparse.Namespace) -> ShiftReport:
    from console.shift.asking import ask
    from console.shift.report import NodeShift, ShiftReport

    last_s = time.time()
    first_s = last_s - args.since
    gate = asyncio.Semaphore(AT_ONCE_MAX)
    with opened(session) as histories:
        async with session.fleet(args.nodes) as fleet:

            async def one(name: str, site: str) -> NodeShift:
                async with gate:
                    return await ask(fleet.client(name), site, histories, first_s, last_s)

            views = list(fleet.views().values())
            nodes = await asyncio.gather(*(one(view.name, view.address.site) for view in views))
    return ShiftReport(first_s=first_s, last_s=last_s, by=session.operator, nodes=nodes)


def _rendered(found: ShiftReport, form: str) -> bytes:
    if form == "json":
        from console.client.clean import clean_all

        return msgspec.json.encode(clean_all(found)) + b"\n"
    if form == "html":
        from console.shift.page import page

        return page(found).encode()
    from console.shift.markdown import markdown

    return markdown(found).encode()
