"""`type = "folder"`: files that cameras and data loggers drop. Polled, since network shares tell nobody of changes.

A writer is done when it renames its file to a name that fits (names that begin with a dot never do), or when size and
time have not changed for `settle`.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from nodeagent.frame import Frame, absent, good
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sources.readings import Readings, Unreadable, read
from nodeagent.sources.source import Emit, SourceContext, SourceLost, SourceOptions
from store import durable
from store.errors import StoreError

FILES_MAX: Final = 10_000
_BAD_ITEMS_MAX: Final = 50


class FolderOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after`: what becomes of a file that was read; `move` takes it to the folder `moved_to`. One not read stays.

    A .csv is as many frames as it has rows, of `tags` or its header; a .npy with `tags` too.
    """

    path: str
    pattern: str = "*"
    poll: Seconds = Seconds(0.2)
    settle: Seconds = Seconds(0.0)
    after: Literal["keep", "delete", "move"] = "keep"
    moved_to: str = ""
    tags: tuple[str, ...] | None = None
    silence: Seconds | None = None
    sample_rate: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.after == "move") != bool(self.moved_to):
            raise ValueError("'moved_to' goes with after = \"move\"")
        if self.poll <= 0:
            raise ValueError("'poll' is longer than nothing")

    def tag_names(self, id: str) -> tuple[str, ...] | None:  # noqa: A002
        if self.tags is not None:
            return self.tags
        return None if self.pattern.endswith((".csv", "*")) else (id,)


OPTIONS = FolderOptions


class Mark(NamedTuple):
    """By which a file is known to be the same, unchanged."""

    size_bytes: int
    mtime_ns: int


def settled(found: Mapping[str, Mark], waiting: dict[str, tuple[Mark, int]], now_us: int, settle_us: int) -> list[str]:
    """Names of `found` that have not changed for `settle_us`, oldest first; `waiting` is brought up to date."""
    for name in set(waiting) - set(found):
        del waiting[name]
    ready = []
    for name, mark in sorted(found.items(), key=lambda item: (item[1].mtime_ns, item[0])):
        since = waiting.get(name)
        if since is None or since[0] != mark:
            waiting[name] = since = (mark, now_us)
        if now_us - since[1] >= settle_us:
            ready.append(name)
    return ready


class Folder:
    """The source. What was read and kept is remembered in the bundle's work folder, over restarts."""

    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        options: FolderOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.type = "folder"
        self.names = options.tag_names(id) or ()
        self.period_s: float | None = None
        self.silence_s = None if options.silence is None else float(options.silence)
        self.bad_items: list[str] = []
        self._options = options
        self._path = Path(options.path)
        self._memory = context.work_dir / f"folder-{id}.json"
        self._clock = context.clock
        self._sleep = sleep
        self._waiting: dict[str, tuple[Mark, int]] = {}
        self._done: dict[str, Mark] = {}

    async def run(self, emit: Emit) -> None:
        self._done = await asyncio.to_thread(self._remembered)
        while True:
            found = await asyncio.to_thread(self._scan)
            ready = settled(found, self._waiting, self._clock.boottime_us(), round(self._options.settle * 1e6))
            for name in ready:
                for frame in await asyncio.to_thread(self._frames, name, found[name]):
                    emit(frame)
                await asyncio.to_thread(self._finish, name, found[name])
                await self._sleep(0)
            if ready and self._done:
                await asyncio.to_thread(self._remember)
            await self._sleep(float(self._options.poll))

    def _scan(self) -> dict[str, Mark]:
        """Files that fit and are not done yet. Raises SourceLost."""
        found: dict[str, Mark] = {}
        seen: set[str] = set()
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not fnmatch.fnmatch(entry.name, self._options.pattern):
                        continue
                    if not entry.is_file(follow_symlinks=False):
                        continue
                    if len(seen) >= FILES_MAX:
                        self._note(f"more than {FILES_MAX} files; the rest waits")
                        break
                    seen.add(entry.name)
                    status = entry.stat(follow_symlinks=False)
                    mark = Mark(status.st_size, status.st_mtime_ns)
                    if self._done.get(entry.name) != mark:
                        found[entry.name] = mark
        except OSError as error:
            raise SourceLost(f"{self._path}: {error.strerror}") from error
        self._done = {name: mark for name, mark in self._done.items() if name in seen}
        return found

    def _frames(self, name: str, mark: Mark) -> list[Frame]:
        source_us = mark.mtime_ns // 1_000
        try:
            readings = read(self._path / name, id=self.id, tags=self._options.tags)
        except Unreadable as error:
            self._note(f"{name}: {error}")
            self._done[name] = mark
            names = self.names or (self.id,)
            now_us = self._clock.boottime_us()
            return [absent(names, f"unreadable: {error}", source_us=source_us, received_us=now_us, source=self.id)]
        return self._good(readings, source_us)

    def _good(self, readings: Readings, source_us: int) -> list[Frame]:
        now_us = self._clock.boottime_us()
        return [
            good(
                readings.names,
                reading.values,
                source_us=source_us,
                received_us=now_us,
                blob=reading.blob,
                source=self.id,
            )
            for reading in readings
        ]

    def _finish(self, name: str, mark: Mark) -> None:
        """A file that was read is kept, deleted or moved. Moving copies, since the target may be another disk."""
        self._waiting.pop(name, None)
        if self._done.get(name) == mark:  # unreadable: noted, and it stays
            return
        path = self._path / name
        try:
            if self._options.after == "move":
                target = Path(self._options.moved_to)
                durable.make_dir(target, 0o755)
                durable.write_file(target / name, path.read_bytes(), 0o644)
            if self._options.after != "keep":
                durable.unlink(path)
                return
        except (StoreError, OSError) as error:
            self._note(f"{name} was read and stays: {error}")
        self._done[name] = mark

    def _note(self, text: str) -> None:
        if text not in self.bad_items:
            self.bad_items = [*self.bad_items[1 - _BAD_ITEMS_MAX :], text]

    def _remembered(self) -> dict[str, Mark]:
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=dict[str, Mark])
        except FileNotFoundError:
            return self._done
        except msgspec.DecodeError as error:
            self._note(f"{self._memory.name} was damaged, files may be read twice: {error}")
            return self._done

    def _remember(self) -> None:
        try:
            durable.write_file(self._memory, msgspec.json.encode(self._done))
        except StoreError as error:
            self._note(f"after a restart files may be read twice: {error}")


def create(section: Section, context: SourceContext) -> Folder:
    """The source of a section."""
    assert isinstance(section.options, FolderOptions)
    return Folder(section.id, section.options, context)
