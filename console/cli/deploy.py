"""`deploy`, `confirm`, `rollback`, `history`: one bundle to one node, and what became of it."""

from __future__ import annotations

import argparse
import sys
import time
import uuid

from console import figures
from console.cli.arguments import add_break_lease, add_change, add_verb, add_yes, duration_s
from console.cli.bundle import taken_bundle
from console.cli.ledger import witness
from console.cli.session import Session
from console.cli.transfer import add_transfer, seeds_of, shipping_of
from console.client.clean import clean
from console.delivery.deploy import (
    DeployFailed,
    Progress,
    check_passport,
    confirm,
    deploy,
    revert,
    rollback,
    running_trial,
)
from console.delivery.gate import ROWS, GateOrder, in_short, shadow_line, shadow_of, verdict_of
from console.delivery.lane import OperateLane
from console.failure import EXPECTED, FAILED, OK, Failure, account
from nodeagent.protocol import Deployment, DeploymentState, Passport, Revision
from store.archive import Archive, read_archive
from store.catalog import DeploymentRow

WINDOW_S = 600.0
LINE_CHARS_MAX = 500
MARKS = {"yes": " ", "no": "X", "unknown": "?", "warn": "!"}


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    deployed = add_verb(verbs, "deploy", deploy_bundle, summary="bring a bundle to a node, on trial")
    deployed.add_argument("bundle", help="a .ostn file, or NAME or NAME-VERSION of the catalog")
    deployed.add_argument("node")
    deployed.add_argument(
        "--confirm-within",
        type=duration_s,
        default=WINDOW_S,
        metavar="TIME",
        help="the node goes back by itself unless it is confirmed in this time (10m)",
    )
    deployed.add_argument("--allow-gap", action="store_true", help="accept a gap where two workers do not fit")
    add_break_lease(deployed)
    add_change(deployed, emergency=True)
    add_gate(deployed)
    add_transfer(deployed)
    deployed.add_argument("--dry-run", action="store_true", help="only the passport")
    add_yes(deployed)
    kept = add_verb(verbs, "confirm", confirm_trial, summary="make a node's trial permanent, by a new login")
    kept.add_argument("node")
    kept.add_argument("deployment", nargs="?", default="", help="its id; the running trial if left out")
    add_break_lease(kept)
    add_change(kept)
    back = add_verb(verbs, "rollback", roll_back, summary="end a trial, or activate the previous bundle again")
    back.add_argument("node")
    back.add_argument("bundle", nargs="?", default="", help="which bundle, where no trial runs")
    back.add_argument("--reason", default="", help="why, for the ledger")
    back.add_argument("--confirm-within", type=duration_s, default=WINDOW_S, metavar="TIME")
    add_break_lease(back)
    add_change(back)
    add_yes(back)
    add_verb(verbs, "history", history, summary="deployments and revisions of a node").add_argument("node")


def add_gate(parser: argparse.ArgumentParser) -> None:
    """What the candidate has to show on the node's own records before the switch."""
    parser.add_argument(
        "--gate-rows", type=int, default=ROWS, metavar="N", help="recorded inputs to try it on; 0: none"
    )
    parser.add_argument("--gate-agreement", type=float, default=0.9, metavar="SHARE", help="of equal decisions (0.9)")
    parser.add_argument("--gate-shift", type=float, metavar="X", help="the mean score moves by at most X")
    parser.add_argument("--gate-slower", type=float, metavar="X", help="p95 at most X times that of the active one")
    parser.add_argument("--past-gate", action="store_true", help="switch whatever the gate says")


def gate_of(args: argparse.Namespace) -> GateOrder | None:
    if args.gate_rows == 0:
        return None
    return GateOrder(args.gate_rows, args.gate_agreement, args.gate_shift, args.gate_slower, args.past_gate)


async def deploy_bundle(session: Session, args: argparse.Namespace) -> int:
    """Passport, a second step by the person, then everything up to the trial."""
    with read_archive(taken_bundle(session, args.bundle)) as archive:
        if args.dry_run:
            async with session.client(args.node) as client:
                return _show_passport(session, args.node, await check_passport(client, archive))
        async with session.operate([args.node, *seeds_of(args.seed)]) as lane:
            client = lane.client(args.node)
            node_id = await client.identify()
            await witness(session, client)
            passport = await check_passport(client, archive)
            if not passport.fits:
                return _show_passport(session, args.node, passport)
            await _agree(session, args, archive, passport, (await client.revisions()))
            row = DeploymentRow(
                id=uuid.uuid4().hex,
                node=args.node,
                node_id=node_id,
                digest=archive.manifest_digest,
                operator=session.operator,
                window_s=args.confirm_within,
                started_wall_s=time.time(),
            )
            session.catalog.start_deployment(row)
            found = await _deploy(session, lane, args, archive, row.id)
            await witness(session, client)
    if session.as_json:
        session.json(found)
        return OK
    session.line(f"{args.node}: {found.bundle} {found.version} is on trial as revision {found.revision}")
    session.line(f"  it goes back by itself in {figures.countdown(found.seconds_left or found.window_s)}")
    session.line(f"  keep it: outstation confirm {args.node}    undo it: outstation rollback {args.node}")
    return OK


async def _deploy(
    session: Session, lane: OperateLane, args: argparse.Namespace, archive: Archive, id_: str
) -> Deployment:
    """Runs it and keeps what became of it, whatever that is."""
    try:
        found = await deploy(
            lane,
            args.node,
            archive,
            window_s=args.confirm_within,
            operator=session.operator,
            on_progress=_Printer(quiet=session.as_json),
            deployment=id_,
            allow_gap=args.allow_gap,
            break_lease=args.break_lease,
            gate=gate_of(args),
            shipping=shipping_of(session, args),
        )
    except EXPECTED as error:
        ended = time.time() if isinstance(error, DeployFailed) else None
        session.catalog.set_deployment(id_, "failed" if ended else "unknown", account(error).what, ended_wall_s=ended)
        raise
    session.catalog.set_deployment(id_, found.state)
    return found


class _Printer:
    """Progress on standard error: one line that is rewritten on a terminal, a line a step elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._step, self._live = quiet, "", sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        if self._quiet or (progress.step == self._step and not self._live):
            return
        text = f"{progress.node}: {progress.step}"
        if progress.step == "gate verdict":
            self._say(progress.text)
            return
        if progress.total_bytes:
            text += f" {figures.size(progress.done_bytes)} of {figures.size(progress.total_bytes)}"
        if progress.rate is not None and progress.eta_s is not None:
            text += f", {figures.size(progress.rate)}/s, {figures.countdown(progress.eta_s)} left"
        if progress.step == "upload" and progress.text:
            text += f", {progress.text}"
        same = progress.step == self._step
        sys.stderr.write(f"\r\x1b[K{text}" if self._live and same else f"{self._break()}{text}")
        if not self._live or progress.step == "trial":
            sys.stderr.write("\n")
        sys.stderr.flush()
        self._step = progress.step

    def _say(self, text: str) -> None:
        """Lines that stay."""
        lines = "\n".join(clean(line, LINE_CHARS_MAX) for line in text.splitlines())
        sys.stderr.write(f"{self._break()}{lines}\n")
        sys.stderr.flush()
        self._step = ""

    def _break(self) -> str:
        return "\n" if self._live and self._step else ""


def _show_passport(session: Session, node: str, passport: Passport) -> int:
    if session.as_json:
        session.json(passport)
    else:
        session.line(f"{node}: the bundle {'fits' if passport.fits else 'does NOT fit'}")
        session.table(
            ("", "WHAT", "FOUND", "FIX"),
            [(MARKS[i.verdict], i.name, i.text, i.fix.replace(" NODE ", f" {node} ")) for i in passport.items],
        )
    return OK if passport.fits else FAILED


async def _agree(
    session: Session, args: argparse.Namespace, archive: Archive, passport: Passport, revisions: list[Revision]
) -> None:
    """What changes, on which node, what it does to the running line, how to undo it."""
    facts = archive.facts()
    now = next((r for r in revisions if r.active and r.bundle == facts.name), None)
    if not session.as_json:
        for item in passport.items:
            if item.verdict != "yes":
                session.line(f"{MARKS[item.verdict]} {item.name}: {item.text}")
    before = (
        f"{now.version} (revision {now.revision}) goes on until the switch" if now else "nothing of it runs there now"
    )
    await session.agreed(
        f"{args.node}: {facts.name} {facts.version} goes on trial; {before}.\n"
        f"Unless it is confirmed in {figures.countdown(args.confirm_within)} the node goes back by itself.",
        args.node,
    )


async def confirm_trial(session: Session, args: argparse.Namespace) -> int:
    """The new login is the proof that the node can still be reached."""
    async with session.operate([args.node]) as lane:
        id_ = args.deployment or (await _trial_of(lane, args.node)).id
        found = await confirm(lane, args.node, id_, operator=session.operator, break_lease=args.break_lease)
        await witness(session, lane.client(args.node))
    session.catalog.set_deployment(id_, found.state, ended_wall_s=time.time())
    if session.as_json:
        session.json(found)
    else:
        seen = f", reachability {found.reachability}" if found.reachability else ""
        session.line(f"{args.node}: {found.bundle} {found.version} is permanent{seen}")
    return OK if found.state is DeploymentState.COMMITTED else FAILED


async def _trial_of(lane: OperateLane, node: str) -> Deployment:
    page = await lane.client(node).deployments()
    trial = running_trial(page.deployments)
    if trial is None:
        last = page.deployments[0] if page.deployments else None
        hint = f"the last deployment, {last.bundle} {last.version}, is {_state(last)}" if last else ""
        raise Failure(f"{node}: no trial runs", hint)
    return trial


async def roll_back(session: Session, args: argparse.Namespace) -> int:
    """A running trial ends at once; otherwise the previous bundle is activated with a trial of its own."""
    async with session.operate([args.node]) as lane:
        client = lane.client(args.node)
        trial = running_trial((await client.deployments()).deployments)
        if trial is not None and args.bundle in ("", trial.bundle):
            await session.agreed(f"{args.node}: the trial of {trial.bundle} {trial.version} ends now.", args.node)
            found = await rollback(
                lane,
                args.node,
                trial.id,
                operator=session.operator,
                reason=args.reason,
                break_lease=args.break_lease,
            )
            session.catalog.set_deployment(trial.id, found.state, args.reason, ended_wall_s=time.time())
        else:
            name = args.bundle or _only_bundle(args.node, await client.revisions())
            await session.agreed(
                f"{args.node}: the {name} that was there before goes on trial; it goes back by itself unless "
                f"confirmed in {figures.countdown(args.confirm_within)}.",
                args.node,
            )
            found = await revert(
                lane,
                args.node,
                name,
                operator=session.operator,
                window_s=args.confirm_within,
                reason=args.reason,
                break_lease=args.break_lease,
            )
        await witness(session, client)
    if session.as_json:
        session.json(found)
    elif found.state is DeploymentState.TRIAL:
        session.line(
            f"{args.node}: {found.bundle} {found.version} is on trial; keep it: outstation confirm {args.node}"
        )
    else:
        session.line(f"{args.node}: {found.bundle} {found.version}: {_state(found)}")
    return OK if found.state in (DeploymentState.TRIAL, DeploymentState.ROLLED_BACK) else FAILED


def _only_bundle(node: str, revisions: list[Revision]) -> str:
    names = sorted({revision.bundle for revision in revisions if revision.active})
    if len(names) != 1:
        which = ", ".join(names) or "none"
        raise Failure(f"{node}: which bundle? active: {which}", f"outstation rollback {node} BUNDLE", code=2)
    return names[0]


async def history(session: Session, args: argparse.Namespace) -> int:
    """Newest first."""
    async with session.client(args.node) as client:
        page = await client.deployments()
        revisions = await client.revisions()
    if session.as_json:
        session.json({"deployments": page.deployments, "revisions": revisions})
        return OK
    rows = [
        (
            figures.day_and_time(found.changed_us or found.created_us),
            found.bundle,
            found.version,
            f"r{found.revision}" if found.revision is not None else figures.NONE,
            _state(found),
            found.actor,
            found.ended_by or figures.NONE,
            _why(found),
        )
        for found in page.deployments
    ]
    session.table(("CHANGED", "BUNDLE", "VERSION", "REV", "STATE", "DEPLOYER", "ENDED BY", "WHY"), rows)
    return OK


def _why(found: Deployment) -> str:
    verdict, shadow = verdict_of(found.preflight), shadow_of(found.preflight)
    told = [in_short(verdict) if verdict else "", shadow_line(shadow) if shadow else ""]
    return "; ".join(filter(None, [found.error.message if found.error else "", *told]))


def _state(found: Deployment) -> str:
    left = f" {figures.countdown(found.seconds_left)} left" if found.seconds_left is not None else ""
    return f"{found.state}" + (f" ({found.reason})" if found.reason else "") + left
