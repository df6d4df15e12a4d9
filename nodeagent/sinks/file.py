"""`type = "file"`: outcomes as JSON lines, in files that are closed at a size and of which so many are kept.

Without `folder` they lie in the bundle's own folder. Another folder is the node's word: it comes from a binding.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.message import Wanted, When, payload_of
from nodeagent.sinks.sink import SinkContext
from store import durable
from store.errors import StoreError

WAITING_MAX: Final = 10_000
NAME_DIGITS: Final = 8


class FileOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of `bytes_max`, the newest `files_max` of them; written, and on the disk, every `flush`."""

    folder: str = ""
    when: When = "all"
    bytes_max: Annotated[int, msgspec.Meta(ge=4096, le=1 << 30)] = 16 << 20
    files_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    flush: Seconds = Seconds(1.0)

    def __post_init__(self) -> None:
        if self.flush < 0.01:
            raise ValueError("'flush' is 10ms or longer")


OPTIONS = FileOptions


class Rotation:
    """A row of numbered files `outcomes-00000001.jsonl`. Blocking. Raises StoreError, OSError."""

    def __init__(self, folder: Path, *, bytes_max: int, files_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._number = 0
        self._size = 0

    def write(self, lines: bytes) -> None:
        """Adds whole lines to the newest file, or to a new one where that is full."""
        if not self._number:
            durable.make_dir(self._folder)
            self._number = max((_number(path) for path in self._files()), default=0) or 1
            path = self._path(self._number)
            self._size = path.stat().st_size if path.exists() else 0
        if self._size and self._size + len(lines) > self._bytes_max:
            self._number, self._size = self._number + 1, 0
            for old in self._files()[: -self._files_max + 1 or None]:
                durable.unlink(old)
        self._size = durable.append(self._path(self._number), lines)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("outcomes-*.jsonl") if _number(path))

    def _path(self, number: int) -> Path:
        return self._folder / f"outcomes-{number:0{NAME_DIGITS}}.jsonl"


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("outcomes-")
    return int(digits) if digits.isdecimal() else 0


class File:
    """The sink. Where the disk refuses, the newest WAITING_MAX wait in memory and older ones are dropped, counted."""

    def __init__(self, options: FileOptions, context: SinkContext) -> None:
        self._options = options
        self._context = context
        self._wanted = Wanted(options.when)
        folder = Path(options.folder) if options.folder else context.work_dir / "outcomes"
        self._rotation = Rotation(folder, bytes_max=options.bytes_max, files_max=options.files_max)
        self._waiting: collections.deque[bytes] = collections.deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="file sink")
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._delivered_total = 0
        self._dropped_total = 0
        self._reason = ""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="file sink")

    def offer(self, outcome: Outcome) -> None:
        if not self._wanted.wants(outcome):
            return
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self._dropped_total += 1
        self._waiting.append(payload_of(outcome, self._context) + b"\n")

    async def safe(self) -> None:
        """Nothing: a line moves no machine."""

    async def close(self) -> None:
        """Writes what waits."""
        self._closing.set()
        if self._task is not None:
            await self._task
            self._task = None
        await self._flush()
        self._dropped_total += len(self._waiting)
        self._waiting.clear()
        self._thread.shutdown(wait=False)

    def telemetry(self) -> SinkTelemetry:
        state: Literal["up", "down"] = "down" if self._reason else "up"
        return SinkTelemetry(
            type="file",
            state=state if self._task is not None else "stopped",
            delivered_total=self._delivered_total,
            waiting=len(self._waiting),
            waiting_max=WAITING_MAX,
            dropped_total=self._dropped_total,
            reason=self._reason,
        )

    async def _run(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(self._options.flush)):
                    await self._closing.wait()
            await self._flush()

    async def _flush(self) -> None:
        lines = list(self._waiting)
        if not lines:
            return
        self._waiting.clear()
        write = asyncio.get_running_loop().run_in_executor(self._thread, self._rotation.write, b"".join(lines))
        try:
            await write
        except (StoreError, OSError) as error:
            self._reason = f"not written: {error}"
            self._waiting.extendleft(reversed(lines))
            while len(self._waiting) > WAITING_MAX:
                self._waiting.popleft()
                self._dropped_total += 1
        else:
            self._reason = ""
            self._delivered_total += len(lines)


def create(section: Section, context: SinkContext) -> File:
    """The sink of a section. Raises ConfigError for a folder that the bundle chose."""
    assert isinstance(section.options, FileOptions)
    if section.options.folder and not section.is_bound("folder"):
        raise section.error("folder", 'a folder of the node is named by its binding: folder = "${folder}"')
    return File(section.options, context)
