"""`outstation capsule`: some minutes of some nodes in one signed file: make it, verify it, open it in the app."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from console import figures
from console.cli.arguments import add_verb
from console.cli.keys import add_key, signer_of
from console.cli.ledger import opened
from console.cli.session import Session
from console.failure import FAILED, OK, USAGE, Failure
from console.moments import EXAMPLES, MomentError, parse_moment

if TYPE_CHECKING:
    from console.capsule.file import Capsule
    from console.capsule.trusted import Maker
    from console.home import Home

MINUTES = 10.0


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    summary = "some minutes of some nodes in one signed file: make, verify, open"
    group = verbs.add_parser("capsule", help=summary).add_subparsers(dest="capsule_verb", metavar="VERB", required=True)
    made = add_verb(group, "make", make, summary="keep the minutes before and after a moment of some nodes in one file")
    made.add_argument("nodes", nargs="+", metavar="NODE")
    made.add_argument("--around", type=_moment, metavar="TIME", help=f"left out: now; such as {EXAMPLES}")
    made.add_argument(
        "--minutes", type=float, default=MINUTES, metavar="10", help="before it, and after it; at most 60"
    )
    made.add_argument("--without-names", action="store_true", help="people become person-1, person-2, ...")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.ostx")
    add_key(made, required=False)
    checked = add_verb(group, "verify", verify, summary="who made a capsule, and whether every byte is what was signed")
    checked.add_argument("file", type=Path, metavar="FILE")
    shown = group.add_parser("open", help="open a capsule in the app, read-only; left and right go through its time")
    shown.add_argument("file", type=Path, metavar="FILE")
    shown.set_defaults(direct=open_capsule)


def _moment(text: str) -> float:
    """Raises ArgumentTypeError."""
    try:
        return parse_moment(text, time.time()) / 1e6
    except MomentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


# ---------------------------------------------------------------- make


async def make(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 where something of a node could not be had; the capsule says what and why."""
    from console.capsule.content import MINUTES_MAX
    from console.capsule.key import own_signer
    from console.capsule.make import Wanted
    from console.capsule.make import make as make_capsule
    from console.capsule.making import told
    from console.ledgers.visits import HereBook

    if not 0 < args.minutes <= MINUTES_MAX:
        raise Failure(f"--minutes is more than 0 and at most {MINUTES_MAX:.0f}", code=USAGE)
    own = args.key is None and args.ssh_agent is None
    sign = own_signer(session.home.path) if own else await signer_of(session, args, _namespace())
    around_s = time.time() if args.around is None else args.around

    def tell(left_s: float) -> None:
        if sys.stderr.isatty():
            print(f"\rrecording; {figures.countdown(left_s)} left ", end="", file=sys.stderr, flush=True)

    names = list(dict.fromkeys(args.nodes))
    with opened(session) as histories:
        async with session.fleet(names) as fleet:
            chosen = [(fleet.views()[name].address, fleet.client(name)) for name in names]
            wanted = Wanted(chosen, around_s, args.minutes, session.operator, args.without_names)
            try:
                made = await make_capsule(wanted, HereBook(histories), args.output, sign, tell)
            except ValueError as error:
                raise Failure(str(error), code=USAGE) from error
    if session.as_json:
        session.json({"file": str(made.path), "manifest": made.manifest, "missing": dict(made.missing)})
    else:
        session.line(told(made))
        session.lines([f"?  {node}: {text}" for node, texts in made.missing.items() for text in texts])
    return FAILED if made.missing else OK


def _namespace() -> str:
    from console.capsule.file import NAMESPACE

    return NAMESPACE


# ---------------------------------------------------------------- verify and open


async def verify(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 for a file that was changed, that nobody known here has signed, or with a ledger that is broken."""
    from console.capsule.trusted import chain_of

    capsule, maker = _read(session.home, args.file)
    chains = {node.name: chain_of(node) for node in capsule.raw}
    if session.as_json:
        told = {node: {"holds": holds, "text": text} for node, (holds, text) in chains.items()}
        session.json({"known": maker.known, "maker": maker.text, "manifest": capsule.manifest, "ledgers": told})
    else:
        session.line(f"{'' if maker.known else '? '}{args.file}: whole; {maker.text}")
        session.lines(_about(capsule))
        session.lines([f"{' ' if holds else 'X'} {node}: {text}" for node, (holds, text) in chains.items()])
        session.lines([f"?  {node.name}: {text}" for node in capsule.nodes for text in node.missing])
    return OK if maker.known and all(holds for holds, _ in chains.values()) else FAILED


def _about(capsule: Capsule) -> list[str]:
    manifest = capsule.manifest
    at = figures.day_and_time(round(manifest.around_s * 1e6))
    first, last = (figures.moment(round(each * 1e6)) for each in (manifest.first_s, manifest.last_s))
    taken = ", ".join(f"{count} x {kind}" for kind, count in manifest.redacted.items()) or "nothing"
    return [
        f"made by {manifest.made_by} with {manifest.tool}, around {at}, from {first} to {last}",
        f"taken out: {taken}" + ("; people have no names" if manifest.without_names else ""),
    ]


def _read(home: Home, path: Path) -> tuple[Capsule, Maker]:
    from console.capsule.file import read
    from console.capsule.key import own_public_key
    from console.capsule.trusted import maker_of

    capsule = read(path)
    allowed = home.allowed_signers.read_text("utf-8") if home.allowed_signers.is_file() else ""
    return capsule, maker_of(capsule, allowed, own_public_key(home.path))


def open_capsule(args: argparse.Namespace) -> int:
    """The app over the file. Nothing of this console's own is opened but its allowed signers."""
    from console.failure import EXPECTED, account
    from console.home import find_home

    try:
        capsule, maker = _read(find_home(args.home, os.environ), args.file)
    except (Failure, *EXPECTED) as error:
        found = account(error)
        print("\n".join(found.lines()), file=sys.stderr)
        return found.code
    return _shown(args, capsule, maker)


def _shown(args: argparse.Namespace, capsule: Capsule, maker: Maker) -> int:
    from console.capsule.showing import opened_on
    from console.seat.app import run

    opening, clock = opened_on(capsule, maker)
    return run(
        opening,
        operator=opening.operations.operator,
        ascii=args.ascii,
        link=args.link,
        look=args.look,
        clock=clock,
    )
