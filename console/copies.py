"""A ledger as a file between consoles: one header line, then every verified entry as the node hashed it. JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from console.clean import clean
from console.visits import plain
from nodeagent.protocol import LedgerEntry
from store import durable
from store.errors import from_os
from store.ledger import Entry

FORMAT = "outstation-ledger-1"
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


class CopyRefused(Exception):
    """The file is no copy of a ledger. `hint` says what to do."""

    hint = "export it again with `outstation ledger export`"


def write(path: Path, header: Header, entries: Sequence[Entry]) -> None:
    """Writes the file, 0600, all or nothing. Raises StoreError kinds."""
    with durable.replacing(path) as file:
        file.write(msgspec.json.encode(header) + b"\n")
        for entry in entries:
            file.write(json.dumps(entry._asdict(), ensure_ascii=False).encode() + b"\n")


def read(path: Path) -> tuple[Header, list[Entry]]:
    """Header and entries, not verified yet. Raises CopyRefused, StoreError kinds."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CopyRefused(f"{path}: more than {FILE_BYTES_MAX} bytes")
        with path.open("rb") as file:
            header = msgspec.json.decode(file.readline(LINE_BYTES_MAX), type=Header)
            if header.format != FORMAT:
                raise CopyRefused(f"{path}: format {clean(header.format, 40)} is not known here")
            decoder = msgspec.json.Decoder(LedgerEntry)
            entries = [plain(decoder.decode(line)) for line in file]
    except msgspec.MsgspecError as error:
        raise CopyRefused(f"{path}: not readable: {clean(str(error), 200)}") from error
    except OSError as error:
        raise from_os(error, "read", path) from error
    if len(entries) != header.entries:
        raise CopyRefused(f"{path}: {len(entries)} entries, the header says {header.entries}: it was cut")
    if entries and entries[-1].hash != header.head_hash:
        raise CopyRefused(f"{path}: the last entry is not the one that the header names")
    return header, entries
