"""One record segment: its name, its tables, and the packed form of a thousand rows. A segment is never migrated.

`rec-<key>-r<revision>.db`: every key in the file is at or above `<key>`, written as 19 decimal digits so that names
sort as keys do. Rows lie in `record`, one each, or in `chunk`, up to `CHUNK_ROWS` packed in one blob whose layout is
the number in `format`. Text (label, decision, reason) is a small integer into `word`; 0 is the empty text.
`context` holds where the context changed: each row has that of the last change at or below its key, so that it costs
nothing a row. It is a table more and not another schema: readers of before, which do not know it, read all the rest,
and a segment without it has rows without a context.
"""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

SCHEMA = 1
READABLE = frozenset({1})
CHUNK_ROWS = 1_000
CHUNK_FORMAT = 1
BOOT_SHIFT = 48
MINUTE_US = 60_000_000
_NAME = re.compile(r"rec-(\d{19})-r(\d{1,9})\.db")
_NONE = -(1 << 63)

_TABLES = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE record(key INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, source_us INTEGER, latency_us INTEGER NOT NULL,
  score REAL, label INTEGER NOT NULL, decision INTEGER NOT NULL, quality INTEGER NOT NULL, reason INTEGER NOT NULL,
  inputs BLOB, outputs BLOB);
CREATE TABLE chunk(key INTEGER PRIMARY KEY, key_last INTEGER NOT NULL, rows INTEGER NOT NULL, format INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE TABLE context(key INTEGER PRIMARY KEY, word INTEGER NOT NULL);
CREATE TABLE gap(key INTEGER NOT NULL, key_last INTEGER NOT NULL, lost INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE INDEX gap_key ON gap(key);
CREATE TABLE rollup(minute INTEGER, decision INTEGER, wall_us INTEGER NOT NULL, rows INTEGER NOT NULL,
  latency_us_sum INTEGER NOT NULL, latency_us_max INTEGER NOT NULL, scores INTEGER NOT NULL, score_sum REAL NOT NULL,
  score_square_sum REAL NOT NULL, good INTEGER NOT NULL, PRIMARY KEY(minute, decision)) WITHOUT ROWID;
"""


class Row(NamedTuple):
    """One prediction as it is offered. `inputs` and `outputs` are float32, little-endian; a NaN score is no score.

    `context`: `product=A4 shift=2`, what the machine was busy with; empty where nothing says.
    """

    wall_us: int
    source_us: int | None
    latency_us: int
    score: float | None
    label: str
    decision: str
    quality: int
    reason: str
    inputs: bytes | None
    outputs: bytes | None
    context: str = ""


class Gap(NamedTuple):
    """`lost` rows with keys in `key_from..key_to` were made and not kept. Where the reason says so: at least."""

    key_from: int
    key_to: int
    lost: int
    reason: str


class Stored(NamedTuple):
    """A row as it lies in the file: texts are word numbers."""

    key: int
    wall_us: int
    source_us: int | None
    latency_us: int
    score: float | None
    label: int
    decision: int
    quality: int
    reason: int
    inputs: bytes | None
    outputs: bytes | None


class SegmentFile(NamedTuple):
    """A segment by its name alone; sorts by its first possible key."""

    key: int
    revision: int
    path: Path


def listing(directory: Path) -> list[SegmentFile]:
    """Every segment in the folder, oldest first. A folder that is not there holds none."""
    if not directory.is_dir():
        return []
    found = []
    for path in directory.iterdir():
        if match := _NAME.fullmatch(path.name):
            found.append(SegmentFile(int(match[1]), int(match[2]), path))
    return sorted(found)


def path_of(directory: Path, key: int, revision: int) -> Path:
    """Where the segment whose first key is at or above `key` lies."""
    return directory / f"rec-{key:019d}-r{revision}.db"


def minute_of(key: int) -> int:
    """The key at which the row's minute of CLOCK_BOOTTIME began."""
    return key - (key & ((1 << BOOT_SHIFT) - 1)) % MINUTE_US


def create(conn: sqlite3.Connection, meta: dict[str, str | int]) -> None:
    """Make the tables inside the caller's transaction."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            conn.execute(statement)
    conn.execute(f"PRAGMA user_version = {SCHEMA}")
    conn.executemany("INSERT INTO meta VALUES(?, ?)", meta.items())


def schema_of(conn: sqlite3.Connection) -> int:
    """The schema number of an open segment; 0: its first transaction never committed."""
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


def last_key(conn: sqlite3.Connection) -> int:
    """The highest key of any row or gap in the segment, 0 where there is none."""
    found = conn.execute(
        "SELECT max((SELECT ifnull(max(key), 0) FROM record),"
        " (SELECT ifnull(max(key_last), 0) FROM chunk), (SELECT ifnull(max(key_last), 0) FROM gap))"
    ).fetchone()
    return int(found[0])


def count_after(conn: sqlite3.Connection, key: int) -> int:
    """Rows kept plus rows counted as lost with keys above `key`, which must lie between two commits."""
    found = conn.execute(
        "SELECT (SELECT count(*) FROM record WHERE key > :k) + (SELECT ifnull(sum(rows), 0) FROM chunk WHERE key > :k)"
        " + (SELECT ifnull(sum(lost), 0) FROM gap WHERE key > :k)",
        {"k": key},
    ).fetchone()
    return int(found[0])


def has_contexts(conn: sqlite3.Connection) -> bool:
    """Whether its writer knew of contexts."""
    return conn.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'context'").fetchone() is not None


def has_gap(conn: sqlite3.Connection, key: int) -> bool:
    """Whether a gap that begins at `key` has been written."""
    return conn.execute("SELECT 1 FROM gap WHERE key = ?", (key,)).fetchone() is not None


def is_closed(conn: sqlite3.Connection) -> bool:
    """Whether its writer ended in order, or its end has been accounted for since."""
    return conn.execute("SELECT 1 FROM meta WHERE name = 'closed'").fetchone() is not None


def pack(rows: Sequence[Stored]) -> bytes:
    """Rows as columns, format 1: five int64 and one float64 column, words, quality, blob lengths, then the blobs."""
    n = len(rows)
    keys, walls, sources, latencies, scores, labels, decisions, qualities, reasons, inputs, outputs = zip(
        *rows, strict=True
    )
    return b"".join(
        (
            struct.pack(f"<{n}q", *keys),
            struct.pack(f"<{n}q", *walls),
            struct.pack(f"<{n}q", *[_NONE if source is None else source for source in sources]),
            struct.pack(f"<{n}q", *latencies),
            struct.pack(f"<{n}d", *[float("nan") if score is None else score for score in scores]),
            struct.pack(f"<{n}H", *labels),
            struct.pack(f"<{n}H", *decisions),
            struct.pack(f"<{n}H", *reasons),
            struct.pack(f"<{n}B", *qualities),
            *_pack_blobs(inputs),
            *_pack_blobs(outputs),
        )
    )


def _pack_blobs(blobs: Sequence[bytes | None]) -> Iterable[bytes]:
    yield struct.pack(f"<{len(blobs)}i", *[-1 if blob is None else len(blob) for blob in blobs])
    yield b"".join([blob for blob in blobs if blob])


def unpack(body: bytes, rows: int, form: int) -> list[Stored]:
    """The rows of a chunk. Raises ValueError for a format or a length that this reader does not know."""
    if form != CHUNK_FORMAT:
        raise ValueError(f"chunk format {form} is not readable")
    offset = 0

    def take(code: str) -> tuple[int, ...]:
        nonlocal offset
        layout = struct.Struct(f"<{rows}{code}")
        values = layout.unpack_from(body, offset)
        offset += layout.size
        return values

    def blobs() -> list[bytes | None]:
        nonlocal offset
        found: list[bytes | None] = []
        for length in take("i"):
            found.append(None if length < 0 else body[offset : offset + length])
            offset += max(length, 0)
        return found

    try:
        keys, walls = take("q"), take("q")
        sources = [None if value == _NONE else value for value in take("q")]
        latencies = take("q")
        scores = [None if value != value else float(value) for value in take("d")]
        labels, decisions, reasons, qualities = take("H"), take("H"), take("H"), take("B")
        columns = (keys, walls, sources, latencies, scores, labels, decisions, qualities, reasons, blobs(), blobs())
    except struct.error as error:
        raise ValueError("a chunk is shorter than its row count says") from error
    return [Stored(*row) for row in zip(*columns, strict=True)]
