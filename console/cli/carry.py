"""`outstation carry pack` and `unpack`: what one laptop knows, to another one, without a network between them."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import tempfile
import time
from pathlib import Path

from console import figures
from console.carry import INDEX_NAME, SITE, CarryRefused, Index, Packing, open_carried
from console.cli import bundle, inventory, ledger
from console.cli.arguments import add_receipt, add_verb, add_yes
from console.cli.keys import add_key, signer_of
from console.cli.kit import KITS, SIGNERS_NAME
from console.cli.session import Session
from console.failure import OK, Failure
from console.home import address_of, row_of
from console.inventory.site import encode, site_of
from console.kit.file import open_kit
from console.ledgers import copies
from console.ledgers.copies import Header
from console.link.hostkeys import HostKeys
from console.receipts import admit, keep
from store import durable


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    parser = verbs.add_parser("carry", help="nodes, bundles, kits and ledgers on a stick, to another laptop")
    group = parser.add_subparsers(dest="carry_verb", required=True, metavar="VERB")
    packed = add_verb(group, "pack", pack, summary="fill a folder with what this console knows; no key, no secret")
    packed.add_argument("folder", type=Path)
    packed.add_argument("--kit", action="append", default=[], type=Path, metavar="FILE", help="a kit to take along")
    add_key(packed, required=False)
    taken = add_verb(
        group, "unpack", unpack, summary="take what such a folder holds, each thing checked by itself", json=False
    )
    taken.add_argument("folder", type=Path)
    taken.add_argument("--identity", type=Path, metavar="FILE", help="this laptop's key for the nodes that are taken")
    taken.add_argument("--ledger-signers", type=Path, metavar="FILE", help="whose ledger copies are taken")
    taken.add_argument("--unsigned", action="store_true", help="take unsigned ledger copies too, each after asking")
    taken.add_argument("--update", action="store_true", help="also change nodes that are known here")
    add_receipt(taken)
    add_yes(taken)


async def pack(session: Session, args: argparse.Namespace) -> int:
    """Ledger copies are signed where a key is named, and left out otherwise: nobody would vouch for them."""
    for path in args.kit:
        with await asyncio.to_thread(open_kit, path):
            pass
    packing = await asyncio.to_thread(Packing.begin, args.folder)
    with tempfile.TemporaryDirectory(prefix="outstation-carry-") as temporary:
        await _pack_into(session, args, packing, Path(temporary))
    index = await asyncio.to_thread(packing.finish, session.operator, time.time())
    if session.as_json:
        session.json(index)
        return OK
    _say(session, index)
    session.line(f"in {args.folder}; on the other laptop: outstation carry unpack {args.folder}")
    return OK


async def _pack_into(session: Session, args: argparse.Namespace, packing: Packing, temporary: Path) -> None:
    site = temporary / SITE
    addresses = session.addresses()
    durable.write_file(site, encode(site_of(addresses, HostKeys(session.home.known_hosts).read())), 0o644)
    packing.add("site", site)
    for row in session.catalog.bundles():
        await asyncio.to_thread(packing.add, "bundle", Path(row.path), f"{row.name}-{row.version}.ostn")
    for path in args.kit:
        await asyncio.to_thread(packing.add, "kit", path)
    for name in (SIGNERS_NAME, session.home.allowed_signers.name):
        if (session.home.path / name).is_file():
            packing.add("signers", session.home.path / name)
    if args.key is None and args.ssh_agent is None:
        session.line("no --key or --ssh-agent: ledger copies stay here, since nobody would vouch for them")
        return
    sign = await signer_of(session, args, copies.NAMESPACE)
    with ledger.opened(session) as histories:
        for address in addresses:
            entries, head = histories.entries(address.node_id), histories.head(address.node_id)
            if not entries:
                continue
            header = Header(
                format=copies.FORMAT, node_id=address.node_id, node=address.name, exported_by=session.operator,
                exported_wall_s=time.time(), entries=len(entries), head_hash=head.hash,
            )  # fmt: skip
            file = temporary / f"{address.name}-{head.seq}.ledger"
            copies.write(file, header, entries, sign)
            packing.add("ledger", file)


async def unpack(session: Session, args: argparse.Namespace) -> int:
    """Nodes as `site import` takes them, bundles as `catalog import`, ledgers as `ledger import`; kits are kept."""
    seen = await asyncio.to_thread(admit, session.home, args.folder / INDEX_NAME, given=args.receipt)
    index = await asyncio.to_thread(open_carried, args.folder)
    for file in index.files:
        taken = file.path(args.folder)
        keep(session.home, seen, taken, subject=f"sha256:{file.sha256}", taken_by=session.operator)
    if seen is not None:
        own = f"sha256:{seen.receipt.sha256}"
        keep(session.home, seen, args.folder / INDEX_NAME, subject=own, taken_by=session.operator)
        session.line(f"the whole folder, by its {INDEX_NAME}: {seen}")
    _say(session, index)
    codes = []
    before = {address.name for address in session.addresses()}
    for file in index.of("site"):
        words = argparse.Namespace(file=file.path(args.folder), update=args.update, dry_run=False)
        codes.append(await inventory.import_site(session, words))
    if args.identity is not None:
        _give_identity(session, args.identity, before)
    bundles = [file.path(args.folder) for file in index.of("bundle")]
    if bundles:
        codes.append(await bundle.import_bundles(session, argparse.Namespace(files=bundles, receipt=None, seen=seen)))
    await asyncio.to_thread(_take_kits, session, args.folder, index)
    await _take_signers(session, args.folder, index)
    ledgers = [file.path(args.folder) for file in index.of("ledger")]
    if ledgers:
        words = argparse.Namespace(files=ledgers, signers=args.ledger_signers, unsigned=args.unsigned)
        codes.append(await ledger.import_copies(session, words))
    session.line("now `outstation ledger verify` asks the nodes themselves: they are the truth")
    return max(codes, default=OK)


def _give_identity(session: Session, key: Path, before: set[str]) -> None:
    path = key.expanduser().absolute()
    if not path.is_file():
        raise Failure(f"there is no key {path}")
    for row in session.catalog.nodes():
        if row.name not in before and not row.identity_files:
            session.catalog.put_node(row_of(dataclasses.replace(address_of(row), identity_files=(str(path),))))


def _take_kits(session: Session, folder: Path, index: Index) -> None:
    for file in index.of("kit"):
        with open_kit(file.path(folder)):
            pass
        target = session.home.path / KITS / file.file
        durable.make_dir(target.parent, 0o700)
        with file.path(folder).open("rb") as source, durable.replacing(target) as out:
            while piece := source.read(1 << 20):
                out.write(piece)
        session.line(f"kit {target}; its signature is checked when it is used")


async def _take_signers(session: Session, folder: Path, index: Index) -> None:
    """Who may sign is not believed from a stick: where this laptop has a list it stays, else a person is asked."""
    for file in index.of("signers"):
        if file.file not in (SIGNERS_NAME, session.home.allowed_signers.name):
            raise CarryRefused(f"{file.file} is no list of signers", "pack it again")
        target = session.home.path / file.file
        data = file.path(folder).read_bytes()
        if target.exists():
            if target.read_bytes() != data:
                session.line(f"{target} stays as it is; the one that was carried differs: {file.path(folder)}")
            continue
        session.lines([f"  {line}" for line in data.decode("utf-8", "replace").splitlines()])
        await session.agreed(f"these may sign what this laptop takes ({file.file}).", file.file)
        durable.write_file(target, data, 0o600)


def _say(session: Session, index: Index) -> None:
    session.line(
        f"packed by {index.packed_by}, {figures.day_and_time(round(index.packed_wall_s * 1e6))} by their clock"
    )
    rows = [(file.kind, file.file, figures.size(file.size), file.sha256[:16]) for file in index.files]
    session.table(("WHAT", "FILE", "SIZE", "SHA-256"), rows, right=(2,))
