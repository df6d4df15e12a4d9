"""A ledger as a file between consoles: a header, its signature, then every entry as the node hashed it. JSON lines.

The signature (SSHSIG, namespace `outstation-ledger`) is over the header line, which names the head of the chain: who
changes an entry breaks the chain that leads there, so the one signature is over the whole history. An empty signature
is one that was never made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from console.client.clean import clean
from console.ledgers.visits import plain
from nodeagent.protocol import LedgerEntry
from store import durable, signing
from store.errors import from_os
from store.ledger import Entry
from store.signing import SignatureRefused, Signer

FORMAT = "outstation-ledger-2"
NAMESPACE = "outstation-ledger"
FILE_BYTES_MAX = 1 << 30
LINE_BYTES_MAX = 1 << 20


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line: whose ledger it is, who wrote the file, when (seconds since the Unix epoch)."""

    format: str
    node_id: str
    node: str
    exported_by: str
    exported_wall_s: float
    entries: int
    head_hash: str


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The second line."""

    signature: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A file as it was read: nothing in it is verified yet. `head_line`: the bytes that `signature` is over."""

    header: Header
    entries: list[Entry]
    head_line: bytes
    signature: str


class CopyRefused(Exception):
    """The file is no copy of a ledger. `hint` says what to do."""

    hint = "export it again with `outstation ledger export`"


def write(path: Path, header: Header, entries: Sequence[Entry], sign: Callable[[bytes], bytes] | None) -> None:
    """Writes the file, 0600, all or nothing; `sign` None leaves it unsigned. Raises StoreError kinds, SigningFailed."""
    head_line = msgspec.json.encode(header)
    signature = sign(head_line).decode() if sign is not None else ""
    with durable.replacing(path) as file:
        file.write(head_line + b"\n")
        file.write(msgspec.json.encode(Signed(signature=signature)) + b"\n")
        for entry in entries:
            file.write(json.dumps(entry._asdict(), ensure_ascii=False).encode() + b"\n")


def read(path: Path) -> Copy:
    """What a file holds, not verified yet. Raises CopyRefused, StoreError kinds."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CopyRefused(f"{path}: more than {FILE_BYTES_MAX} bytes")
        with path.open("rb") as file:
            head_line = file.readline(LINE_BYTES_MAX).rstrip(b"\n")
            header = msgspec.json.decode(head_line, type=Header)
            if header.format != FORMAT:
                raise CopyRefused(f"{path}: format {clean(header.format, 40)} is not known here")
            signed = msgspec.json.decode(file.readline(LINE_BYTES_MAX), type=Signed)
            decoder = msgspec.json.Decoder(LedgerEntry)
            entries = [plain(decoder.decode(line)) for line in file]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CopyRefused(f"{path}: not readable: {clean(str(error), 200)}") from error
    except OSError as error:
        raise from_os(error, "read", path) from error
    if len(entries) != header.entries:
        raise CopyRefused(f"{path}: {len(entries)} entries, the header says {header.entries}: it was cut")
    if entries and entries[-1].hash != header.head_hash:
        raise CopyRefused(f"{path}: the last entry is not the one that the header names")
    return Copy(header, entries, head_line, signed.signature)


def signer_of(copy: Copy, allowed_signers: str, at_s: float) -> tuple[Signer | None, str]:
    """Who of the allowed signers exported it; or None, and why nobody vouches for it. Raises SignersRefused.

    A signature that is not of this file is no doubt but a forgery: CopyRefused.
    """
    if not copy.signature:
        return None, "UNSIGNED: nobody vouches for it"
    try:
        found = signing.parse(copy.signature.encode())
    except SignatureRefused as error:
        raise CopyRefused(f"its signature is none: {clean(str(error), 200)}") from error
    try:
        return signing.verify(
            copy.head_line, copy.signature.encode(), allowed_signers, namespace=NAMESPACE, at_s=at_s
        ), ""
    except signing.OtherContent as error:
        raise CopyRefused("its signature is of another file: it was changed after it was signed") from error
    except SignatureRefused:
        return None, f"FOREIGN: signed by {found.key.fingerprint}, which is no allowed signer of this console"
