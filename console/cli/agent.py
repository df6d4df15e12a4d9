"""`outstation agent`: which version of the agent runs on nodes, another one on trial, and the one before again."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

from console.bootstrap.install import Step, Tell, bring
from console.bootstrap.plan import Plan, Wish
from console.bootstrap.upgrade import Change, switch
from console.cli.arguments import add_break_lease, add_receipt, add_verb, add_yes, duration_s
from console.cli.bootstrap import Telling, places_of, planned, reached
from console.cli.kit import add_signers, taken_kit
from console.cli.session import Session
from console.cli.upgrades import PARALLEL, PARALLEL_MAX, upgrade_all
from console.client.wire import AgentError
from console.delivery.lease import held_lease
from console.failure import NOT_REACHED, OK, Account, Failure, account
from console.fleet.view import NodeAddress
from console.kit.file import Kit
from console.link.errors import LinkError
from console.receipts import brought
from nodeagent.protocol import AgentUpgrade


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    parser = verbs.add_parser("agent", help="the agent's own version: show, upgrade, roll back")
    group = parser.add_subparsers(dest="agent_verb", required=True, metavar="VERB")
    shown = add_verb(group, "show", show, summary="which version runs, and how the last upgrade ended")
    shown.add_argument("nodes", nargs="*", metavar="NODE")
    upgraded = add_verb(group, "upgrade", upgrade, summary="put the agent of a kit on trial, then keep it")
    upgraded.add_argument("nodes", nargs="+", metavar="NODE", help="the first alone, then a few at a time")
    upgraded.add_argument("--kit", type=Path, required=True, metavar="FILE")
    add_signers(upgraded)
    upgraded.add_argument(
        "--confirm-within", type=duration_s, default=120.0, metavar="TIME", help="how long a node waits for the confirm"
    )
    upgraded.add_argument(
        "--parallel", type=_parallel, default=PARALLEL, metavar="N", help=f"how many at a time (default: {PARALLEL})"
    )
    upgraded.add_argument("--no-canary", action="store_true", help="do not wait for the first before the others")
    add_receipt(upgraded)
    add_break_lease(upgraded)
    add_yes(upgraded)
    back = add_verb(group, "rollback", rollback, summary="end the trial of another version now")
    back.add_argument("node", metavar="NODE")
    add_break_lease(back)
    add_yes(back)


def _parallel(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PARALLEL_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {PARALLEL_MAX}")
    return int(text)


async def show(session: Session, args: argparse.Namespace) -> int:
    """One line a node."""
    async with session.fleet(args.nodes) as fleet:

        async def one(name: str) -> tuple[str, AgentUpgrade | Account]:
            try:
                return name, await fleet.client(name).upgrade()
            except (LinkError, AgentError) as error:
                return name, account(error)

        found = await asyncio.gather(*(one(name) for name in fleet.views()))
    if session.as_json:
        session.json([{"node": name, "upgrade": told} for name, told in found if not isinstance(told, Account)])
    else:
        session.table(("NODE", "RUNS", "LAST UPGRADE"), [_row(name, told) for name, told in found])
    return NOT_REACHED if any(isinstance(told, Account) for _, told in found) else OK


def _row(name: str, told: AgentUpgrade | Account) -> tuple[str, ...]:
    if isinstance(told, Account):
        return (name, "?", told.what)
    if told.phase == "none":
        return (name, told.running or "not put there by bootstrap", "none")
    left = f", {told.seconds_left:.0f} s left" if told.seconds_left is not None else ""
    how = f"{told.phase.replace('_', ' ')}{left} {told.reason} {told.text}".strip()
    return (name, told.running, f"{told.version}: {how}")


async def upgrade(session: Session, args: argparse.Namespace) -> int:
    """Asks once; then brings, switches, proves and keeps each. Exit code: that of the first that failed.

    A node that failed went back by itself, those before it are upgraded, the others are as they were.
    """
    addresses = {address.name: address for address in session.addresses(args.nodes)}
    kit, signer = await asyncio.to_thread(taken_kit, session, args.kit, args.signers, args.receipt)
    with kit:
        await _agree(session, args, list(addresses), kit.manifest.version)
        work = _Work(session, args, kit, f"{signer.principal}, key {signer.fingerprint}", len(addresses) == 1)
        if work.alone:
            (address,) = addresses.values()
            work.told(address.name, await work.one(address))
            return OK
        course = await upgrade_all(
            list(addresses),
            lambda name: work.one(addresses[name]),
            work.told,
            parallel=args.parallel,
            canary=not args.no_canary,
        )
    if not session.as_json:
        done, failed, rest = (", ".join(names) or "none" for names in (course.done, course.failed, course.rest))
        session.line(f"upgraded: {done}; failed: {failed}; not tried: {rest}")
    return course.code


async def _agree(session: Session, args: argparse.Namespace, names: list[str], version: str) -> None:
    many = f"{names[0]} first, then " if not args.no_canary else ""
    how = f" {many}{args.parallel} at a time, no more once one fails." if len(names) > 1 else ""
    said = (
        f"{', '.join(names)}: the agent becomes {version}; models go on, and it goes back by itself unless kept.{how}"
    )
    await session.agreed(said, names[0] if len(names) == 1 else str(len(names)))


@dataclass(frozen=True)
class _Work:
    """One command's upgrades. `alone`: there is one node, and its steps are told; of many each has one line."""

    session: Session
    args: argparse.Namespace
    kit: Kit
    signed_by: str
    alone: bool

    async def one(self, address: NodeAddress) -> AgentUpgrade:
        """Brings, switches, proves, keeps. Raises what is expected, Failure."""
        session, args, (prefix, state) = self.session, self.args, places_of(address)
        if not prefix:
            raise Failure(
                f"the agent on {address.name} was not put there by bootstrap",
                f"`outstation node bootstrap {address.name} --kit FILE` puts it into a folder of versions",
            )
        async with reached(session, address) as node:
            plan = await planned(session, node, self.kit, Wish(prefix, state), self.signed_by, shown=self.alone)
            if plan.refusals:
                raise _cannot(address.name, plan)
            tell: Tell = Telling(session) if self.alone else _nothing
            python = await bring(node, plan, self.kit, tell)
            by = await asyncio.to_thread(brought, session.home, f"sha256:{self.kit.digest}")
            change = Change(address.name, plan.version, args.confirm_within, session.operator, args.break_lease, by)
            async with session.operate([address.name]) as lane:
                now = await switch(lane, change, tell)
            places = {"prefix": plan.prefix, "state": plan.state, "version": plan.version}
            keep = [name for name in (now.launcher, now.previous) if name]
            await node.ask(python, "settle", verb="settle", **places, keep=keep)
        if now.running != plan.version:
            raise Failure(f"{address.name} runs {now.running}, not {plan.version}: {now.reason} {now.text}".rstrip())
        return now

    def told(self, name: str, answer: AgentUpgrade | Account) -> None:
        """One line a node, as it ends."""
        session = self.session
        if session.as_json:
            told = {"upgrade": None, "error": answer.what} if isinstance(answer, Account) else {"upgrade": answer}
            session.json({"node": name, **told})
        elif isinstance(answer, Account):
            session.line(f"{name} FAILED: {answer.what}")
            if answer.hint:
                session.line(f"  next: {answer.hint}")
        else:
            later = "; workers and launcher stay as they are until it starts anew"
            session.line(f"{name} runs {answer.running}" + (later if answer.launcher != answer.running else ""))
        session.flush()


def _nothing(step: Step) -> None:
    """Of many nodes no steps are told: their lines would be mixed."""


def _cannot(name: str, plan: Plan) -> Failure:
    """Why the kit does not fit, each reason with its fix."""
    reasons = "; ".join(f"{no.code}: {no.reason}" for no in plan.refusals)
    fixes = "; ".join(no.fix for no in plan.refusals)
    return Failure(f"{name} cannot take this agent; nothing was changed: {reasons}", fixes)


async def rollback(session: Session, args: argparse.Namespace) -> int:
    """The version before, now; refused after the confirm."""
    async with session.operate([args.node]) as lane:
        client = lane.client(args.node)
        now = await client.upgrade()
        if now.phase != "trial":
            raise Failure(f"no version of the agent is on trial on {args.node}", "`outstation agent show` says more")
        await session.agreed(f"{args.node}: the agent becomes {now.previous} again; models go on.", args.node)
        async with held_lease(client, session.operator, break_held=args.break_lease) as lease:
            await client.end_upgrade(now.id, "rollback", lease=lease.token)
    if session.as_json:
        session.json({"node": args.node, "back": now.previous})
    else:
        session.line(f"{args.node}: {now.previous} is taken again")
    return OK
