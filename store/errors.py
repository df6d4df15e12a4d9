"""What can go wrong below this package, told apart by what a person can do about it."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path


class StoreError(Exception):
    """A file or database operation failed. `operation` is a verb, `subject` a path, `hint` what to do."""

    def __init__(self, operation: str, subject: str | Path, hint: str = "") -> None:
        self.operation = operation
        self.subject = str(subject)
        self.hint = hint
        super().__init__(f"cannot {operation} {subject}" + (f": {hint}" if hint else ""))


class DiskFull(StoreError):
    """No bytes, no inodes or no quota left."""


class ReadOnly(StoreError):
    """The file system, the folder or the file refuses writes."""


class Corrupt(StoreError):
    """The bytes on the disk are not what was written."""


class Busy(StoreError):
    """Another process holds the database, or the reader's deadline passed."""


_ERRNO_KINDS: dict[int, tuple[type[StoreError], str]] = {
    errno.ENOSPC: (DiskFull, "the disk is full"),
    errno.EDQUOT: (DiskFull, "the quota is used up"),
    errno.EFBIG: (DiskFull, "the file size limit is reached"),
    errno.EROFS: (ReadOnly, "the file system is read-only"),
    errno.EACCES: (ReadOnly, "no permission"),
    errno.EPERM: (ReadOnly, "no permission"),
}

_SQLITE_KINDS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (DiskFull, "the disk is full"),
    sqlite3.SQLITE_READONLY: (ReadOnly, "the database is read-only"),
    sqlite3.SQLITE_CORRUPT: (Corrupt, "the database is damaged"),
    sqlite3.SQLITE_NOTADB: (Corrupt, "this is not a database"),
    sqlite3.SQLITE_BUSY: (Busy, "another process holds the database"),
    sqlite3.SQLITE_LOCKED: (Busy, "another connection holds the database"),
    sqlite3.SQLITE_INTERRUPT: (Busy, "the reader's deadline passed"),
}


def from_os(error: OSError, operation: str, subject: str | Path) -> StoreError:
    """The kind of `error`; raise it `from error`."""
    kind, hint = _ERRNO_KINDS.get(error.errno or 0, (StoreError, error.strerror or type(error).__name__))
    return kind(operation, subject, hint)


def from_sqlite(error: sqlite3.Error, operation: str, subject: str | Path) -> StoreError:
    """The kind of `error`; raise it `from error`.

    SQLite says only "disk I/O error" or "unable to open" where a full or read-only disk kept it from making its
    -wal and -shm files, so for these the disk itself is asked.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_KINDS:
        kind, hint = _SQLITE_KINDS[code]
        return kind(operation, subject, hint)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return _ask_the_disk(operation, subject, str(error))
    return StoreError(operation, subject, str(error))


def _ask_the_disk(operation: str, subject: str | Path, text: str) -> StoreError:
    folder = Path(subject).parent
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return from_os(error, operation, subject)
    if disk.f_flag & os.ST_RDONLY or not os.access(folder, os.W_OK):
        return ReadOnly(operation, subject, "the file system or folder is read-only")
    if disk.f_bavail * disk.f_frsize < _SQLITE_FILE_BYTES or (disk.f_files and disk.f_favail < 2):
        return DiskFull(operation, subject, "the disk is full")
    return StoreError(operation, subject, text)


# What SQLite must be able to make before it can work at all: a -shm of one 32 KiB block and a -wal header.
_SQLITE_FILE_BYTES = 40 << 10
