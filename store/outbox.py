"""The outbox: what a sink still has to deliver, durable until the other end has said that it has it.

It belongs to the node and not to a version of a pipeline: a new revision goes on with what the old one left. Both
caps, in bytes and in age, drop the oldest first and count it in the same transaction. Age is the node's awake time,
summed over boots, so that a clock that steps makes nothing old.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from store import db, errors

ROW_BYTES: Final = 64  # what a row costs beside its topic and payload
REJECTED_ROWS_MAX: Final = 1_000
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, topic TEXT NOT NULL,"
    " payload BLOB NOT NULL, bytes INTEGER NOT NULL, stamp_us INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS outbox_by_sink ON outbox (sink, seq)",
    "CREATE TABLE IF NOT EXISTS tally (sink TEXT PRIMARY KEY, bytes INTEGER NOT NULL, dropped INTEGER NOT NULL,"
    " rejected INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS rejected (seq INTEGER PRIMARY KEY, sink TEXT NOT NULL, topic TEXT NOT NULL,"
    " payload BLOB NOT NULL, reason TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), boot_id TEXT NOT NULL,"
    " last_us INTEGER NOT NULL)",
)


class Message(NamedTuple):
    """What is to be delivered where."""

    topic: str
    payload: bytes

    @property
    def size_bytes(self) -> int:
        """What it counts towards the cap."""
        return ROW_BYTES + len(self.topic.encode()) + len(self.payload)


class Stored(NamedTuple):
    """A message that waits; `seq` rises and is never used again."""

    seq: int
    message: Message


class Tally(NamedTuple):
    """How a sink stands: waiting now, and lost for good since the outbox exists."""

    waiting_rows: int
    waiting_bytes: int
    dropped_total: int
    rejected_total: int


def oldest_age_s(path: Path, *, boot_id: str, boottime_us: int) -> dict[str, float]:
    """Seconds of awake time that the oldest message of each sink waits; read beside the worker that owns the outbox.

    Raises StoreError kinds. One whose worker has not started since the boot is as old as it was then.
    """
    connection = db.open_reader(path, deadline_s=1.0)
    try:
        row = connection.execute("SELECT boot_id, last_us FROM clock").fetchone()
        now_us = boottime_us if row is not None and row[0] == boot_id else row[1] if row is not None else 0
        found = connection.execute("SELECT sink, min(stamp_us) FROM outbox GROUP BY sink")
        return {sink: max(0.0, (now_us - stamp_us) / 1e6) for sink, stamp_us in found}
    except sqlite3.Error as error:
        raise errors.from_sqlite(error, "read", path) from error
    finally:
        connection.close()


class Outbox:
    """The outbox of one sink in the database `path`. Any thread, one at a time.

    Every method that changes something is one durable transaction, and raises DiskFull, ReadOnly or StoreError.
    """

    def __init__(
        self,
        path: Path,
        sink: str,
        *,
        bytes_max: int,
        age_s_max: float,
        boot_id: str,
        boottime_us: Callable[[], int],
    ) -> None:
        self.path = path
        self.sink = sink
        self.bytes_max = bytes_max
        self.age_s_max = age_s_max
        self._boottime_us = boottime_us
        self._connection = db.open_writer(path)
        with db.transaction(self._connection) as connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT OR IGNORE INTO tally VALUES (?, 0, 0, 0)", (sink,))
            self._carry_over_ages(connection, boot_id)

    def append(self, messages: Sequence[Message]) -> list[int]:
        """Keeps `messages`; their sequence numbers, in order. What the caps no longer hold goes, oldest first."""
        now_us = self._boottime_us()
        with db.transaction(self._connection) as connection:
            seqs = [self._insert(connection, message, now_us) for message in messages]
            size = sum(message.size_bytes for message in messages)
            connection.execute("UPDATE tally SET bytes = bytes + ? WHERE sink = ?", (size, self.sink))
            connection.execute("UPDATE clock SET last_us = ?", (now_us,))
            self._drop(connection, now_us)
        return seqs

    def acknowledge(self, seqs: Iterable[int]) -> None:
        """The other end has these. Those that were dropped meanwhile are not missed."""
        with db.transaction(self._connection) as connection:
            for seq in seqs:
                self._delete(connection, seq)

    def reject(self, seq: int, reason: str) -> None:
        """The other end will never take this one: it goes aside, so that the others get past it."""
        with db.transaction(self._connection) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO rejected SELECT seq, sink, topic, payload, ? FROM outbox WHERE seq = ?",
                (reason, seq),
            )
            connection.execute(
                "DELETE FROM rejected WHERE sink = ?1 AND seq NOT IN"
                " (SELECT seq FROM rejected WHERE sink = ?1 ORDER BY seq DESC LIMIT ?2)",
                (self.sink, REJECTED_ROWS_MAX),
            )
            if self._delete(connection, seq):
                connection.execute("UPDATE tally SET rejected = rejected + 1 WHERE sink = ?", (self.sink,))

    def oldest(self, limit: int, *, after: int = 0) -> list[Stored]:
        """Up to `limit` messages that wait, oldest first, with a sequence number above `after`."""
        rows = self._connection.execute(
            "SELECT seq, topic, payload FROM outbox WHERE sink = ? AND seq > ? ORDER BY seq LIMIT ?",
            (self.sink, after, limit),
        )
        return [Stored(seq, Message(topic, payload)) for seq, topic, payload in rows]

    def rejected(self) -> list[tuple[Stored, str]]:
        """What the other end will never take, with why; at most REJECTED_ROWS_MAX, oldest first."""
        rows = self._connection.execute(
            "SELECT seq, topic, payload, reason FROM rejected WHERE sink = ? ORDER BY seq", (self.sink,)
        )
        return [(Stored(seq, Message(topic, payload)), reason) for seq, topic, payload, reason in rows]

    def tally(self) -> Tally:
        """How this sink stands."""
        (rows,) = self._connection.execute("SELECT count(*) FROM outbox WHERE sink = ?", (self.sink,)).fetchone()
        found = self._connection.execute("SELECT bytes, dropped, rejected FROM tally WHERE sink = ?", (self.sink,))
        size, dropped, rejected = found.fetchone()
        return Tally(rows, size, dropped, rejected)

    def close(self) -> None:
        """Closes the database; what waits goes on waiting."""
        self._connection.close()

    def _insert(self, connection: sqlite3.Connection, message: Message, now_us: int) -> int:
        cursor = connection.execute(
            "INSERT INTO outbox (sink, topic, payload, bytes, stamp_us) VALUES (?, ?, ?, ?, ?)",
            (self.sink, message.topic, message.payload, message.size_bytes, now_us),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _delete(self, connection: sqlite3.Connection, seq: int) -> bool:
        row = connection.execute(
            "DELETE FROM outbox WHERE seq = ? AND sink = ? RETURNING bytes", (seq, self.sink)
        ).fetchone()
        if row is not None:
            connection.execute("UPDATE tally SET bytes = bytes - ? WHERE sink = ?", (row[0], self.sink))
        return row is not None

    def _drop(self, connection: sqlite3.Connection, now_us: int) -> None:
        """Brings the sink under its caps again."""
        (size,) = connection.execute("SELECT bytes FROM tally WHERE sink = ?", (self.sink,)).fetchone()
        too_old_us = now_us - round(self.age_s_max * 1e6)
        dropped = 0
        oldest = connection.execute("SELECT seq, bytes, stamp_us FROM outbox WHERE sink = ? ORDER BY seq", (self.sink,))
        gone: list[tuple[int]] = []
        for seq, row_bytes, stamp_us in oldest:
            if size <= self.bytes_max and stamp_us >= too_old_us:
                break
            gone.append((seq,))
            size -= row_bytes
            dropped += 1
        if gone:
            connection.executemany("DELETE FROM outbox WHERE seq = ?", gone)
            connection.execute(
                "UPDATE tally SET bytes = ?, dropped = dropped + ? WHERE sink = ?", (size, dropped, self.sink)
            )

    def _carry_over_ages(self, connection: sqlite3.Connection, boot_id: str) -> None:
        """In a new boot every stamp moves, so that each row is as old as it was when the last one was written."""
        now_us = self._boottime_us()
        row = connection.execute("SELECT boot_id, last_us FROM clock").fetchone()
        if row is not None and row[0] != boot_id:
            connection.execute("UPDATE outbox SET stamp_us = stamp_us + ?", (now_us - row[1],))
        connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?)", (boot_id, now_us))
