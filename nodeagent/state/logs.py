"""The agent's own log: the newest lines in memory, all of them in NDJSON segments under a cap.

A cursor is unique on the node and rises over restarts: each start leaves CURSOR_GAP out, since lines may have been
shown that a power cut took from the disk. A disk that cannot be written costs lines on the disk, which are counted,
never the lines in memory and never the agent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from nodeagent.clock import Clock
from nodeagent.protocol import PAGE_ROWS_MAX, LogLine, LogsPage
from store import durable
from store.errors import StoreError

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")

RING_LINES_MAX = 4_000
TEXT_CHARS_MAX = 4_000
SEGMENTS = 8
CURSOR_GAP = 1_000
_NAME = "log-{:016d}.ndjson"


class Log:
    """One node's log in `folder`, which exists. One thread adds; reading old segments may happen in another."""

    def __init__(self, folder: Path, clock: Clock, *, bytes_max: int) -> None:
        self._folder = folder
        self._clock = clock
        self._segment_bytes = max(bytes_max // SEGMENTS, 1 << 12)
        self._ring: deque[LogLine] = deque(maxlen=RING_LINES_MAX)
        self._news = asyncio.Event()
        self._decode = msgspec.json.Decoder(LogLine).decode
        last = self._last_cursor()
        self._next = last + CURSOR_GAP if last else 1
        self._segment = self._folder / _NAME.format(self._next)
        self.unwritten_total = 0

    def add(self, level: Level, source: str, text: str) -> LogLine:
        """Adds a line; text beyond TEXT_CHARS_MAX is cut."""
        line = LogLine(
            cursor=self._next,
            boottime_us=self._clock.boottime_us(),
            wall_us=self._clock.wall_us(),
            level=level,
            source=source,
            text=text[:TEXT_CHARS_MAX],
        )
        self._next += 1
        self._ring.append(line)
        self._write(line)
        self._news.set()
        self._news = asyncio.Event()
        return line

    def page(self, *, after: int | None, limit: int, keep: Callable[[LogLine], bool] = lambda _: True) -> LogsPage:
        """Lines with a cursor above `after`, oldest first; with no `after`, the newest `limit` lines.

        Reads segments where the lines are older than what is in memory: run it in a thread for an old cursor.
        """
        limit = min(max(limit, 1), PAGE_ROWS_MAX)
        if after is None:
            kept = [line for line in self._ring if keep(line)][-limit:]
            return LogsPage(lines=kept, next=self._ring[-1].cursor if self._ring else self._next - 1)
        lines: list[LogLine] = []
        lost, seen = 0, after
        for line in self._from(after):
            if seen == after and after > 0 and not self._holds(after + 1):
                lost = line.cursor - after - 1
            seen = line.cursor
            if keep(line):
                lines.append(line)
                if len(lines) == limit:
                    break
        return LogsPage(lines=lines, next=seen, lost=lost)

    def page_before(self, before: int, *, limit: int, keep: Callable[[LogLine], bool]) -> LogsPage:
        """The newest `limit` kept lines with a cursor below `before`, oldest first. Reads segments: use a thread."""
        below = (line for line in self._from(0) if line.cursor < before and keep(line))
        lines = list(deque(below, maxlen=min(max(limit, 1), PAGE_ROWS_MAX)))
        return LogsPage(lines=lines, next=lines[-1].cursor if lines else 0)

    async def follow(self, after: int | None, keep: Callable[[LogLine], bool]) -> AsyncGenerator[LogLine, None]:
        """Every kept line after `after` (None: from now on), as it comes, without end."""
        cursor = self._next - 1 if after is None else after
        while True:
            news = self._news
            if self.is_in_memory(cursor):
                page = self.page(after=cursor, limit=PAGE_ROWS_MAX, keep=keep)
            else:
                page = await asyncio.to_thread(self.page, after=cursor, limit=PAGE_ROWS_MAX, keep=keep)
            for line in page.lines:
                yield line
            if page.next == cursor:
                await news.wait()
            cursor = page.next

    def is_in_memory(self, after: int) -> bool:
        """Whether all lines above `after` are in memory."""
        return not self._ring or self._ring[0].cursor <= after + 1 or after >= self._ring[-1].cursor

    def _from(self, after: int) -> Iterator[LogLine]:
        ring = list(self._ring)
        if ring and (ring[0].cursor <= after + 1 or not self._segments()):
            yield from (line for line in ring if line.cursor > after)
            return
        first_in_memory = ring[0].cursor if ring else self._next
        segments = self._segments()
        for number, segment in enumerate(segments):
            end = _first(segments[number + 1]) if number + 1 < len(segments) else self._next
            if end > after + 1:
                yield from (line for line in self._read(segment) if after < line.cursor < first_in_memory)
        yield from (line for line in ring if line.cursor > after)

    def _holds(self, cursor: int) -> bool:
        """Whether nothing between `cursor` and the next held line had been dropped: gaps of a start are no loss."""
        segments = self._segments()
        if segments and _first(segments[0]) <= cursor:
            return True
        return bool(self._ring) and self._ring[0].cursor <= cursor

    def _read(self, segment: Path) -> Iterator[LogLine]:
        try:
            data = segment.read_bytes()
        except OSError:  # dropped by the cap between listing and reading, or a bad disk: what is left is still told
            return
        for raw in data.split(b"\n"):
            try:
                yield self._decode(raw)
            except msgspec.DecodeError:  # the last line of a segment that a power cut or a full disk cut short
                continue

    def _write(self, line: LogLine) -> None:
        try:
            size = durable.append(self._segment, msgspec.json.encode(line) + b"\n", sync=False)
            if size >= self._segment_bytes:
                self._segment = self._folder / _NAME.format(line.cursor + 1)
                for old in self._segments()[: -(SEGMENTS - 1)]:
                    durable.unlink(old)
        except StoreError:
            self.unwritten_total += 1

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("log-*.ndjson"))

    def _last_cursor(self) -> int:
        """The highest cursor on the disk; 0 where there is none."""
        for segment in reversed(self._segments()):
            lines = list(self._read(segment))
            self._ring.extend(lines[-RING_LINES_MAX // 4 :])
            return lines[-1].cursor if lines else _first(segment)
        return 0


def _first(segment: Path) -> int:
    return int(segment.stem.removeprefix("log-"))


def at_least(level: str) -> Callable[[LogLine], bool]:
    """A filter: lines of `level` or worse. Raises ValueError for an unknown level."""
    rank = LEVELS.index(level)
    return lambda line: LEVELS.index(line.level) >= rank
