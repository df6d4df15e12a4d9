"""`out-of-service`, `back-in-service`: a person works on the machine, and its alerts are suppressed by design."""

from __future__ import annotations

import argparse
import time

from console import figures
from console.cli.arguments import add_change, add_verb, add_yes
from console.cli.change import end_s
from console.cli.session import Session
from console.failure import FAILED, OK, USAGE, Failure
from nodeagent.protocol import Status


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares both verbs."""
    out = add_verb(verbs, "out-of-service", take_out, summary="say that a person works on a node's machine")
    out.add_argument("node")
    out.add_argument("--reason", required=True, help="why, for the ledger")
    out.add_argument("--owner", default="", help="who brings it back, where that is not you")
    out.add_argument("--until", type=end_s, metavar="TIME", help="expected end: 4h, or '2026-11-25 18:00'")
    back = add_verb(verbs, "back-in-service", bring_back, summary="say that the machine may be watched again")
    back.add_argument("node")
    back.add_argument("--reason", default="", help="needed where another person took it out")
    for verb in (out, back):
        add_change(verb)
        add_yes(verb)


async def take_out(session: Session, args: argparse.Namespace) -> int:
    """Alerts are recorded and shown as suppressed until the end; changes are refused until somebody brings it back."""
    hours = None if args.until is None else (args.until - time.time()) / 3_600
    if hours is not None and hours <= 0:
        raise Failure("the end is past", "give a time to come, or a duration such as 4h", USAGE)
    end = f"until {figures.day_and_time(args.until * 1_000_000)}" if args.until else "until it is brought back"
    await session.agreed(
        f"{args.node}: out of service. Its alerts are suppressed {end};\n"
        "deployments and write-back are refused until it is brought back. It takes the place of no lock-out.",
        args.node,
    )
    async with session.operate([args.node]) as lane:
        after = await lane.client(args.node).out_of_service(args.reason, owner=args.owner, hours=hours)
    return _told(session, args.node, after, wanted=True)


async def bring_back(session: Session, args: argparse.Namespace) -> int:
    """What is wrong by then is announced at once."""
    await session.agreed(f"{args.node}: in service again; its alerts are announced.", args.node)
    async with session.operate([args.node]) as lane:
        after = await lane.client(args.node).out_of_service(args.reason, lift=True)
    return _told(session, args.node, after, wanted=False)


def _told(session: Session, node: str, after: Status, *, wanted: bool) -> int:
    out = after.telemetry.out_of_service
    if session.as_json:
        session.json(after)
    elif out is None:
        session.line(f"{node}: in service")
    else:
        owner = f", {out.owner} brings it back" if out.owner else ""
        until = f", expected back {figures.day_and_time(out.until_us)}" if out.until_us else ""
        session.line(f"{node}: out of service by {out.by}: {out.reason}{owner}{until}")
        session.line(f"  it stays so until `outstation back-in-service {node}`")
    return OK if (out is not None) == wanted else FAILED
