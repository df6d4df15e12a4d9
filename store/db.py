"""Opening SQLite: one writer connection a database, and readers that cannot disturb it.

WAL with `synchronous=FULL`: with NORMAL a power cut takes acknowledged commits back. The writer commits and
checkpoints; readers never checkpoint, since SQLite before 3.51.3 can corrupt a WAL that one connection resets while
another one checkpoints. So: one process, one `open_writer` a path; everybody else uses `open_reader`. Where several
processes write, as consoles do, `open_shared` keeps to a rollback journal.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from store import durable, errors

WAL_BYTES_MAX = 16 << 20
COPY_BYTES_MAX = 512 << 20
_PROGRESS_INSTRUCTIONS = 2_000
_MEMORY_DISK = Path("/dev/shm")


# Begin, commit, undo: of a transaction, and of a part of one.
_TRANSACTION = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_PART = ("SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part"))
# In WAL the commit is the fsync of the log; with a rollback journal it is the durable removal of the journal's name.
_WAL = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", f"PRAGMA journal_size_limit={WAL_BYTES_MAX}")
_JOURNAL = ("PRAGMA journal_mode=DELETE", "PRAGMA synchronous=EXTRA")


def open_writer(
    path: Path, *, busy_timeout_s: float = 5.0, ballast: durable.Ballast | None = None
) -> sqlite3.Connection:
    """The one connection that may write to `path`; makes the file with mode 0600 where there is none.

    Statements commit by themselves outside `transaction`. The connection may move between threads, one at a time.
    On a full disk the ballast is given up and opening is tried once more.
    Raises DiskFull, ReadOnly, Corrupt, Busy or StoreError.
    """
    try:
        return _open_to_write(path, busy_timeout_s, _WAL)
    except errors.DiskFull:
        if ballast is None or not ballast.release():
            raise
        return _open_to_write(path, busy_timeout_s, _WAL)


def open_shared(path: Path, *, busy_timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection that may write to `path` beside others in other processes. As durable as `open_writer`, slower."""
    return _open_to_write(path, busy_timeout_s, _JOURNAL)


def _open_to_write(path: Path, busy_timeout_s: float, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    with _translated("open", path):
        new = not path.exists()
    if new:
        durable.append(path, b"")
    connection = _connect(path, "rw", busy_timeout_s)
    try:
        with _translated("open", path):
            for pragma in (*pragmas, "PRAGMA foreign_keys=ON"):
                connection.execute(pragma)
            # A write that changes nothing: a full or read-only disk shows itself now and not in a transition.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA user_version").fetchone()
            connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, *, deadline_s: float = 2.0) -> sqlite3.Connection:
    """A connection that only reads `path`. A statement that runs past `deadline_s` from now ends with an interrupt.

    On a read-only or full disk SQLite cannot make the files that reading a WAL needs, and `immutable` would silently
    leave out what the WAL holds; so the database and its WAL are copied to memory and the copy is opened.
    COPY_BYTES_MAX bounds the copy. Raises Corrupt, Busy, or StoreError when there is no database.
    """
    connection = _connect(path, "ro", min(deadline_s, 1.0))
    try:
        with _translated("read", path):
            _restrict(connection, deadline_s)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return connection
    except (errors.ReadOnly, errors.DiskFull):
        connection.close()
        return _open_copy(path, deadline_s)
    except BaseException:
        connection.close()
        raise


def set_deadline(connection: sqlite3.Connection, deadline_s: float) -> None:
    """Statements on a reader that run past `deadline_s` from now end with an interrupt."""
    end_s = time.monotonic() + deadline_s
    connection.set_progress_handler(lambda: time.monotonic() > end_s, _PROGRESS_INSTRUCTIONS)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of the block or none of it; durable when it ends.

    Inside another one it is a part of that one: undone alone when it raises, durable with the outer one. After a
    StoreError that is not Busy the connection is to be closed and opened anew before it is used again.
    """
    begin, commit, undo = _TRANSACTION if not connection.in_transaction else _PART
    with _translated("write to", database_path(connection)):
        connection.execute(begin)
        try:
            yield connection
            connection.execute(commit)
        except BaseException:
            # A full disk may have ended the transaction already, and then there is nothing to undo.
            if connection.in_transaction:
                for statement in undo:
                    connection.execute(statement)
            raise


def database_path(connection: sqlite3.Connection) -> Path:
    """Where the database of `connection` lies; an empty path for one in memory."""
    row = connection.execute("PRAGMA database_list").fetchone()
    return Path(row[2])


def is_sound(connection: sqlite3.Connection) -> bool:
    """Whether SQLite finds no damage in the whole database."""
    try:
        row = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError:
        return False
    return bool(row == ("ok",))


def _connect(path: Path, mode: str, busy_timeout_s: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with _translated("open", path):
        return sqlite3.connect(
            uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )


def _restrict(connection: sqlite3.Connection, deadline_s: float) -> None:
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    set_deadline(connection, deadline_s)


def _open_copy(path: Path, deadline_s: float) -> sqlite3.Connection:
    size = sum(file.stat().st_size for file in (path, _wal_of(path)) if file.exists())
    if size > COPY_BYTES_MAX:
        raise errors.ReadOnly("read", path, f"{size} bytes on a read-only or full disk are too many to copy to memory")
    import shutil  # Only here, and an idle agent has no need of it.
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="outstation-read-", dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None))
    try:
        copy = folder / path.name
        with _translated("read", path):
            for source, target in ((path, copy), (_wal_of(path), _wal_of(copy))):
                if source.exists():
                    shutil.copyfile(source, target)
            connection = _connect(copy, "rw", 1.0)
            # Takes the WAL into the copy; from here one open file is the whole database and its name may go.
            connection.execute("PRAGMA journal_mode=DELETE")
            _restrict(connection, deadline_s)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        shutil.rmtree(folder)
    return connection


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


@contextlib.contextmanager
def _translated(operation: str, subject: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        # What the schema refuses, and what is wrong in a statement, is no fault of the disk.
        raise
    except sqlite3.Error as error:
        raise errors.from_sqlite(error, operation, subject) from error
    except OSError as error:
        raise errors.from_os(error, operation, subject) from error
