"""What a recorder took and what it has accounted for, in 64 shared bytes that outlive a killed process.

The page lies in the kernel's cache, so SIGKILL loses none of it, and the next recorder can say exactly how many rows
died in the queue. A power cut may leave an older page: then the difference is a lower bound. The file is locked for
its owner's life, and the kernel frees the lock at the end of the process, however it ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

from store import durable

_SIZE = 64
_MAGIC = b"outprog1"
_LAYOUT = struct.Struct("<8s7Q")
_OFFERED = struct.Struct("<QQ")
_ACCOUNTED = struct.Struct("<QQ")
_OFFERED_AT, _ACCOUNTED_AT, _FULL_AT = 24, 40, 56
_NAME = re.compile(r"progress-r(\d{1,9})")


class Left(NamedTuple):
    """What a recorder left: rows taken and accounted for, and the last key of each."""

    revision: int
    path: Path
    boot_number: int
    first_key: int
    offered: int
    offered_key: int
    accounted: int
    accounted_key: int
    disk_full: bool


class Busy(Exception):
    """Another live process records this revision in this folder."""


class Progress:
    """The counters of one running recorder."""

    def __init__(self, directory: Path, revision: int, boot_number: int, first_key: int) -> None:
        self.path = directory / f"progress-r{revision}"
        if not self.path.exists():
            durable.write_file(self.path, bytes(_SIZE))
        self._fd = _lock(self.path)
        self._page = mmap.mmap(self._fd, _SIZE)
        _LAYOUT.pack_into(self._page, 0, _MAGIC, boot_number, first_key, 0, first_key - 1, 0, first_key - 1, 0)

    def offered(self, rows: int, key: int) -> None:
        """`rows` in all were taken or refused, `key` being the last one's."""
        _OFFERED.pack_into(self._page, _OFFERED_AT, rows, key)

    def accounted(self, rows: int, key: int) -> None:
        """`rows` in all are committed, as rows or inside counted gaps, up to `key`."""
        _ACCOUNTED.pack_into(self._page, _ACCOUNTED_AT, rows, key)

    def disk_full(self, full: bool) -> None:
        """Whether rows are being lost for want of space."""
        self._page[_FULL_AT] = full

    def close(self, *, accounted_for: bool) -> None:
        """Give up the lock; `accounted_for` removes the file, else the next recorder writes the gap."""
        self._page.close()
        if accounted_for:
            durable.unlink(self.path)
        os.close(self._fd)


def abandoned(directory: Path) -> list[Left]:
    """What recorders left that no longer live. Files of live ones are passed over."""
    found = []
    for path in sorted(directory.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            fd = _lock(path)
        except Busy:
            continue
        try:
            magic, boot, first, offered, offered_key, accounted, accounted_key, full = _LAYOUT.unpack(
                os.pread(fd, _SIZE, 0).ljust(_SIZE, b"\0")
            )
        finally:
            os.close(fd)
        if magic != _MAGIC:
            boot = first = offered = offered_key = accounted = accounted_key = full = 0
        found.append(
            Left(int(match[1]), path, boot, first, offered, offered_key, accounted, accounted_key, bool(full & 1))
        )
    return found


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise Busy(f"another process holds {path.name}") from error
    return fd
