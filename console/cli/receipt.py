"""`outstation receipt ...`: a scan station's word for a file, made there, looked at here, and what was taken by one."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

import msgspec

from console import figures
from console.cli.arguments import add_verb
from console.cli.keys import add_key, signer_of
from console.cli.session import Session
from console.failure import OK, USAGE, Failure
from console.receipts import admitted, read_policy, read_scan_signers
from store import durable, receipt, statement
from store.receipt import Receipt


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    parser = verbs.add_parser("receipt", help="what a scan station says of a file: make, check, list")
    group = parser.add_subparsers(dest="receipt_verb", required=True, metavar="VERB")
    made = add_verb(group, "make", make, summary="at the scan station: sign that a file was scanned and found clean")
    made.add_argument("file", type=Path, help="what was scanned; of a folder of `carry pack` its carry.json")
    made.add_argument("--station", required=True, metavar="NAME")
    made.add_argument("--tool", required=True, metavar="TEXT", help="what scanned it, with its version and signatures")
    made.add_argument("--plain", action="store_true", help="not signed, where the site's policy takes that")
    made.add_argument("-o", "--out", type=Path, metavar="FILE", help="default: beside the file, FILE.receipt")
    add_key(made, required=False)
    checked = add_verb(group, "check", check, summary="whether a file's receipt would count here; nothing is taken")
    checked.add_argument("file", type=Path)
    checked.add_argument("--receipt", type=Path, metavar="FILE")
    add_verb(group, "list", list_admitted, summary="what this console took by a receipt, the newest first")


async def make(session: Session, args: argparse.Namespace) -> int:
    """The person is who sits here; the digest is of the bytes as they are now."""
    if args.plain == (args.key is not None or args.ssh_agent is not None):
        raise Failure("name a key with --key or --ssh-agent, or say --plain", code=USAGE)
    said = Receipt(
        sha256=await asyncio.to_thread(receipt.digest_of, args.file),
        file=args.file.name,
        station=args.station,
        person=session.operator,
        tool=args.tool,
        scanned_wall_s=round(time.time(), 3),
    )
    document = msgspec.json.encode(said)
    try:
        msgspec.json.decode(document, type=Receipt)
    except msgspec.ValidationError as error:
        raise Failure(f"no reader would take this receipt: {error}", code=USAGE) from error
    sign = (lambda _: b"") if args.plain else await signer_of(session, args, receipt.NAMESPACE)
    out = args.out or receipt.beside(args.file)
    await asyncio.to_thread(durable.write_file, out, statement.seal(document, sign), 0o644)
    if session.as_json:
        session.json({"receipt": str(out), "sha256": said.sha256})
    else:
        session.line(f"{out}  sha256:{said.sha256}")
    return OK


async def check(session: Session, args: argparse.Namespace) -> int:
    """As strict as the policy, and as "plain" where that asks nothing."""
    media = read_policy(session.home).media
    seen = await asyncio.to_thread(
        receipt.check,
        args.file,
        args.receipt or receipt.beside(args.file),
        read_scan_signers(session.home),
        kind="signed" if media.receipt == "signed" else "plain",
        days_max=media.days,
        now_s=time.time(),
    )
    if session.as_json:
        session.json({"receipt": seen.receipt, "signed_by": seen.signed_by})
    else:
        session.line(str(seen))
    return OK


async def list_admitted(session: Session, args: argparse.Namespace) -> int:
    """Each with who scanned it, who took it, and its digest."""
    rows = list(reversed(admitted(session.home)))
    if session.as_json:
        session.json(rows)
        return OK
    session.table(
        ("TAKEN", "BY", "FILE", "SCANNED BY", "AT", "WITH", "SIGNED BY", "SHA-256"),
        [(figures.day_and_time(round(r.taken_wall_s * 1e6)), r.taken_by, r.file, r.person, r.station, r.tool,
          r.signed_by or "nobody", r.sha256) for r in rows],
    )  # fmt: skip
    return OK
