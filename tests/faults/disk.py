"""A pessimistic model of a disk: what was done to it, in order, and what of it survives a power cut.

The log comes from disklog.c, preloaded into a process. Only synced content and synced names survive for certain.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("5Q")

# Where lives are lived: what a sync costs is of no interest here, and they make thousands.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


@dataclass(frozen=True)
class Event:
    letter: str
    inode: int
    offset: int
    first: bytes
    second: bytes

    @property
    def path(self) -> str:
        return self.first.decode()


@dataclass
class File:
    """Content as the kernel shows it, as the disk holds it, and the writes between the two."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)


class Disk:
    """Names and contents, each as shown and as synced. A folder is a name without a file."""

    def __init__(self, base: Path) -> None:
        self.names: dict[str, File | None] = {}
        for path in sorted(base.rglob("*")):
            data = path.read_bytes() if path.is_file() else None
            self.names[str(path.relative_to(base))] = None if data is None else File(bytearray(data), data)
        self.synced = dict(self.names)
        self.pending: list[list[tuple[str, File | None, bool]]] = []
        self.numbers: dict[int, File] = {}

    def play(self, event: Event, root: str) -> None:
        def relative(path: bytes) -> str:
            return os.path.relpath(path.decode(), root)

        if event.letter == "O":
            name = relative(event.first)
            if name not in self.names:
                self._name([(name, File(), True)])
            found = self.names[name]
            assert found is not None
            self.numbers[event.inode] = found
        elif event.letter in "WT":
            self._write(self.numbers[event.inode], event)
        elif event.letter == "S":
            found = self.numbers[event.inode]
            found.synced, found.pending = bytes(found.data), []
        elif event.letter == "D":
            self._sync_folder(relative(event.first))
        elif event.letter == "R":
            old, new = relative(event.first), relative(event.second)
            self._name([(new, self.names[old], True), (old, None, False)])
        elif event.letter == "U":
            self._name([(relative(event.first), None, False)])
        elif event.letter == "M":
            self._name([(relative(event.first), None, True)])

    def _name(self, changes: list[tuple[str, File | None, bool]]) -> None:
        """One rename within a folder is one change; across folders each folder has its own."""
        folders = {os.path.dirname(name) for name, _, _ in changes}
        for folder in folders:
            self.pending.append([change for change in changes if os.path.dirname(change[0]) == folder])
        for change in changes:
            _apply(self.names, change)

    def _sync_folder(self, folder: str) -> None:
        folder = "" if folder == "." else folder
        for group in self.pending:
            if os.path.dirname(group[0][0]) == folder:
                for change in group:
                    _apply(self.synced, change)
        self.pending = [group for group in self.pending if os.path.dirname(group[0][0]) != folder]

    @staticmethod
    def _write(file: File, event: Event) -> None:
        if event.letter == "T":
            del file.data[event.offset :]
            file.data.extend(bytes(event.offset - len(file.data)))
            # A cut that was not synced may or may not have happened: the model keeps the old content.
            return
        if len(file.data) < event.offset:
            file.data.extend(bytes(event.offset - len(file.data)))
        file.data[event.offset : event.offset + len(event.first)] = event.first
        file.pending.append((event.offset, event.first))

    def after_power_cut(self) -> dict[str, bytes | None]:
        return _reachable({name: None if file is None else file.synced for name, file in self.synced.items()})

    def after_kill(self) -> dict[str, bytes | None]:
        return {name: None if file is None else bytes(file.data) for name, file in self.names.items()}

    def after_torn_power_cut(self, source: random.Random) -> dict[str, bytes | None]:
        names = dict(self.synced)
        for group in self.pending[: source.randint(0, len(self.pending))]:
            for change in group:
                _apply(names, change)
        return _reachable({name: None if file is None else _torn(file, source) for name, file in names.items()})


def _apply(names: dict[str, File | None], change: tuple[str, File | None, bool]) -> None:
    name, file, present = change
    if present:
        names[name] = file
    else:
        names.pop(name, None)


def _reachable(names: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """Without what lies in a folder that is gone."""
    return {
        name: data
        for name, data in names.items()
        if all(str(parent) in (*names, ".") for parent in Path(name).parents)
    }  # fmt: skip


def _torn(file: File, source: random.Random) -> bytes:
    data = bytearray(file.synced)
    for offset, content in file.pending:
        if source.random() < 0.5:
            kept = content[: source.randrange(0, len(content) + 1, 512) if source.random() < 0.3 else len(content)]
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(kept)] = kept
    return bytes(data)


def read_events(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        letter, inode, offset, first, second = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield Event(chr(letter), inode, offset, data[at : at + first], data[at + first : at + first + second])
        at += first + second
