"""`outstation shadow BUNDLE NODE --for 30m`: a candidate fed live beside what runs, compared, never acted on."""

from __future__ import annotations

import argparse
import sys
import uuid

from console import figures
from console.cli.arguments import add_verb, add_yes, duration_s
from console.cli.bundle import taken_bundle
from console.cli.session import Session
from console.client.clean import clean
from console.delivery.deploy import rollback, stage
from console.delivery.gate import SHADOW_S, ShadowOrder, shadow_line, shadow_lines, shadow_of
from console.delivery.shadow import begin, end, watched
from console.failure import FAILED, NOT_REACHED, OK, Failure
from nodeagent.protocol import Deployment, DeploymentState, ShadowVerdict
from store.archive import read_archive

WINDOW_S = 600.0
CODES = {"passed": OK, "failed": FAILED, "unknown": NOT_REACHED}


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    verb = add_verb(verbs, "shadow", shadow, summary="feed a bundle live beside what runs, compare, never act on it")
    verb.add_argument("bundle", help="a .ostn file, or NAME or NAME-VERSION of the catalog; with --end: its name")
    verb.add_argument("node")
    verb.add_argument("--for", dest="seconds", type=duration_s, default=SHADOW_S, metavar="TIME", help="so long (30m)")
    verb.add_argument("--agreement", type=float, default=0.9, metavar="SHARE", help="of equal decisions (0.9)")
    verb.add_argument("--shift", type=float, metavar="X", help="the mean score moves by at most X")
    verb.add_argument("--slower", type=float, metavar="X", help="p95 at most X times that of the active revision")
    verb.add_argument(
        "--detach", action="store_true", help="leave it running; `outstation history NODE` has the verdict"
    )
    verb.add_argument("--end", action="store_true", help="end the one that runs there now")
    add_yes(verb)


async def shadow(session: Session, args: argparse.Namespace) -> int:
    """Exit code 0: it passed, 1: it failed, 3: no verdict. The node ends it by itself, and the candidate leaves it."""
    if args.end:
        return await _end(session, args)
    order = ShadowOrder(args.seconds, 50, args.agreement, args.shift, args.slower)
    with read_archive(taken_bundle(session, args.bundle)) as archive:
        facts = archive.facts()
        async with session.operate([args.node]) as lane:
            await session.agreed(
                f"{args.node}: {facts.name} {facts.version} runs beside what is active for "
                f"{figures.countdown(order.seconds)}. It is fed the same sweeps, nothing it says is acted on, and it "
                "leaves by itself.",
                args.node,
            )
            id_ = uuid.uuid4().hex
            told = _Printer(quiet=session.as_json)
            await stage(lane, args.node, archive, window_s=WINDOW_S, operator=session.operator,
                        on_progress=lambda _: None, deployment=id_)  # fmt: skip
            found = await begin(lane, args.node, id_, order, operator=session.operator, on_progress=lambda _: None)
            if not args.detach:
                found = await watched(lane.client(args.node), id_, told.verdict)
                if found.state is DeploymentState.STAGED:
                    await rollback(lane, args.node, id_, operator=session.operator, reason="the shadow is over")
    return _tell(session, args.node, found, detached=args.detach)


async def _end(session: Session, args: argparse.Namespace) -> int:
    async with session.operate([args.node]) as lane:
        client = lane.client(args.node)
        for found in (await client.deployments()).deployments:
            verdict = shadow_of(found.preflight)
            if verdict is not None and verdict.running and args.bundle in (found.bundle, found.id):
                await session.agreed(f"{args.node}: the shadow of {found.bundle} {found.version} ends now.", args.node)
                return _tell(session, args.node, await end(client, found.id, operator=session.operator), detached=False)
    raise Failure(f"{args.node}: no shadow of {args.bundle} runs", f"look at `outstation history {args.node}`")


def _tell(session: Session, node: str, found: Deployment, *, detached: bool) -> int:
    verdict = shadow_of(found.preflight)
    if session.as_json:
        session.json(found)
    elif verdict is None:
        session.line(f"{node}: {found.bundle} {found.version}: the deployment is {found.state}, and no shadow was cast")
    elif detached:
        session.line(f"{node}: {found.bundle} {found.version}: {shadow_line(verdict)}")
        session.line(f"  its verdict: outstation history {node}; end it: outstation shadow {found.bundle} {node} --end")
    else:
        session.line(f"{node}: {found.bundle} {found.version} beside what runs")
        session.lines(shadow_lines(verdict))
    if detached and verdict is not None:
        return OK
    return CODES[verdict.verdict] if verdict is not None else NOT_REACHED


class _Printer:
    """How it stands, on standard error: one line that is rewritten on a terminal, nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._live = sys.stderr.isatty() and not quiet

    def verdict(self, verdict: ShadowVerdict) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{clean(shadow_line(verdict), 200)}")
            sys.stderr.flush()
