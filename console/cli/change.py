"""`trust permit`, `approve`, `review`, `papers`: the signed word of a person that a change on a node may need."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
import uuid
from datetime import datetime
from pathlib import Path

from console import figures
from console.cli.arguments import add_verb, duration_s
from console.cli.bundle import find_bundle
from console.cli.keys import add_key, signer_of
from console.cli.session import Session
from console.delivery.mandate import SUFFIX, PaperRefused, Papers, load, write
from console.failure import OK, USAGE, Failure
from nodeagent.protocol import SignedWarrant
from store import warrant
from store.archive import read_archive
from store.warrant import LIFE_S_MAX, NAMESPACES, Kind, Warrant

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs; `trust permit` is declared with `trust`."""
    given = add_verb(verbs, "approve", approve, summary="sign that somebody else may make a change: the second person")
    given.add_argument("what", help="a bundle, a rollout's id, or the sha256:... that a node or a dry run named")
    _add_signing(given, "*")
    seen = add_verb(verbs, "review", review, summary="say that you have looked at what was done as an emergency")
    seen.add_argument("node")
    seen.add_argument("--note", default="", help="what you found, for the ledger")
    taken = add_verb(verbs, "papers", take, summary="take permits and approvals that another person signed")
    taken.add_argument("files", nargs="*", type=Path, metavar="FILE", help="none: list those that this console holds")


def add_permit(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`trust permit`."""
    permit = add_verb(
        group, "permit", sign_permit, summary="sign that a bundle below the floor may come in, once a node"
    )
    permit.add_argument("what", metavar="BUNDLE", help="a .ostn file, or NAME or NAME-VERSION of the catalog")
    _add_signing(permit, "+")


def _add_signing(parser: argparse.ArgumentParser, nodes: str) -> None:
    parser.add_argument("nodes", nargs=nodes, metavar="NODE")
    parser.add_argument("--until", type=end_s, default="8h", metavar="TIME", help="8h, 2d, or '2026-11-25 18:00' (8h)")
    parser.add_argument("--reason", default="", help="why, for the ledger")
    parser.add_argument("--change", default="", metavar="NUMBER", help="its number in your books")
    parser.add_argument("-o", "--out", type=Path, default=Path(), help="a file, or the folder it goes to")
    add_key(parser, required=True)


def end_s(text: str) -> int:
    """A duration from now, or a local time, in seconds since the Unix epoch. Raises ArgumentTypeError."""
    try:
        return int(time.time() + duration_s(text))
    except argparse.ArgumentTypeError:
        pass
    try:
        return int(datetime.fromisoformat(text.strip()).timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no end such as 8h, 2d or '2026-11-25 18:00'") from error


async def sign_permit(session: Session, args: argparse.Namespace) -> int:
    """One paper for all the nodes; it counts once on each of them."""
    return await _sign(session, args, "permit", await _manifest(session, args.what), args.nodes)


async def approve(session: Session, args: argparse.Namespace) -> int:
    """For a rollout: its plan's bundle on its plan's nodes, with the plan's digest in it."""
    if _DIGEST.fullmatch(args.what):
        return await _sign(session, args, "approval", args.what, args.nodes)
    if args.nodes:
        return await _sign(session, args, "approval", await _manifest(session, args.what), args.nodes)
    subject, plan, nodes = _plan(session, args.what)
    return await _sign(session, args, "approval", subject, nodes, plan=plan)


async def _manifest(session: Session, text: str) -> str:
    with await asyncio.to_thread(read_archive, find_bundle(session, text)) as archive:
        return archive.manifest_digest


def _plan(session: Session, text: str) -> tuple[str, str, list[str]]:
    """The bundle's manifest, the plan's digest and the names of its nodes."""
    from console.rollout import orders  # Heavy, and for this one thing.
    from console.rollout.orders import OrderRefused
    from console.rollout.plan import read_plan
    from store.rollouts import Rollouts

    session.home.make()
    with Rollouts(session.home.catalog) as rows:
        try:
            row = orders.find(rows, text)
        except OrderRefused as error:
            hint = "name a rollout, or a bundle and the nodes that it may go to"
            raise Failure(str(error), hint, USAGE) from error
    made = read_plan(row.plan, row.digest)
    return made.bundle.digest, row.digest, [node.name for node in made.nodes]


async def _sign(
    session: Session, args: argparse.Namespace, kind: Kind, subject: str, names: list[str], *, plan: str = ""
) -> int:
    if not names:
        raise Failure("name the nodes that it is for", code=USAGE)
    addresses = session.addresses(names)
    if unseen := [address.name for address in addresses if not address.node_id]:
        raise Failure(f"{unseen[0]} was never seen: its id is not known", f"outstation node show {unseen[0]}")
    now_s = int(time.time())
    if not now_s < args.until <= now_s + LIFE_S_MAX:
        raise Failure(f"it ends within {LIFE_S_MAX // 86_400} days, and not before now", code=USAGE)
    made = Warrant(
        format=warrant.FORMAT,
        kind=kind,
        id=uuid.uuid4().hex,
        subject=subject,
        nodes=sorted({address.node_id for address in addresses}),
        issued_s=now_s,
        until_s=args.until,
        plan=plan,
        change=args.change,
        reason=args.reason,
    )
    document = warrant.encode(made)
    sign = await signer_of(session, args, NAMESPACES[kind])
    signature = await asyncio.to_thread(sign, document)
    paper = SignedWarrant(document=document.decode(), signature=signature.decode())
    kept, _ = Papers(session.home.warrants).keep(paper)
    path = args.out / f"{kind}-{made.id[:8]}{SUFFIX}" if args.out.is_dir() else args.out
    write(path, paper)
    if session.as_json:
        session.json({"file": str(path), "kept": str(kept), "warrant": made})
    else:
        session.line(f"{path}: {kind} of {subject[:19]}... on {', '.join(names)}, until {_when(made.until_s)}")
        session.line(f"  who makes the change takes it with `outstation papers {path.name}`")
    return OK


async def review(session: Session, args: argparse.Namespace) -> int:
    """Ends the alerts of emergencies that others declared."""
    async with session.operate([args.node]) as lane:
        after = await lane.client(args.node).review(args.note)
    left = [alert for alert in after.telemetry.alerts if alert.code == "CHANGE.EMERGENCY"]
    if session.as_json:
        session.json(after)
    else:
        session.line(f"{args.node}: reviewed" + (f"; {len(left)} of your own wait for somebody else" if left else ""))
    return OK


async def take(session: Session, args: argparse.Namespace) -> int:
    """Whether their signatures count is for each node to say."""
    papers = Papers(session.home.warrants)
    for path in args.files:
        try:
            papers.keep(load(path))
        except PaperRefused as error:
            raise Failure(f"{path}: {error}", error.hint) from error
    names = {address.node_id: address.name for address in session.addresses() if address.node_id}
    held = papers.all()
    if session.as_json:
        session.json(held)
        return OK
    now_s = time.time()
    rows = [
        (
            "past" if found.until_s <= now_s else "",
            found.kind,
            found.subject[:19],
            ", ".join(names.get(node, node) for node in found.nodes),
            _when(found.until_s),
            found.change or figures.NONE,
            found.reason,
        )
        for found in held
    ]
    session.table(("", "WHAT", "FOR", "NODES", "UNTIL", "CHANGE", "REASON"), rows)
    return OK


def _when(seconds: int) -> str:
    return figures.day_and_time(seconds * 1_000_000)
