"""`tag mark`: a sensor was replaced or recalibrated, so what it says now is not compared with what it said before."""

from __future__ import annotations

import argparse

from console import figures
from console.cli.arguments import add_verb
from console.cli.session import Session
from console.failure import OK


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    group = verbs.add_parser("tag", help="signals of a plant").add_subparsers(
        dest="tag_verb", required=True, metavar="VERB"
    )
    mark = add_verb(group, "mark", mark_tag, summary="say that the sensor behind a tag is not what it was")
    mark.add_argument("node")
    mark.add_argument("tag", help="as the pipeline names it")
    mark.add_argument("mark", choices=("replaced", "recalibrated"))
    mark.add_argument("--note", required=True, help="what was done and why, for the ledger")


async def mark_tag(session: Session, args: argparse.Namespace) -> int:
    """An entry of the node's ledger; drift of every bundle that sees the tag begins anew."""
    async with session.operate([args.node]) as lane:
        done = await lane.client(args.node).mark_tag(args.tag, args.mark, args.note)
    if session.as_json:
        session.json(done)
        return OK
    session.line(
        f"{args.node}: {done.tag} {done.mark} by {done.by} at {figures.day_and_time(done.wall_us)}; "
        f"drift of {', '.join(done.bundles)} begins anew"
    )
    return OK
