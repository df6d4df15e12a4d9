"""`extend`: more time for a trial before the node goes back by itself."""

from __future__ import annotations

import argparse

from console import figures
from console.cli.arguments import add_verb, add_yes, duration_s
from console.cli.session import Session
from console.delivery.deploy import extend, running_trial
from console.failure import FAILED, OK, Failure
from nodeagent.protocol import DeploymentState


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    longer = add_verb(verbs, "extend", extend_trial, summary="give a node's trial a new window from now")
    longer.add_argument("node")
    longer.add_argument("deployment", nargs="?", default="", help="its id; the running trial if left out")
    longer.add_argument("--confirm-within", type=duration_s, required=True, metavar="TIME", help="such as 30m")
    add_yes(longer)


async def extend_trial(session: Session, args: argparse.Namespace) -> int:
    """The node goes back by itself when the new window is over, unless it is confirmed in it."""
    async with session.operate([args.node]) as lane:
        trial = running_trial((await lane.client(args.node).deployments()).deployments)
        if trial is None or args.deployment not in ("", trial.id):
            raise Failure(f"{args.node}: no such trial runs", f"look at `outstation history {args.node}`")
        left = "?" if trial.seconds_left is None else figures.countdown(trial.seconds_left)
        await session.agreed(
            f"{args.node}: {trial.bundle} {trial.version} has {left} left; from now it has "
            f"{figures.countdown(args.confirm_within)}, then the node goes back by itself.",
            args.node,
        )
        found = await extend(lane, args.node, trial.id, args.confirm_within, operator=session.operator)
    if session.as_json:
        session.json(found)
    else:
        left = figures.countdown(found.seconds_left or args.confirm_within)
        session.line(f"{args.node}: {found.bundle} {found.version} goes back by itself in {left} unless confirmed")
    return OK if found.state is DeploymentState.TRIAL else FAILED
