"""The only file that writes, fsyncs, renames and unlinks. What returned here survives a power cut.

The order is always: data, fsync of the file, rename, fsync of the folder. A name appears only with its whole content.
Errors are `store.errors` kinds; after a failed fsync nothing is retried on the same descriptor, since the kernel may
have dropped the pages that it could not write.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from store import errors

_TEMPORARY = ".tmp"
_PIECE_BYTES = 1 << 20


def sync_dir(path: Path) -> None:
    """Makes the names in `path` durable."""
    with _translated("sync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_dir(path: Path, mode: int = 0o700) -> None:
    """Makes `path` and what is missing above it, each with `mode`, durably. An existing folder is left as it is."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        with _translated("make folder", folder):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, mode)
            os.chmod(folder, mode)
        sync_dir(folder.parent)


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces `path` by `data`, all or nothing."""
    with replacing(path, mode) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write to that becomes `path` when the block ends without an exception, and vanishes otherwise."""
    with _translated("write", path):
        temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}{_TEMPORARY}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    sync_dir(path.parent)


def remove_temporaries(folder: Path) -> int:
    """Removes what `replacing` left in `folder` when it was killed. Run at start, before anything writes there."""
    left = [entry for entry in folder.iterdir() if entry.name.startswith(".") and entry.name.endswith(_TEMPORARY)]
    for entry in left:
        unlink(entry)
    return len(left)


def append(path: Path, data: bytes, mode: int = 0o600, *, sync: bool = True) -> int:
    """Adds `data` at the end of `path`, making it where needed; returns the new size in bytes.

    A power cut may leave a part of the last `append`, never of one before it. `sync=False` leaves the moment of
    writing to the kernel: for logs, not for facts.
    """
    with _translated("append to", path):
        new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            _write_all(descriptor, data)
            if sync:
                os.fsync(descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    if new and sync:
        sync_dir(path.parent)
    return size


def unlink(path: Path) -> bool:
    """Removes the file `path` durably. False: there was none."""
    with _translated("remove", path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
    sync_dir(path.parent)
    return True


def remove_dir(path: Path) -> None:
    """Removes the empty folder `path` durably."""
    with _translated("remove", path):
        os.rmdir(path)
    sync_dir(path.parent)


class Part:
    """A file that arrives in pieces at offsets, and becomes another path when it is whole.

    Everything below the last multiple of `SYNC_BYTES` that was passed is durable; what lies above may be zeros after
    a power cut, and `settle` cuts it off.
    """

    SYNC_BYTES = 8 << 20

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self) -> int:
        """Bytes received so far; 0 when nothing was."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def write_at(self, offset: int, data: bytes) -> int:
        """Writes `data` at `offset`, which must not lie past the end; returns the new size in bytes."""
        with _translated("write", self.path):
            new = not self.path.exists()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if offset > os.fstat(descriptor).st_size:
                    raise ValueError(f"offset {offset} lies past the end of {self.path.name}")
                os.lseek(descriptor, offset, os.SEEK_SET)
                _write_all(descriptor, data)
                if (offset + len(data)) // self.SYNC_BYTES > offset // self.SYNC_BYTES:
                    os.fsync(descriptor)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
        if new:
            sync_dir(self.path.parent)
        return size

    def settle(self) -> int:
        """After a reboot: cuts off what may not have reached the disk; returns the size that is left."""
        size = self.size() // self.SYNC_BYTES * self.SYNC_BYTES
        if size < self.size():
            with _translated("cut", self.path):
                os.truncate(self.path, size)
        return size

    def promote(self, target: Path, mode: int = 0o444) -> None:
        """Makes the part durable and moves it to `target` in the same file system."""
        make_dir(target.parent)
        with _translated("store", target):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(self.path, target)
        sync_dir(target.parent)
        sync_dir(self.path.parent)

    def discard(self) -> None:
        """Forgets what was received."""
        unlink(self.path)


class Ballast:
    """A file that only takes room, so that going back works on a full disk: give it up, act, make it anew."""

    def __init__(self, path: Path, size_bytes: int = 16 << 20) -> None:
        self.path = path
        self.size_bytes = size_bytes

    def create(self) -> None:
        """Takes the room now, if it is not taken yet. DiskFull: there is not enough, and nothing was taken."""
        if self.held():
            return
        with replacing(self.path) as file, _translated("reserve", self.path):
            os.posix_fallocate(file.fileno(), 0, self.size_bytes)

    def held(self) -> bool:
        """Whether the room is taken."""
        try:
            return self.path.stat().st_size >= self.size_bytes
        except FileNotFoundError:
            return False

    def release(self) -> bool:
        """Gives the room up. False: it had been given up before."""
        return unlink(self.path)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:_PIECE_BYTES]) :]


@contextlib.contextmanager
def _translated(operation: str, subject: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise errors.from_os(error, operation, subject) from error
