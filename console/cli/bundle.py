"""`outstation bundle ...` and `outstation catalog ...`: bundles as files, and those that this console keeps."""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import time
from pathlib import Path

import msgspec

from console import figures
from console.cli.arguments import add_receipt, add_verb
from console.cli.outside import begin_bundle
from console.cli.session import Session
from console.client.clean import clean_all
from console.delivery.inspect import facts_from_model
from console.delivery.kept import facts_pairs, signer_of, take_bundle
from console.failure import FAILED, OK, USAGE, Failure
from console.receipts import admit, keep
from store import signing
from store.archive import Archive, read_archive, sign_archive
from store.builder import build
from store.bundle import Facts
from store.errors import from_os


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares both groups."""
    bundles = verbs.add_parser("bundle", help="build, inspect, sign, verify bundles")
    group = bundles.add_subparsers(dest="bundle_verb", required=True, metavar="VERB")
    begun = group.add_parser("new", help="begin one from a model and the data it was trained on", add_help=False)
    begun.set_defaults(direct=begin_bundle, passes_on=True)
    built = add_verb(group, "build", build_bundle, summary="make a bundle of a folder with a bundle.toml")
    built.add_argument("folder", type=Path)
    built.add_argument("-o", "--out", type=Path, default=Path(), help="a file, or the folder it goes to")
    built.add_argument("--pipeline", metavar="FILE", help="of the folder, instead of the one that bundle.toml names")
    inspected = add_verb(group, "inspect", inspect_bundle, summary="what a bundle holds")
    inspected.add_argument("bundle", help="a .ostn file, or NAME or NAME-VERSION of the catalog")
    signed = add_verb(group, "sign", sign_bundle, summary="sign a bundle with an SSH key", json=False)
    signed.add_argument("bundle", type=Path)
    key = signed.add_mutually_exclusive_group(required=True)
    key.add_argument("--key", type=Path, metavar="FILE", help="a private key")
    key.add_argument("--agent", metavar="SHA256:...", help="a key of the ssh-agent, by its fingerprint")
    signed.add_argument("-o", "--out", type=Path, help="another file than the bundle itself")
    verified = add_verb(group, "verify", verify_bundle, summary="check a bundle's signature and every blob")
    verified.add_argument("bundle", help="a .ostn file, or NAME or NAME-VERSION of the catalog")
    verified.add_argument("--signers", type=Path, required=True, metavar="FILE", help="allowed signers")
    catalog = verbs.add_parser("catalog", help="bundles that this console keeps")
    kept = catalog.add_subparsers(dest="catalog_verb", required=True, metavar="VERB")
    taken = add_verb(kept, "import", import_bundles, summary="take bundles from files or a stick")
    taken.add_argument("files", nargs="+", type=Path, metavar="FILE")
    add_receipt(taken)
    add_verb(kept, "list", list_bundles, summary="the bundles that this console keeps")


def find_bundle(session: Session, text: str) -> Path:
    """The file of a bundle named by its path, or by NAME, NAME-VERSION or digest in the catalog (newest of a name)."""
    path = Path(text).expanduser()
    if path.suffix == ".ostn" or "/" in text:
        return path
    for row in session.catalog.bundles():
        if text in (row.name, f"{row.name}-{row.version}", row.digest):
            return Path(row.path)
    raise Failure(f"there is no bundle {text} in the catalog", "see `outstation catalog list`, or give the .ostn file")


def taken_bundle(session: Session, text: str) -> Path:
    """As `find_bundle`, for what goes to a node: a file from outside comes in as the site's policy asks."""
    path = find_bundle(session, text)
    if path.parent != session.home.bundles and (seen := admit(session.home, path)) is not None:
        with read_archive(path) as archive:
            keep(session.home, seen, path, subject=archive.manifest_digest, taken_by=session.operator)
    return path


async def build_bundle(session: Session, args: argparse.Namespace) -> int:
    """The model is read by the agent's own static reader, in a process of its own."""
    facts = await asyncio.to_thread(build, args.folder, args.out, facts_from_model, pipeline=args.pipeline)
    return _show_facts(session, facts, [])


async def inspect_bundle(session: Session, args: argparse.Namespace) -> int:
    """Facts, blobs and whether it is signed; nothing is verified."""
    with await asyncio.to_thread(read_archive, find_bundle(session, args.bundle)) as archive:
        facts = archive.facts()
        blobs = [(digest, size) for digest, (_, size) in archive.blobs.items()]
        signed = [("signature", signer_of(archive))]
        code = _show_facts(session, facts, signed, archive)
        if not session.as_json:
            session.line()
            session.table(("BLOB", "BYTES"), [(digest, str(size)) for digest, size in blobs], right=(1,))
    return code


def _show_facts(session: Session, facts: Facts, more: list[tuple[str, str]], archive: Archive | None = None) -> int:
    facts = clean_all(facts)
    if session.as_json:
        digest = archive.manifest_digest if archive else None
        session.json({"facts": facts, "digest": digest, **dict(more)})
        return OK
    session.pairs([*facts_pairs(facts, archive.manifest_digest if archive else ""), *more])
    return OK


async def sign_bundle(session: Session, args: argparse.Namespace) -> int:
    """Signs the manifest, which names every blob."""
    if args.key is not None:
        passphrase = None

        def sign(data: bytes) -> bytes:
            return signing.sign_with_key_file(args.key, data, passphrase)

        if is_locked(args.key):
            passphrase = await session.person.secret("bundle", f"passphrase for {args.key}")
    else:
        agent = os.environ.get("SSH_AUTH_SOCK")
        if not agent:
            raise Failure("no ssh-agent: SSH_AUTH_SOCK is not set", "start one, or sign with --key FILE", USAGE)

        def sign(data: bytes) -> bytes:
            return signing.sign_with_agent(args.agent, data, agent=Path(agent))

    out = args.out or args.bundle
    await asyncio.to_thread(sign_archive, args.bundle, out, sign)
    session.line(f"signed {out}")
    return OK


def is_locked(path: Path) -> bool:
    """Whether a key file wants a passphrase, as far as its first lines tell."""
    try:
        text = path.read_bytes()[: 1 << 16]
    except OSError as error:
        raise from_os(error, "read", path) from error
    if b"ENCRYPTED" in text:
        return True
    body = b"".join(line for line in text.splitlines() if not line.startswith(b"-----"))
    return text.startswith(b"-----BEGIN OPENSSH") and b"\x00\x00\x00\x06bcrypt" in base64.b64decode(body + b"==")


async def verify_bundle(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 when the signature does not count or a blob is another one."""
    try:
        signers = args.signers.read_text("utf-8")
    except OSError as error:
        raise from_os(error, "read", args.signers) from error
    with await asyncio.to_thread(read_archive, find_bundle(session, args.bundle)) as archive:
        if archive.signature_bytes is None:
            raise Failure("the bundle is not signed", "outstation bundle sign FILE --key KEY")
        signer = signing.verify(archive.manifest_bytes, archive.signature_bytes, signers, at_s=time.time())
        damaged = await asyncio.to_thread(archive.damaged)
    if session.as_json:
        session.json(
            {
                "principal": signer.principal,
                "fingerprint": signer.fingerprint,
                "warnings": list(signer.warnings),
                "damaged": damaged,
            }
        )
        return FAILED if damaged else OK
    session.line(f"signed by {signer.principal}, key {signer.fingerprint}")
    for warning in signer.warnings:
        session.line(f"warning: {warning}")
    for digest in damaged:
        session.line(f"DAMAGED: the content of {digest} is another one")
    return FAILED if damaged else OK


async def import_bundles(session: Session, args: argparse.Namespace) -> int:
    """Copies each whole and undamaged bundle into the console's folder, under its digest."""
    if args.receipt is not None and len(args.files) > 1:
        raise Failure("--receipt is for one file", "lay each receipt beside its file as FILE.receipt", USAGE)
    rows = []
    for path in args.files:
        seen = args.seen or await asyncio.to_thread(admit, session.home, path, given=args.receipt)
        row = await asyncio.to_thread(take_bundle, session.home.bundles, path)
        await asyncio.to_thread(keep, session.home, seen, path, subject=row.digest, taken_by=session.operator)
        rows.append(row)
    for row in rows:
        session.catalog.put_bundle(row)
        if not session.as_json:
            session.line(f"{row.name} {row.version}  {figures.size(row.size_bytes)}  {row.digest}")
    if session.as_json:
        session.json([msgspec.to_builtins(row) for row in rows])
    return OK


async def list_bundles(session: Session, args: argparse.Namespace) -> int:
    """By name, newest first."""
    rows = session.catalog.bundles()
    if session.as_json:
        session.json([msgspec.to_builtins(row) for row in rows])
        return OK
    if not rows:
        session.line("no bundles yet; take some with `outstation catalog import FILE`")
        return OK
    session.table(
        ("BUNDLE", "VERSION", "SIZE", "SIGNED BY", "ADDED", "DIGEST"),
        [
            (
                row.name,
                row.version,
                figures.size(row.size_bytes),
                row.signer or "NOBODY",
                figures.day_and_time(round(row.added_wall_s * 1e6)),
                row.digest,
            )
            for row in rows
        ],
        right=(2,),
    )
    return OK
