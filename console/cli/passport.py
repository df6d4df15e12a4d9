"""`outstation passport BUNDLE NODE...`: does a bundle fit these nodes, before any byte moves."""

from __future__ import annotations

import argparse
import asyncio

from console.cli.arguments import add_verb
from console.cli.bundle import find_bundle
from console.cli.session import Session
from console.client.wire import AgentError
from console.delivery.deploy import check_passport
from console.failure import FAILED, NOT_REACHED, OK, account
from console.fleet.fleet import LiveFleet
from console.link.errors import LinkError
from nodeagent.protocol import Passport
from store.archive import Archive, read_archive

MARKS = {"yes": " ", "no": "X", "unknown": "?", "warn": "!"}
AT_ONCE_MAX = 16


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    verb = add_verb(verbs, "passport", passport, summary="does a bundle fit nodes, before any byte moves")
    verb.add_argument("bundle", help="a .ostn file, or NAME or NAME-VERSION of the catalog")
    verb.add_argument("nodes", nargs="+", metavar="NODE")
    verb.add_argument("-v", "--all", action="store_true", help="what fits too, not only what does not")


async def passport(session: Session, args: argparse.Namespace) -> int:
    """One line a node, then what is not yes, with its fix. Exit code 1 when one does not fit, 3 when one is away."""
    with read_archive(find_bundle(session, args.bundle)) as archive:
        async with session.fleet(args.nodes) as fleet:
            found = await _from_each(fleet, archive)
        facts = archive.facts()
    if session.as_json:
        session.json([{"node": name, "passport": answer, "error": error} for name, answer, error in found])
    else:
        session.line(f"{facts.name} {facts.version}, {archive.manifest_digest[:19]}")
        _show(session, found, everything=args.all)
    if any(answer is not None and not answer.fits for _, answer, _ in found):
        return FAILED
    return NOT_REACHED if any(answer is None for _, answer, _ in found) else OK


async def _from_each(fleet: LiveFleet, archive: Archive) -> list[tuple[str, Passport | None, str]]:
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(name: str) -> tuple[str, Passport | None, str]:
        async with gate:
            try:
                return name, await check_passport(fleet.client(name), archive), ""
            except (AgentError, LinkError) as error:
                return name, None, account(error).what

    return await asyncio.gather(*(one(name) for name in fleet.views()))


def _show(session: Session, found: list[tuple[str, Passport | None, str]], *, everything: bool) -> None:
    """A column an item; an item that a node did not judge is blank, a node that was not reached is `?`."""
    names = list(dict.fromkeys(item.name for _, answer, _ in found if answer for item in answer.items))
    rows, lines = [], []
    for name, answer, error in found:
        if answer is None:
            rows.append((name, "?", *("?" for _ in names)))
            lines.append(("?", name, "link", error, ""))
            continue
        verdicts = {item.name: item.verdict for item in answer.items}
        rows.append((name, "yes" if answer.fits else "NO", *(verdicts.get(item, "") for item in names)))
        lines += [
            (MARKS[item.verdict], name, item.name, item.text, item.fix.replace(" NODE ", f" {name} "))
            for item in answer.items
            if everything or item.verdict != "yes"
        ]
    session.table(("NODE", "FITS", *(name.upper() for name in names)), rows)
    if lines:
        session.line()
        session.table(("", "NODE", "WHAT", "FOUND", "FIX"), lines)
