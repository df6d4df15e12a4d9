"""`outstation node bootstrap` and `node remove --wipe`: an agent onto a node over the link alone, and off it again."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from console import figures
from console.bootstrap.facts import NodeFacts
from console.bootstrap.install import Identity, Installed, Step, install, prove
from console.bootstrap.node import BootstrapNode
from console.bootstrap.plan import PYTHON_MIN, STARTS, Plan, Wish, make_plan, usual_places
from console.bootstrap.shell import Shell
from console.cli.arguments import add_receipt, add_verb, add_yes
from console.cli.kit import KITS, add_signers, kept_kit, taken_kit
from console.cli.node import remove_node
from console.cli.session import Session
from console.client.client import AgentClient
from console.failure import FAILED, OK, Failure
from console.fleet.view import NodeAddress
from console.home import row_of
from console.kit.file import Kit
from console.kit.manifest import python_key
from console.link.endpoint import route_of
from console.link.node import SOCKET_DEFAULT, NodeLink
from console.link.pool import BULK, LIVE
from store import signers
from store.errors import from_os

AGENT_TAIL = "/current/outstation-agent"
SOCKET_TAIL = "/run/agent.sock"


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds to the verbs of `outstation node`, which are declared before."""
    group = next(action for action in verbs.choices["node"]._actions if isinstance(action, argparse._SubParsersAction))
    booted = add_verb(group, "bootstrap", bootstrap_node, summary="put an agent on a node, over the link alone")
    booted.add_argument("name", metavar="NODE", help="a node of the catalog; `node add --unseen` adds one")
    booted.add_argument("--kit", type=Path, metavar="FILE", help=f"default: the one kit in HOME/{KITS}")
    add_signers(booted)
    add_receipt(booted)
    booted.add_argument("--allow-signer", type=Path, metavar="FILE", help="who may sign bundles for the node")
    booted.add_argument("--check", action="store_true", help="only look, and say what would be done")
    add_wishes(booted)
    add_yes(booted)
    removed = group.choices["remove"]
    removed.set_defaults(verb=remove_or_wipe)
    removed.add_argument("--wipe", action="store_true", help="take the agent and all its data off the node first")
    removed.add_argument("--keep-state", action="store_true", help="with --wipe: leave the node's data there")


def add_wishes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", default="", help="the folder of the programs on the node")
    parser.add_argument("--state", default="", help="the folder of the node's data")
    parser.add_argument("--start", choices=STARTS, help="what starts it at boot; default: what is there")
    parser.add_argument("--python", default="", metavar="PATH", help="the interpreter to use on the node")


async def bootstrap_node(session: Session, args: argparse.Namespace) -> int:
    """Looks, says, asks, installs, proves, and keeps the way to the agent."""
    (address,) = session.addresses([args.name])
    allowed = _read_allowed(args.allow_signer)
    kit, signer = await asyncio.to_thread(taken_kit, session, args.kit or kept_kit(session), args.signers, args.receipt)
    wish = Wish(args.prefix, args.state, args.start, args.python)
    with kit:
        async with reached(session, address) as node:
            plan = await planned(session, node, kit, wish, f"{signer.principal}, key {signer.fingerprint}")
            if plan.refusals:
                return refuse(session, address.name, plan)
            if args.check:
                return OK
            await session.agreed(f"an agent is put on {address.name} as said above.", address.name)
            started_s = time.monotonic()
            identity = Identity(address.name, address.site, allowed)
            done = await install(node, plan, kit, identity, Telling(session))
    return await _keep(session, address, plan, done, time.monotonic() - started_s)


def _read_allowed(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise from_os(error, "read", path) from error
    signers.parse(text)
    return text


@asynccontextmanager
async def reached(session: Session, address: NodeAddress) -> AsyncIterator[BootstrapNode]:
    """The node over a connection of its own; no agent needs to be there."""
    route = route_of(address)
    async with session.pool().connect(route, lane=BULK, identity_files=address.identity_files) as connection:
        yield BootstrapNode(Shell(connection, address.name))


async def planned(
    session: Session, node: BootstrapNode, kit: Kit, wish: Wish, signed_by: str, *, shown: bool = True
) -> Plan:
    """The account's places are known only once it was looked at: root's differ. `shown`: the person sees it."""
    facts = await node.look(*usual_places(wish, is_root=False))
    if facts.is_root:
        facts = await node.look(*usual_places(wish, is_root=True))
    plan = make_plan(facts, kit.manifest, kit.digest, wish)
    if not shown:
        return plan
    if session.as_json:
        told = dataclasses.asdict(dataclasses.replace(plan, target=None, runtime=None))
        session.json({"plan": {**told, "agent": plan.agent, "socket": plan.socket}})
    else:
        _show(session, node.name, facts, plan, signed_by)
    session.flush()
    return plan


def _show(session: Session, name: str, facts: NodeFacts, plan: Plan, signed_by: str) -> None:
    glibc = ".".join(map(str, facts.glibc)) if facts.glibc else "none"
    pythons = ", ".join(f"{python.version} ({python.path})" for python in facts.pythons) or "none"
    free = figures.size(facts.prefix.bytes_free) if facts.prefix.bytes_free is not None else "?"
    session.line(f"{name} as it is")
    session.pairs(
        [
            ("  system", f"{facts.kernel} {facts.machine}, glibc {glibc}, started by {facts.init or '?'}"),
            ("  account", facts.user + (", which is root" if facts.is_root else "")),
            ("  python", pythons),
            ("  room", f"{free} free in {facts.prefix.mount or '?'}"),
        ]
    )
    if plan.refusals:
        return
    session.line("what will be done")
    carried = plan.runtime is not None and f"the kit's own Python {plan.runtime.python}"
    session.pairs(
        [
            ("  kit", f"signed by {signed_by}"),
            ("  programs", f"{plan.prefix}/versions/{plan.version}"),
            ("  state", plan.state),
            ("  python", carried or plan.python),
            ("  copied", f"{figures.size(plan.bytes_to_copy)}; {figures.size(plan.bytes_needed)} on the disk at most"),
            ("  start", plan.start),
        ]
    )
    for note in plan.notes:
        session.line(f"  note: {note}")


def refuse(session: Session, name: str, plan: Plan) -> int:
    if session.as_json:
        return FAILED
    session.line(f"{name} cannot take this agent; nothing was changed")
    for no in plan.refusals:
        session.line(f"  {no.code}: {no.reason}")
        session.line(f"    fix: {no.fix}")
    return FAILED


class Telling:
    """One line a step, and one for each tenth of the copying; nothing with --json."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = ("", 0)

    def __call__(self, step: Step) -> None:
        tenth = 10 * step.done_bytes // step.total_bytes if step.total_bytes else 0
        if self._session.as_json or (step.name == "copy" and self._last == (step.name, tenth)):
            return
        self._last = (step.name, tenth)
        done = f"{figures.size(step.done_bytes)} of {figures.size(step.total_bytes)}  " if step.total_bytes else ""
        self._session.line(f"{step.name:<7} {done}{step.text}")
        self._session.flush()


async def _keep(session: Session, address: NodeAddress, plan: Plan, done: Installed, took_s: float) -> int:
    """The catalog learns the way to the agent, then the agent itself has to answer on it."""
    found = dataclasses.replace(address, socket=plan.socket, agent=plan.agent, node_id=done.node_id)
    if address.node_id and address.node_id != done.node_id:
        raise Failure(
            f"{address.name} was {address.node_id} and is {done.node_id} now; the catalog keeps what it had",
            f"if that is meant: `outstation node remove {address.name}`, add it again, and run this again",
        )
    session.catalog.put_node(row_of(found))
    link = NodeLink(found, session.pool(), lane=LIVE)
    try:
        status = await prove(AgentClient(link, found.name), done.node_id, plan.version)
    finally:
        await link.aclose()
    if session.as_json:
        session.json({"node_id": done.node_id, "before": done.before, "notes": done.notes, "seconds": took_s})
        return OK
    for note in done.notes:
        session.line(f"note: {note}")
    session.line(f"{found.name} runs outstation {status.agent_version}, node id {done.node_id}, after {took_s:.0f} s")
    if not status.signers:
        session.line(
            "no signers yet: every deployment is refused until you bootstrap it again with --allow-signer FILE"
        )
    return OK


async def remove_or_wipe(session: Session, args: argparse.Namespace) -> int:
    """`node remove`, after the agent is gone from the node where --wipe asks for it."""
    if not args.wipe:
        return await remove_node(session, args)
    (address,) = session.addresses([args.name])
    prefix, state = places_of(address)
    what = "its programs" if args.keep_state else "its programs, bundles, records, bindings and ledger"
    await session.agreed(f"the agent on {address.name} is stopped, and {what} are removed for ever.", address.name)
    async with reached(session, address) as node:
        facts = await node.look(*usual_places(Wish(prefix, state), is_root=False))
        if facts.is_root:
            facts = await node.look(*usual_places(Wish(prefix, state), is_root=True))
        python = _any_python(facts) or await node.python_of(facts.prefix.path)
        places = {"prefix": facts.prefix.path, "state": facts.state.path}
        if python:
            answer = await node.ask(python, "wipe", verb="wipe", **places, keep_state=args.keep_state)
        elif await node.sweep(facts.prefix.path):
            answer = {"left": []}
        else:
            raise Failure(f"{address.name} has no Python to take the agent off with", f"look at {facts.prefix.path}")
    for left in answer["left"]:
        session.line(f"left, because it is not ours: {left}")
    session.catalog.remove_node(address.name)
    session.line(f"wiped and removed {address.name}; its host key stays in {session.home.known_hosts}")
    return FAILED if answer["left"] else OK


def places_of(address: NodeAddress) -> tuple[str, str]:
    """Prefix and state as bootstrap left them in the address; empty where they are the usual ones."""
    prefix = address.agent.removesuffix(AGENT_TAIL) if address.agent.endswith(AGENT_TAIL) else ""
    usual = address.socket in ("", SOCKET_DEFAULT)
    state = "" if usual or not address.socket.endswith(SOCKET_TAIL) else address.socket.removesuffix(SOCKET_TAIL)
    if prefix == "/opt/outstation" and usual:
        return prefix, "/var/lib/outstation"
    return prefix, state


def _any_python(facts: NodeFacts) -> str:
    able = (p.path for p in facts.pythons if not p.lacking and python_key(p.version) >= PYTHON_MIN)
    return next(able, "")
