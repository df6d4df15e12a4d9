"""`outstation-agent import FILE.ostn`: a bundle from a stick into the node's blobs, verified and not activated.

A console that deploys it later, from whatever laptop, finds every blob here and sends none.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import pwd
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from nodeagent.local import Failed, ask
from nodeagent.protocol import API, BlobState, Imported, ImportRequest, Status
from nodeagent.settings import Policy, SettingsError, load
from store import receipt
from store.archive import Archive, read_archive
from store.bundle import BundleMalformed
from store.errors import StoreError
from store.receipt import ReceiptRefused

SCAN_SIGNERS_NAME = "scan_signers"
PIECE_BYTES = 4 << 20
ROUNDS_MAX = 6
VERIFY_S = 400.0


def main(arguments: list[str], state_default: Path) -> int:
    """Exit status 0: all of them are on the node; 1: one is not, and why."""
    parser = argparse.ArgumentParser(prog="outstation-agent import", description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=state_default, help="the node's folder")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.ostn")
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="a scan station's (default: FILE.ostn.receipt)")
    asked = parser.parse_args(arguments)
    for file in asked.files:
        try:
            settings = load(asked.state)
            seen = admitted(asked.state, settings.policy, file, asked.receipt)
            with read_archive(file) as archive:
                taken = bring(settings.run_dir(asked.state) / "agent.sock", archive, brought=seen)
        except ReceiptRefused as error:
            print(f"outstation-agent import: {error}\n  next: {error.hint}", file=sys.stderr)
            return 1
        except (Failed, SettingsError, BundleMalformed, StoreError) as error:
            print(f"outstation-agent import: {file}: {error}", file=sys.stderr)
            return 1
        print(f"{taken.bundle} {taken.version} is here, signed by {taken.signer}; nothing was activated")
    return 0


def admitted(state: Path, policy: Policy, file: Path, given: Path | None) -> str:
    """By which receipt the file came, for the ledger; "" where none is asked. Raises ReceiptRefused, StoreError."""
    if not policy.scan_receipt:
        return ""
    signers = state / SCAN_SIGNERS_NAME
    try:
        allowed = signers.read_text("utf-8") if signers.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ReceiptRefused(f"{signers} cannot be read: {error}", "correct it") from error
    found = given or receipt.beside(file)
    seen = receipt.check(file, found, allowed, kind="signed", days_max=policy.scan_days, now_s=time.time())
    return f"{seen}, taken on the node by {pwd.getpwuid(os.getuid()).pw_name}"[:512]


def bring(socket: Path, archive: Archive, *, brought: str = "") -> Imported:
    """Gives the agent what it does not have. Raises Failed with the agent's reason."""
    if archive.signature_bytes is None:
        raise Failed("the bundle is not signed; sign it with `outstation bundle sign`")
    signature = archive.signature_bytes
    small = {_digest(data): data for data in (archive.manifest_bytes, signature)}
    node_id = msgspec.json.decode(ask(socket, "GET", f"{API}/status"), type=Status).node_id
    request = ImportRequest(
        node_id=node_id, manifest=archive.manifest_digest, signature=_digest(signature), brought=brought
    )
    for _ in range(ROUNDS_MAX):
        answer = ask(socket, "POST", f"{API}/imports", msgspec.json.encode(request), timeout_s=VERIFY_S)
        taken = msgspec.json.decode(answer, type=Imported)
        if taken.complete:
            return taken
        for digest in taken.missing:
            if digest in small:
                _put(socket, node_id, digest, io.BytesIO(small[digest]), len(small[digest]))
            elif digest in archive.blobs:
                _put(socket, node_id, digest, archive.open_blob(digest), archive.blobs[digest][1])
            else:
                raise Failed(f"the node asks for {digest}, which the file does not have")
    raise Failed(f"the node still asks for blobs after {ROUNDS_MAX} rounds")


def _put(socket: Path, node_id: str, digest: str, reader: BinaryIO, total: int) -> None:
    """From the byte where whoever sent it before was cut off."""
    path = f"{API}/blobs/{digest}"
    state = msgspec.json.decode(ask(socket, "GET", path), type=BlobState)
    while not state.complete:
        reader.seek(state.received_bytes)
        target = f"{path}?offset={state.received_bytes}&total={total}&node_id={node_id}"
        before = state.received_bytes
        data = reader.read(PIECE_BYTES)
        state = msgspec.json.decode(ask(socket, "PUT", target, data, timeout_s=VERIFY_S), type=BlobState)
        if state.received_bytes <= before and not state.complete:
            raise Failed(f"{digest}: the node takes no more than {before} of {total} bytes")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(os.environ.get("OUTSTATION_STATE", "/var/lib/outstation"))))
