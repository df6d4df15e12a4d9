"""`outstation node import` and `outstation site ...`: many nodes at once, shown before they are taken."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from console.cli.arguments import add_verb, add_yes
from console.cli.session import Session
from console.failure import FAILED, OK, Failure
from console.fleet.view import NodeAddress
from console.home import row_of
from console.inventory.ansible import read_ansible
from console.inventory.entry import TEXT_BYTES_MAX, Change, Entry, as_text, compare, merged
from console.inventory.sheet import read_sheet
from console.inventory.site import encode, entries_of, new_host_keys, read_site, site_of
from console.inventory.sshconfig import read_ssh_config
from console.link.hostkeys import HostKeys
from store import durable
from store.errors import from_os

SSH_CONFIG = Path("~/.ssh/config")
KINDS = ("ssh-config", "ansible", "csv")
_MARKS = {"new": "+", "same": " ", "changed": "~", "conflict": "!"}


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `import` to the verbs of `outstation node`, and declares `outstation site`."""
    group = next(action for action in verbs.choices["node"]._actions if isinstance(action, argparse._SubParsersAction))
    taken = add_verb(group, "import", import_nodes, summary="take nodes from ssh_config, Ansible or CSV")
    taken.add_argument("file", type=Path, nargs="?", help=f"default with --from ssh-config: {SSH_CONFIG}")
    taken.add_argument("--from", dest="kind", choices=KINDS, help="default: by the file's name")
    taken.add_argument("--only", action="append", default=[], metavar="NAME", help="these nodes of the list alone")
    _add_taking(taken)
    sites = verbs.add_parser("site", help="what this console knows of its nodes, for another console")
    ways = sites.add_subparsers(dest="site_verb", required=True, metavar="VERB")
    told = add_verb(ways, "export", export_site, summary="write a site file", json=False)
    told.add_argument("nodes", nargs="*", metavar="NODE", help="default: all")
    told.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    heard = add_verb(ways, "import", import_site, summary="merge a site file into what is known here")
    heard.add_argument("file", type=Path)
    _add_taking(heard)


def _add_taking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--update", action="store_true", help="also change nodes that are known here")
    parser.add_argument("--dry-run", action="store_true", help="only show")
    add_yes(parser)


async def import_nodes(session: Session, args: argparse.Namespace) -> int:
    """Reads, shows, asks, keeps. No node is contacted: each is identified at its first contact."""
    kind = args.kind or _kind_of(args.file)
    if kind == "ssh-config":
        entries = await read_ssh_config((args.file or SSH_CONFIG).expanduser(), args.only)
    else:
        if args.file is None:
            raise Failure(f"--from {kind} needs a file")
        text = as_text(_read(args.file), where=args.file.name)
        read = read_ansible if kind == "ansible" else read_sheet
        entries = [e for e in read(text, where=args.file.name) if not args.only or e.address.name in args.only]
    return await _take(session, args, await _asked(session, args, entries))


def _kind_of(file: Path | None) -> str:
    if file is None or file.name in ("config", "ssh_config"):
        return "ssh-config"
    return "csv" if file.suffix.lower() == ".csv" else "ansible"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(TEXT_BYTES_MAX + 1)
    except OSError as error:
        raise from_os(error, "read", path) from error


async def _asked(session: Session, args: argparse.Namespace, entries: Sequence[Entry]) -> list[Entry]:
    """A ProxyCommand runs a program here at every contact: a person accepts each, or the node is left out."""
    taken = []
    for entry in entries:
        command = entry.address.proxy_command
        if command and not args.dry_run:
            question = f"{entry.address.name} is reached by running this command here: {command}\nRun it?"
            if not await session.prompter.yes_no(entry.address.name, question):
                session.line(f"{entry.address.name} is left out: its ProxyCommand was not accepted")
                continue
        taken.append(entry)
    return taken


async def _take(session: Session, args: argparse.Namespace, entries: Sequence[Entry], asked: str = "") -> int:
    here = {address.name: address for address in session.addresses()}
    changes = compare(entries, here)
    _show(session, changes)
    conflicts = [change for change in changes if change.kind == "conflict"]
    wanted = [change for change in changes if change.kind == "new" or (change.kind == "changed" and args.update)]
    if args.dry_run:
        return FAILED if conflicts else OK
    if conflicts:
        names = ", ".join(change.name for change in conflicts[:5])
        raise Failure(f"nothing was taken: another node id for {names}", "is it another box, or a copied state folder?")
    if wanted or asked:
        await session.agreed(f"{asked}{len(wanted)} nodes are added or changed here.", str(len(wanted)))
    for change in wanted:
        session.catalog.put_node(row_of(merged(change, here.get(change.name))))
    left = sum(change.kind == "changed" for change in changes) if not args.update else 0
    if not session.as_json:
        session.line(
            f"{len(wanted)} nodes taken" + (f"; {left} differ and stay (--update changes them)" if left else "")
        )
    return OK


def _show(session: Session, changes: Sequence[Change]) -> None:
    if session.as_json:
        session.json([{"name": c.name, "kind": c.kind, "differs": dict(c.differs)} for c in changes])
        return
    rows = [
        (
            _MARKS[change.kind],
            change.name,
            _where(change.entry.address),
            " ".join(change.entry.address.jumps) or "-",
            "/".join(p for p in (change.entry.address.site, change.entry.address.line) if p) or "-",
            " ".join("=".join(label) for label in change.entry.address.labels) or "-",
        )
        for change in changes
    ]
    session.table(("", "NODE", "ADDRESS", "JUMPS", "PLACE", "LABELS"), rows)
    for change in changes:
        for field, (old, new) in change.differs.items():
            session.line(f"  {change.name} {field}: {old} -> {new}")
        for note in change.entry.notes:
            session.line(f"  {change.name} note: {note}")


def _where(address: NodeAddress) -> str:
    return f"{address.user}@{address.host}:{address.port}".removeprefix("@")


async def export_site(session: Session, args: argparse.Namespace) -> int:
    """Writes the file; key files, ProxyCommands and everything secret stay here."""
    addresses = session.addresses(args.nodes)
    site = site_of(addresses, HostKeys(session.home.known_hosts).read())
    await asyncio.to_thread(durable.write_file, args.out, encode(site), 0o644)
    session.line(f"{len(site.nodes)} nodes and {len(site.host_keys)} host keys in {args.out}")
    return OK


async def import_site(session: Session, args: argparse.Namespace) -> int:
    """Merges nodes, and pins the host keys of hosts that are new here, after both were shown."""
    hostkeys = HostKeys(session.home.known_hosts)
    site = read_site(_read(args.file), where=args.file.name)
    keys = new_host_keys(site, hostkeys.read(), where=args.file.name)
    if not session.as_json:
        for endpoint, key in keys:
            session.line(f"host key {endpoint.known_name}  {key.algorithm}  {key.fingerprint}")
    asked = f"{len(keys)} host keys are pinned as the file's writer had them. " if keys else ""
    code = await _take(session, args, entries_of(site, where=args.file.name), asked)
    if not args.dry_run:
        for endpoint, key in keys:
            await asyncio.to_thread(hostkeys.accept, endpoint, key)
    return code
