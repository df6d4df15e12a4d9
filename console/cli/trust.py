"""`outstation trust list|add|remove`: who may sign on a node; each change is signed by a key that may change trust."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
from pathlib import Path

from console.cli.arguments import add_break_lease, add_change, add_verb, add_yes
from console.cli.bundle import is_locked
from console.cli.change import add_permit
from console.cli.session import Session
from console.delivery.lease import held_lease
from console.failure import OK, USAGE, Failure
from nodeagent.protocol import Trust
from store import signing, trust
from store.errors import from_os
from store.trust import TRUST_NAMESPACE, Change


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    parser = verbs.add_parser("trust", help="who may sign on a node")
    group = parser.add_subparsers(dest="trust_verb", required=True, metavar="VERB")
    add_verb(group, "list", show, summary="the allowed signers of a node").add_argument("node")
    add_permit(group)
    added = add_verb(group, "add", change, summary="allow a signer, by a signed change")
    added.add_argument("node")
    added.add_argument("signer", type=Path, help="a file with one line of allowed_signers")
    removed = add_verb(group, "remove", change, summary="allow a key no longer, by a signed change")
    removed.add_argument("node")
    removed.add_argument("fingerprint", metavar="SHA256:...")
    for verb in (added, removed):
        key = verb.add_mutually_exclusive_group(required=True)
        key.add_argument("--key", type=Path, metavar="FILE", help=f"a private key allowed for {TRUST_NAMESPACE}")
        key.add_argument("--agent", metavar="SHA256:...", help="a key of the ssh-agent, by its fingerprint")
        verb.add_argument("--dry-run", action="store_true", help="only say what a second person has to approve")
        add_break_lease(verb)
        add_change(verb, emergency=True)
        add_yes(verb)


async def show(session: Session, args: argparse.Namespace) -> int:
    """Principals, keys, and what each may sign."""
    async with session.client(args.node) as client:
        _show(session, await client.trust())
    return OK


def _show(session: Session, found: Trust) -> None:
    if session.as_json:
        session.json(found)
        return
    rows = [(signer.principals, ", ".join(signer.namespaces), signer.fingerprint) for signer in found.signers]
    session.table(("WHO", "MAY SIGN FOR", "KEY"), rows)


async def change(session: Session, args: argparse.Namespace) -> int:
    """Signed here for this node and for the list that it has now; the node verifies, keeps, and writes it down."""
    async with session.operate([args.node]) as lane:
        client = lane.client(args.node)
        node_id, now = await client.identify(), await client.trust()
        document = trust.encode(_change(args, node_id, now.list_digest))
        if args.dry_run:
            return _show_digest(session, args.node, f"sha256:{hashlib.sha256(document).hexdigest()}")
        what = f"{args.fingerprint} may sign no longer" if args.trust_verb == "remove" else f"adds {args.signer}"
        await session.agreed(f"{args.node}: {what}.", args.node)
        signature = await _sign(session, args, document)
        async with held_lease(client, session.operator, break_held=args.break_lease) as lease:
            after = await client.change_trust(document.decode(), signature.decode(), lease=lease.token)
    _show(session, after)
    return OK


def _show_digest(session: Session, node: str, digest: str) -> int:
    if session.as_json:
        session.json({"node": node, "digest": digest})
    else:
        session.line(f"{node}: the change is {digest}")
        session.line(f"  a second person: outstation approve {digest} {node} --key FILE")
    return OK


def _change(args: argparse.Namespace, node_id: str, base: str) -> Change:
    if args.trust_verb == "remove":
        return Change(format=trust.FORMAT, node_id=node_id, base=base, action="remove", fingerprint=args.fingerprint)
    try:
        line = args.signer.read_text("utf-8").strip()
    except OSError as error:
        raise from_os(error, "read", args.signer) from error
    return Change(format=trust.FORMAT, node_id=node_id, base=base, action="add", line=line)


async def _sign(session: Session, args: argparse.Namespace, document: bytes) -> bytes:
    if args.key is not None:
        passphrase = None
        if is_locked(args.key):
            passphrase = await session.person.secret("trust", f"passphrase for {args.key}")
        return await asyncio.to_thread(
            signing.sign_with_key_file, args.key, document, passphrase, namespace=TRUST_NAMESPACE
        )
    agent = os.environ.get("SSH_AUTH_SOCK")
    if not agent:
        raise Failure("no ssh-agent: SSH_AUTH_SOCK is not set", "start one, or sign with --key FILE", USAGE)
    return await asyncio.to_thread(
        signing.sign_with_agent, args.agent, document, agent=Path(agent), namespace=TRUST_NAMESPACE
    )
