"""`outstation agent`: which version of the agent runs on nodes, another one on trial, and the one before again."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from console.bootstrap.install import bring
from console.bootstrap.plan import Plan, Wish
from console.bootstrap.upgrade import Change, switch
from console.cli.arguments import add_break_lease, add_verb, add_yes, duration_s
from console.cli.bootstrap import Telling, places_of, planned, reached, refuse
from console.cli.kit import add_signers, verified_kit
from console.cli.session import Session
from console.failure import EXPECTED, FAILED, NOT_REACHED, OK, Account, Failure, account
from console.kit.file import Kit
from console.lease import held_lease
from console.link.errors import LinkError
from console.view import NodeAddress
from console.wire import AgentError
from nodeagent.protocol import AgentUpgrade


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    parser = verbs.add_parser("agent", help="the agent's own version: show, upgrade, roll back")
    group = parser.add_subparsers(dest="agent_verb", required=True, metavar="VERB")
    shown = add_verb(group, "show", show, summary="which version runs, and how the last upgrade ended")
    shown.add_argument("nodes", nargs="*", metavar="NODE")
    upgraded = add_verb(group, "upgrade", upgrade, summary="put the agent of a kit on trial, then keep it")
    upgraded.add_argument("nodes", nargs="+", metavar="NODE", help="one after the other; the first that fails ends it")
    upgraded.add_argument("--kit", type=Path, required=True, metavar="FILE")
    add_signers(upgraded)
    upgraded.add_argument(
        "--confirm-within", type=duration_s, default=120.0, metavar="TIME", help="how long a node waits for the confirm"
    )
    add_break_lease(upgraded)
    add_yes(upgraded)
    back = add_verb(group, "rollback", rollback, summary="end the trial of another version now")
    back.add_argument("node", metavar="NODE")
    add_break_lease(back)
    add_yes(back)


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
    """Brings, switches, proves, keeps. Exit code 1 at the first node that went back; those before it are upgraded."""
    addresses = session.addresses(args.nodes)
    kit, signer = await asyncio.to_thread(verified_kit, session, args.kit, args.signers)
    done: list[str] = []
    with kit:
        signed_by = f"{signer.principal}, key {signer.fingerprint}"
        for address in addresses:
            try:
                code = await _upgrade_one(session, args, address, kit, signed_by)
            except (*EXPECTED, Failure):
                _say_rest(session, done, address.name, args.nodes)
                raise
            if code != OK:
                _say_rest(session, done, address.name, args.nodes)
                return code
            done.append(address.name)
    return OK


def _say_rest(session: Session, done: list[str], failed: str, names: list[str]) -> None:
    rest = names[len(done) + 1 :]
    if not session.as_json and (done or rest):
        session.line(f"upgraded: {', '.join(done) or 'none'}; failed: {failed}; not tried: {', '.join(rest) or 'none'}")
    session.flush()


async def _upgrade_one(
    session: Session, args: argparse.Namespace, address: NodeAddress, kit: Kit, signed_by: str
) -> int:
    prefix, state = places_of(address)
    if not prefix:
        raise Failure(
            f"the agent on {address.name} was not put there by bootstrap",
            f"`outstation node bootstrap {address.name} --kit FILE` puts it into a folder of versions",
        )
    async with reached(session, address) as node:
        plan = await planned(session, node, kit, Wish(prefix, state), signed_by)
        if plan.refusals:
            return refuse(session, address.name, plan)
        said = (
            f"{address.name}: the agent becomes {plan.version}; models go on, and it goes back by itself unless kept."
        )
        await session.agreed(said, address.name)
        python = await bring(node, plan, kit, Telling(session))
        change = Change(address.name, plan.version, args.confirm_within, session.operator, args.break_lease)
        async with session.operate([address.name]) as lane:
            now = await switch(lane, change, Telling(session))
        places = {"prefix": plan.prefix, "state": plan.state, "version": plan.version}
        keep = [name for name in (now.launcher, now.previous) if name]
        await node.ask(python, "settle", verb="settle", **places, keep=keep)
    return _told(session, address, plan, now)


def _told(session: Session, address: NodeAddress, plan: Plan, now: AgentUpgrade) -> int:
    if session.as_json:
        session.json({"node": address.name, "upgrade": now})
        return OK if now.running == plan.version else FAILED
    session.line(f"{address.name} runs {now.running}")
    if now.launcher != now.running:
        session.line("  running workers and the launcher stay as they are until the node starts anew")
    return OK if now.running == plan.version else FAILED


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
