"""The one writer of a revision's segments: begins them, fills them to their cap, closes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from store import db, durable, errors, segment
from store.rollups import UPSERT, Rollups
from store.segment import Gap, Row, Stored

SEGMENT_BYTES_MIN = 256 << 10
_PAGE_BYTES = 4096
_WORDS_MAX = 50_000


class _Words(dict[str, int]):
    """Text to its number in this segment; `fresh` are those that the file does not hold yet."""

    def __init__(self) -> None:
        super().__init__({"": 0})
        self.fresh: list[tuple[int, str]] = []

    def __missing__(self, text: str) -> int:
        number = len(self)
        self[text] = number
        self.fresh.append((number, text))
        return number


class SegmentWriter:
    """Commits batches. After an error the segment is left as it is and the next commit begins another one."""

    def __init__(
        self,
        directory: Path,
        revision: int,
        meta: dict[str, str | int],
        segment_bytes: int,
        opener: Callable[[Path], sqlite3.Connection],
    ) -> None:
        if segment_bytes < SEGMENT_BYTES_MIN:
            raise ValueError(f"a segment holds at least {SEGMENT_BYTES_MIN} bytes, not {segment_bytes}")
        self._directory, self._revision, self._meta, self._opener = directory, revision, meta, opener
        self._pages_max = segment_bytes // _PAGE_BYTES
        self._conn: sqlite3.Connection | None = None
        self._words = _Words()
        self._rollups = Rollups()
        self._context = ""

    def commit(self, items: Sequence[tuple[int, int, Row]], gaps: Sequence[Gap], *, chunked: bool) -> None:
        """All of `items` (key, bytes, row) and `gaps`, durable when this returns; or none of them and StoreError.

        A row with a value that SQLite cannot hold raises StoreError or OverflowError; see `storable`.
        """
        first = min([item[0] for item in items[:1]] + [gap.key_from for gap in gaps[:1]])
        while True:
            fresh = self._conn is None
            conn = self._conn or self._begin(first)
            try:
                self._write(conn, items, gaps, chunked)
                break
            except errors.DiskFull:
                # At the segment's own cap another segment helps, once; on a full disk nothing does.
                at_cap = not fresh and self._pages() > self._pages_max // 2
                self._drop(first, fresh)
                if not at_cap:
                    raise
            except (errors.StoreError, OverflowError):
                self._drop(first, fresh)
                raise
        if len(self._words) > _WORDS_MAX or self._pages() >= self._pages_max * 15 // 16:
            self.close()

    def close(self) -> None:
        """Mark the segment as ended in order. A mark that finds no room is left out: the rows are safe without it."""
        if self._conn is None:
            return
        try:
            with db.transaction(self._conn) as conn:
                conn.execute("INSERT OR REPLACE INTO meta VALUES('closed', 1)")
        except errors.DiskFull:
            pass
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file without a mark."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _drop(self, key: int, fresh: bool) -> None:
        """Close after an error; a segment that holds nothing yet goes with it, so that retries leave no files."""
        self.abandon()
        if fresh:
            path = segment.path_of(self._directory, key, self._revision)
            for suffix in ("-wal", "-shm", ""):
                durable.unlink(path.with_name(path.name + suffix))

    def _begin(self, key: int) -> sqlite3.Connection:
        path = segment.path_of(self._directory, key, self._revision)
        try:
            conn = self._opener(path)
            try:
                conn.execute(f"PRAGMA max_page_count = {self._pages_max}")
                with db.transaction(conn):
                    segment.create(conn, {**self._meta, "first_key": key})
            except BaseException:
                conn.close()
                raise
        except errors.StoreError:
            self._drop(key, True)
            raise
        self._conn, self._words, self._rollups, self._context = conn, _Words(), Rollups(), ""
        return conn

    def _write(
        self, conn: sqlite3.Connection, items: Sequence[tuple[int, int, Row]], gaps: Sequence[Gap], chunked: bool
    ) -> None:
        words = self._words
        # Plain indexing: this line runs once a row at 50,000 rows a second.
        rows: list[Stored] = [
            (k, r[0], r[1], r[2], r[3], words[r[4]], words[r[5]], r[6], words[r[7]], r[8], r[9])  # type: ignore[misc]
            for k, _, r in items
        ]
        contexts = self._changes(items)
        with db.transaction(conn):
            if words.fresh:
                conn.executemany("INSERT INTO word VALUES(?, ?)", words.fresh)
            if chunked:
                conn.executemany("INSERT INTO chunk VALUES(?, ?, ?, ?, ?)", _chunks(rows))
            else:
                conn.executemany("INSERT INTO record VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            if contexts:
                conn.executemany("INSERT INTO context VALUES(?, ?)", contexts)
            if gaps:
                conn.executemany("INSERT INTO gap VALUES(?, ?, ?, ?)", gaps)
            if rows:
                conn.executemany(UPSERT, self._rollups.add(rows))
        words.fresh.clear()

    def _changes(self, items: Sequence[tuple[int, int, Row]]) -> list[tuple[int, int]]:
        """(key, word) wherever the context is another one than before."""
        if {row[10] for _, _, row in items} <= {self._context}:
            return []
        found = []
        for key, _, row in items:
            if row[10] != self._context:
                self._context = row[10]
                found.append((key, self._words[row[10]]))
        return found

    def _pages(self) -> int:
        return 0 if self._conn is None else int(self._conn.execute("PRAGMA page_count").fetchone()[0])


def storable(row: Row) -> bool:
    """Whether SQLite can hold every value of the row: exact Python types, integers of 64 bits."""
    integers = (row.wall_us, 0 if row.source_us is None else row.source_us, row.latency_us, row.quality)
    return (
        all(isinstance(value, int) and -(1 << 63) < value < 1 << 63 for value in integers)
        and 0 <= row.quality <= 255
        and (row.score is None or isinstance(row.score, float | int))
        and all(isinstance(text, str) for text in (row.label, row.decision, row.reason, row.context))
        and all(blob is None or isinstance(blob, bytes) for blob in (row.inputs, row.outputs))
    )


def _chunks(rows: list[Stored]) -> list[tuple[int, int, int, int, bytes]]:
    parts = [rows[at : at + segment.CHUNK_ROWS] for at in range(0, len(rows), segment.CHUNK_ROWS)]
    return [(part[0][0], part[-1][0], len(part), segment.CHUNK_FORMAT, segment.pack(part)) for part in parts]
