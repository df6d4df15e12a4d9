"""`outstation node backup` and `node replace`: a new box becomes what the old one was, which is let in no more."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time
from pathlib import Path
from typing import Any

from console import backup as backups
from console import figures
from console.backup import Backup
from console.cli import bootstrap
from console.cli.arguments import add_receipt, add_verb, add_yes
from console.cli.kit import add_signers
from console.cli.session import Session
from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery.lease import held_lease
from console.failure import FAILED, NOT_REACHED, OK, Account, Failure, account
from console.fleet.view import NodeAddress
from console.home import row_of
from console.link.endpoint import Endpoint, parse_endpoint
from console.link.errors import LinkError
from console.link.hostkeys import HostKeys


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds to the verbs of `outstation node`, which are declared before."""
    group = next(action for action in verbs.choices["node"]._actions if isinstance(action, argparse._SubParsersAction))
    kept = add_verb(group, "backup", backup_nodes, summary="keep what a new box would need to replace these nodes")
    kept.add_argument("nodes", nargs="*", metavar="NODE", help="all, where none is named")
    replaced = add_verb(group, "replace", replace_node, summary="make a new box what this node was", json=False)
    replaced.add_argument("name", metavar="NODE")
    replaced.add_argument("--to", default="", metavar="[USER@]HOST[:PORT]", help="where the new box is, if elsewhere")
    replaced.add_argument("--kit", type=Path, required=True, metavar="FILE")
    add_signers(replaced)
    add_receipt(replaced)
    replaced.add_argument("--allow-signer", type=Path, metavar="FILE", help="who may sign bundles for the node")
    bootstrap.add_wishes(replaced)
    add_yes(replaced)


async def backup_nodes(session: Session, args: argparse.Namespace) -> int:
    """Exit code 3 when a node is not reached; its last backup stays."""
    home = session.home.path
    async with session.fleet(args.nodes) as fleet:

        async def one(name: str) -> tuple[str, Path | Account]:
            try:
                found = await backups.take(fleet.client(name), time.time())
            except (LinkError, AgentError) as error:
                return name, account(error)
            return name, await asyncio.to_thread(backups.write, home, found)

        done = await asyncio.gather(*(one(name) for name in fleet.views()))
    failed = [name for name, told in done if isinstance(told, Account)]
    if session.as_json:
        session.json([{"node": name, "file": None if name in failed else str(told)} for name, told in done])
    else:
        for name, told in done:
            session.line(f"? {name}: no backup: {told.what}" if isinstance(told, Account) else f"{name}: {told}")
    return NOT_REACHED if failed else OK


async def replace_node(session: Session, args: argparse.Namespace) -> int:
    """Goes on where an earlier run stopped: the catalog's node id says how far that came."""
    started_s = time.monotonic()
    (address,) = session.addresses([args.name])
    kept = await asyncio.to_thread(backups.read, session.home.path, args.name)
    if kept is None:
        raise Failure(f"there is no backup of {args.name}", "`outstation node backup` makes one while the node lives")
    _show(session, kept)
    old = Endpoint(address.host, address.port, address.user or "-")
    if address.node_id == kept.node_id:
        address = await _leave_the_old(session, args, address, old)
    else:
        await session.agreed(f"{args.name}: its replacement goes on where it stopped.", args.name)
    session.yes = True
    if not address.node_id:
        words = argparse.Namespace(**{**vars(args), "check": False})
        if (code := await bootstrap.bootstrap_node(session, words)) != OK:
            return code
    missing = await _restore(session, args.name, kept)
    for text in missing:
        session.line(f"MISSING  {text}")
    session.line(
        f"{args.name} is replaced after {time.monotonic() - started_s:.0f} s; outputs are a dry run until armed"
    )
    return FAILED if missing else OK


def _show(session: Session, kept: Backup) -> None:
    when = figures.day_and_time(round(kept.taken_wall_s * 1e6))
    session.line(f"{kept.node} as it was {when} ({figures.age(time.time() - kept.taken_wall_s)} ago)")
    orders = [f"hold by {kept.hold.by}"] if kept.hold else []
    orders += [f"out of service by {kept.out_of_service.by}"] if kept.out_of_service else []
    session.pairs(
        [
            ("  node id", kept.node_id),
            ("  bundles", ", ".join(f"{each.bundle} {each.version}" for each in kept.revisions) or "none"),
            ("  bindings", ", ".join(sorted(kept.bindings)) or "none"),
            ("  signers", ", ".join(each.principals for each in kept.signers) or "none"),
            ("  orders", ", ".join(orders) or "none"),
        ]
    )


async def _leave_the_old(
    session: Session, args: argparse.Namespace, address: NodeAddress, old: Endpoint
) -> NodeAddress:
    """The old host key is shown and revoked; the new box's own is shown at its first contact, and asked for."""
    hostkeys = HostKeys(session.home.known_hosts)
    pinned = hostkeys.read().match(old).keys
    for key in pinned:
        session.line(f"  old host key of {old.known_name}: {key.fingerprint} ({key.algorithm}), revoked here for good")
    question = f"{args.name}: the old box is let in no more, and a new one takes its name, bundles and bindings."
    await session.agreed(question, args.name)
    try:
        await asyncio.to_thread(hostkeys.revoke, old)
    except ValueError as error:
        raise Failure(str(error)) from error
    found = dataclasses.replace(address, node_id="", socket="", agent="outstation-agent")
    if args.to:
        target = parse_endpoint(args.to, user=address.user)
        found = dataclasses.replace(found, host=target.host, port=target.port, user=target.user)
    session.catalog.put_node(row_of(found))
    return found


async def _restore(session: Session, name: str, kept: Backup) -> list[str]:
    """Bindings, then bundles, then orders; what could not be brought back, in words."""
    async with session.operate([name]) as lane:
        client = lane.client(name)
        missing = [*await _bind(session, client, kept), *await _compare_signers(client, kept)]
        active = {revision.digest for revision in await client.revisions() if revision.active}
    for revision in kept.revisions:
        row = session.catalog.bundle(revision.digest)
        if revision.digest in active:
            continue
        if row is None:
            missing.append(f"bundle {revision.bundle} {revision.version}: import its file, then run this again")
        elif await _run(session, "deploy", row.path, name, "--yes") or await _run(session, "confirm", name):
            missing.append(f"bundle {revision.bundle} {revision.version}: see what was said above")
    async with session.operate([name]) as lane:
        await _give_orders(lane.client(name), kept)
    return missing


async def _bind(session: Session, client: AgentClient, kept: Backup) -> list[str]:
    there = await client.bindings()
    changes, secret = backups.to_bind(kept, there)
    if changes:
        async with held_lease(client, session.operator) as lease:
            await client.bind(changes, base_revision=there.revision, lease=lease.token)
        session.line(f"bound    {', '.join(sorted(changes))}")
    return [f"binding {name}: it holds a secret: outstation node bind {client.node} {name}=..." for name in secret]


async def _compare_signers(client: AgentClient, kept: Backup) -> list[str]:
    there = {signer.fingerprint for signer in (await client.trust()).signers}
    gone = [signer for signer in kept.signers if signer.fingerprint not in there]
    return [f"signer {signer.principals} ({signer.fingerprint}): outstation trust add" for signer in gone]


async def _give_orders(client: AgentClient, kept: Backup) -> None:
    """What a person had ordered for the old box holds for the new one until a person lifts it."""
    telemetry = (await client.status()).telemetry
    if kept.hold is not None and telemetry.hold is None:
        await client.hold(f"{kept.hold.reason} (by {kept.hold.by}, for the box before)".strip())
    if kept.out_of_service is not None and telemetry.out_of_service is None:
        out = kept.out_of_service
        await client.out_of_service(f"{out.reason} (by {out.by}, for the box before)")


async def _run(session: Session, *words: str) -> int:
    """Another verb of ours, as if it had been typed."""
    from console.cli.parser import add_verbs  # It declares us too.

    parser = argparse.ArgumentParser()
    add_verbs(parser)
    args: Any = parser.parse_args(words)
    code: int = await args.verb(session, args)
    return code
