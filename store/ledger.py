"""The node's history: a hash chain of facts, each written in the transaction of what it tells.

The hash of an entry is SHA-256, in hex, over the hash of the entry before it (64 hex digits; 64 zeros before the
first), a newline, and the canonical JSON of the entry without its hashes: the keys `action`, `actor`, `boot_id`,
`boottime_us`, `detail`, `seq`, `subject`, `wall_us`; objects sorted by key, no spaces, UTF-8, no
escapes but JSON's own.
A chain alone does not stop who owns the disk: the console keeps the last (seq, hash) it saw of each node, and
demands that what it sees later extends it (I15).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from store.db import transaction

GENESIS = "0" * 64
ENTRY_BYTES_MAX = 256 << 10
_COLUMNS = "seq, boot_id, boottime_us, wall_us, actor, action, subject, detail, previous, hash"


class Stamp(NamedTuple):
    """When and by whom: what every change of a node carries, and its number in the plant's own books."""

    boot_id: str
    boottime_us: int
    wall_us: int
    actor: str
    change_number: str = ""


class Entry(NamedTuple):
    """One fact. `previous` is the hash of the entry before, `hash` its own."""

    seq: int
    boot_id: str
    boottime_us: int
    wall_us: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    previous: str
    hash: str


class Head(NamedTuple):
    """The end of a chain; (0, GENESIS) while it is empty."""

    seq: int
    hash: str


class Break(NamedTuple):
    """Why a chain is not the continuation of what was verified before, at entry `seq`.

    `kind`: shortened, forked (two entries with one number), gap (entries are missing), edited (a hash does not fit).
    """

    kind: str
    seq: int
    text: str


def append(
    connection: sqlite3.Connection,
    *,
    boot_id: str,
    boottime_us: int,
    wall_us: int,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
    change_number: str = "",
) -> Head:
    """Adds one entry in the caller's transaction and returns the new head. `change_number` becomes part of `detail`.

    ValueError: outside of a transaction, or `detail` is no JSON or more than ENTRY_BYTES_MAX.
    """
    if not connection.in_transaction:
        raise ValueError("a ledger entry belongs into the transaction of what it tells")
    before = head(connection)
    told = {**(detail or {}), **({"change_number": change_number} if change_number else {})}
    entry = Entry(before.seq + 1, boot_id, boottime_us, wall_us, actor, action, subject, told, before.hash, "")
    entry = entry._replace(hash=entry_hash(entry))
    row = entry._replace(detail=_canonical(entry.detail))  # type: ignore[arg-type]
    connection.execute(f"INSERT INTO ledger ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return Head(entry.seq, entry.hash)


def note(
    connection: sqlite3.Connection, stamp: Stamp, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> Head:
    """Adds one entry with a stamp, in a transaction of its own where the caller has none."""
    with transaction(connection):
        return append(connection, **stamp._asdict(), action=action, subject=subject, detail=detail)


def head(connection: sqlite3.Connection) -> Head:
    """The last entry's seq and hash."""
    row = connection.execute("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head(0, GENESIS)


def page(connection: sqlite3.Connection, after: int = 0, limit: int = 1_000) -> list[Entry]:
    """Entries with `seq > after`, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM ledger WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
    return [Entry(*row)._replace(detail=json.loads(row[7])) for row in rows]


def newest(connection: sqlite3.Connection, limit: int) -> Iterator[Entry]:
    """The last `limit` entries, newest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM ledger ORDER BY seq DESC LIMIT ?", (limit,))
    for row in rows:
        yield Entry(*row)._replace(detail=json.loads(row[7]))


def verify(connection: sqlite3.Connection) -> int | None:
    """The seq of the first entry that does not fit the chain; None: the chain is whole."""
    last = Head(0, GENESIS)
    while entries := page(connection, last.seq):
        broken = first_break(last, entries)
        if broken is not None:
            return broken
        last = Head(entries[-1].seq, entries[-1].hash)
    return None


def first_break(anchor: Head, entries: Iterable[Entry]) -> int | None:
    """The seq at which `entries` stop extending `anchor`; None: they all extend it."""
    for entry in entries:
        if entry.seq != anchor.seq + 1 or entry.previous != anchor.hash or entry.hash != entry_hash(entry):
            return entry.seq
        anchor = Head(entry.seq, entry.hash)
    return None


def find_break(anchor: Head, entries: Sequence[Entry], end: Head | None = None) -> Break | None:
    """What is wrong with `entries`, which are to follow `anchor` and, with `end`, to lead to that head (I15)."""
    if end is not None and end.seq < anchor.seq:
        text = f"the node shows {end.seq} entries, {anchor.seq} had been verified"
        return Break("shortened", end.seq, text)
    last = anchor
    for entry in entries:
        if entry.seq != last.seq + 1:
            return Break("gap", last.seq + 1, f"entry {last.seq + 1} is missing, {entry.seq} comes instead")
        if entry.previous != last.hash:
            if last == anchor and anchor.seq:
                return Break("forked", anchor.seq, f"entry {anchor.seq} is not the one that had been verified")
            return Break("edited", entry.seq, f"entry {entry.seq} does not follow the one before it")
        if entry.hash != entry_hash(entry):
            return Break("edited", entry.seq, f"entry {entry.seq} is not what its hash says")
        last = Head(entry.seq, entry.hash)
    if end is None or last == end:
        return None
    if last.seq == end.seq:
        return Break("forked", end.seq, f"entry {end.seq} is not the one that had been verified")
    return Break("gap", last.seq + 1, f"entry {last.seq + 1} is missing, though the node shows {end.seq}")


def extends(anchor: Head, entries: Sequence[Entry], end: Head) -> bool:
    """Whether `entries`, all that follow `anchor`, lead to `end`, the head that the node shows (I15)."""
    last = Head(entries[-1].seq, entries[-1].hash) if entries else anchor
    return first_break(anchor, entries) is None and last == end


def entry_hash(entry: Entry) -> str:
    """The hash that `entry` must bear."""
    content = entry._asdict()
    del content["previous"], content["hash"]
    return hashlib.sha256(f"{entry.previous}\n{_canonical(content)}".encode()).hexdigest()


def _canonical(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if len(text) > ENTRY_BYTES_MAX:
        raise ValueError(f"a ledger entry holds at most {ENTRY_BYTES_MAX} characters")
    return text
