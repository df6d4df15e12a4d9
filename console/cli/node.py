"""`outstation node ...`: which nodes there are, and what each binds a bundle's names to."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from console import figures
from console.cli.arguments import add_break_lease, add_change, add_verb, add_yes, duration_s, pair, toml_value
from console.cli.session import Session
from console.client.client import AgentClient
from console.delivery.deploy import running_trial
from console.delivery.lease import held_lease
from console.failure import FAILED, OK, Failure
from console.fleet.view import NodeAddress
from console.home import check_node_name, row_of
from console.link.endpoint import parse_endpoint
from console.link.node import MONITOR, NodeLink
from console.link.resolve import resolve
from nodeagent.protocol import BindAnswer, Bindings


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    parser = verbs.add_parser("node", help="add, list, show, remove, bind nodes")
    group = parser.add_subparsers(dest="node_verb", required=True, metavar="VERB")
    added = add_verb(group, "add", add_node, summary="add a node and pin its host key and node id")
    added.add_argument("name", help="what the node is called here")
    added.add_argument("where", metavar="[USER@]HOST[:PORT]", help="where it is, or its name in ssh_config")
    added.add_argument("-J", "--jump", action="append", default=[], help="a jump host, outermost first")
    added.add_argument(
        "-i", "--identity", action="append", default=[], metavar="FILE", help="the key to offer, also to jump hosts"
    )
    added.add_argument("--socket", default="", help="the agent's socket on the node")
    added.add_argument("--agent", default="outstation-agent", help="the agent's command on the node")
    for place in ("site", "line", "machine"):
        added.add_argument(f"--{place}", default="", help=f"the {place} it belongs to")
    added.add_argument("--label", action="append", default=[], type=pair, metavar="NAME=VALUE")
    added.add_argument("--ssh-config", type=Path, help="another ssh_config than the usual ones")
    added.add_argument("--unseen", action="store_true", help="add it without contact; it is identified later")
    add_verb(group, "list", list_nodes, summary="list the nodes")
    add_verb(group, "show", show_node, summary="show one node").add_argument("name")
    removed = add_verb(group, "remove", remove_node, summary="forget a node; nothing on it changes", json=False)
    removed.add_argument("name")
    add_yes(removed)
    bound = add_verb(group, "bind", bind_node, summary="show or change what a node binds the names of its bundles to")
    bound.add_argument("name", metavar="NODE")
    bound.add_argument("set", nargs="*", type=pair, metavar="NAME=VALUE", help="a TOML value, or plain text")
    bound.add_argument("--unset", action="append", default=[], metavar="NAME")
    bound.add_argument("--dry-run", action="store_true", help="only say what would change")
    bound.add_argument("--confirm-within", type=duration_s, default=600.0, metavar="TIME")
    add_break_lease(bound)
    add_change(bound, emergency=True)
    add_yes(bound)


async def add_node(session: Session, args: argparse.Namespace) -> int:
    """Resolves, shows, connects, pins, keeps."""
    name = check_node_name(args.name)
    if session.catalog.node(name) is not None:
        raise Failure(f"there is a node {name} already", f"`outstation node remove {name}` first, or take another name")
    found = await resolve(args.where, config=args.ssh_config)
    address = NodeAddress(
        name=name,
        host=found.endpoint.host,
        port=found.endpoint.port,
        user=found.endpoint.user,
        jumps=tuple(str(parse_endpoint(jump)) for jump in args.jump) or found.jumps,
        socket=args.socket,
        agent=args.agent,
        site=args.site,
        line=args.line,
        machine=args.machine,
        labels=tuple(args.label),
        identity_files=tuple(_key_file(name) for name in args.identity) or found.identity_files,
        proxy_command=found.proxy_command,
    )
    if not session.as_json:
        _show_way(session, address, found.notes)
    if address.proxy_command:
        question = f"{name} is reached by running this command here: {address.proxy_command}\nRun it?"
        if not await session.prompter.yes_no(name, question):
            raise Failure("nothing was added: the ProxyCommand was not accepted", "name a jump host with -J instead")
    if not args.unseen:
        address = await _identify(session, address)
    session.catalog.put_node(row_of(address))
    if session.as_json:
        session.json(dataclasses.asdict(address))
    else:
        session.line(f"added {name}" + (f", node id {address.node_id}" if address.node_id else ", not seen yet"))
    return OK


def _key_file(name: str) -> str:
    """The key's whole path, so that it is found from any folder. Raises Failure where there is none."""
    path = Path(name).expanduser().absolute()
    if not path.is_file() and not path.with_name(f"{path.name}.pub").is_file():
        raise Failure(f"there is no key {path}", "name the private key, or the .pub of a key in your ssh-agent")
    return str(path)


def _show_way(session: Session, address: NodeAddress, notes: tuple[str, ...]) -> None:
    way = " -> ".join([*address.jumps, f"{address.user}@{address.host}:{address.port}"])
    session.line(f"{address.name}: {way}")
    for file in address.identity_files:
        session.line(f"  key {file}")
    for note in notes:
        session.line(f"  note: {note}")


async def _identify(session: Session, address: NodeAddress) -> NodeAddress:
    link = NodeLink(address, session.pool(), role=MONITOR, operator=session.operator)
    try:
        node_id = await AgentClient(link, address.name).identify()
    finally:
        await link.aclose()
    other = next((row.name for row in session.catalog.nodes() if row.node_id == node_id), None)
    if other is not None:
        raise Failure(
            f"NODE ID DOUBLED. {address.name} answers as {node_id}, which is {other}",
            "it is the same node under another name, or a state folder was copied to two machines",
        )
    return dataclasses.replace(address, node_id=node_id)


async def list_nodes(session: Session, args: argparse.Namespace) -> int:
    """What the catalog holds; no node is asked."""
    addresses = session.addresses()
    if session.as_json:
        session.json([dataclasses.asdict(address) for address in addresses])
        return OK
    if not addresses:
        session.line("no nodes yet; add one with `outstation node add NAME USER@HOST`")
        return OK
    rows = [(a.name, a.site, a.line, a.machine, _address_text(a), " ".join(a.jumps) or "-") for a in addresses]
    session.table(("NODE", "SITE", "LINE", "MACHINE", "ADDRESS", "JUMPS"), rows)
    return OK


def _address_text(address: NodeAddress) -> str:
    return "one-way" if address.one_way_key else f"{address.user}@{address.host}:{address.port}"


async def show_node(session: Session, args: argparse.Namespace) -> int:
    """The catalog's facts and the node's own."""
    (address,) = session.addresses([args.name])
    async with session.client(args.name) as client:
        status = await client.status()
        revisions = await client.revisions()
    if session.as_json:
        session.json({"address": dataclasses.asdict(address), "status": status, "revisions": revisions})
        return OK
    telemetry = status.telemetry
    session.pairs(
        [
            ("node", f"{address.name} ({status.name})"),
            ("node id", status.node_id),
            ("address", f"{address.user}@{address.host}:{address.port}"),
            ("jumps", " -> ".join(address.jumps) or "none"),
            ("agent", f"{status.agent_version}, protocol {status.protocol_major}.{status.protocol_minor}"),
            ("access", f"{status.access}, as {status.actor}"),
            ("signers", str(status.signers) if status.signers else "NONE: every deployment is refused"),
            ("up", figures.age(telemetry.host.uptime_s)),
            ("hold", f"HELD by {telemetry.hold.by}: {telemetry.hold.reason}" if telemetry.hold else "no"),
        ]
    )
    if revisions:
        session.line()
        rows = [
            (r.bundle, r.version, str(r.revision), "active" if r.active else "", figures.day_and_time(r.since_us))
            for r in revisions
        ]
        session.table(("BUNDLE", "VERSION", "REVISION", "", "SINCE"), rows, right=(2,))
    return OK


async def remove_node(session: Session, args: argparse.Namespace) -> int:
    """Forgets the node here. Its ledger anchor stays, and so do its pinned host keys."""
    session.addresses([args.name])
    await session.agreed(f"{args.name} is forgotten by this console; nothing on the node changes.", args.name)
    session.catalog.remove_node(args.name)
    session.line(f"removed {args.name}; its host key stays in {session.home.known_hosts}")
    return OK


async def bind_node(session: Session, args: argparse.Namespace) -> int:
    """Shows the bindings, or the difference, asks, and changes them."""
    changes = {name: toml_value(value) for name, value in args.set}
    if not changes and not args.unset:
        async with session.client(args.name) as client:
            return _show_bindings(session, await client.bindings())
    async with session.operate([args.name]) as lane:
        client = lane.client(args.name)
        bindings = await client.bindings()
        planned = await client.bind(
            changes,
            base_revision=bindings.revision,
            lease=None,
            unset=args.unset,
            window_s=args.confirm_within,
            dry_run=True,
        )
        if not session.as_json:
            _show_changes(session, planned)
        if args.dry_run or not planned.changes:
            if session.as_json:
                session.json(planned)
            return OK
        await session.agreed(
            f"{args.name}: bundles that use a changed name go through a trial of {args.confirm_within:g} s.", args.name
        )
        async with held_lease(client, session.operator, break_held=args.break_lease) as lease:
            done = await client.bind(
                changes,
                base_revision=bindings.revision,
                lease=lease.token,
                unset=args.unset,
                window_s=args.confirm_within,
                digest=planned.digest,
            )
        trial = running_trial((await client.deployments()).deployments)
    if session.as_json:
        session.json(done)
        return OK
    session.line(f"{args.name}: bindings are at revision {done.revision}")
    if trial is not None:
        session.line(f"a trial runs; keep it with `outstation confirm {args.name}`")
    return OK if not done.deployments or trial is not None else FAILED


def _show_bindings(session: Session, bindings: Bindings) -> int:
    if session.as_json:
        session.json(bindings)
        return OK
    session.line(f"revision {bindings.revision}")
    session.pairs([(name, _value(value)) for name, value in sorted(bindings.values.items())])
    for bundle, names in sorted(bindings.missing.items()):
        session.line(f"MISSING for {bundle}: {', '.join(names)}")
    return OK


def _show_changes(session: Session, planned: BindAnswer) -> None:
    if not planned.changes:
        session.line("nothing would change")
    for name, (old, new) in sorted(planned.changes.items()):
        session.line(f"{name}: {_value(old)} -> {_value(new)}")
    if planned.digest:
        session.line(f"the change is {planned.digest}")


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)
