"""`type = "tail"`: lines that another program appends to a file: CSV, or JSON objects.

Polled, since network shares tell nobody of changes. A file renamed away is read to its end before the new one is
begun; a file cut short (copytruncate) is begun anew; a line is taken when its newline is there. Where it stands is
remembered, so that a restart neither loses nor repeats a line.
"""

from __future__ import annotations

import asyncio
import csv
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import BinaryIO, Final, Literal

import msgspec

from nodeagent.frame import BAD, Frame, good
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sources.json_path import JsonPath, Missing, find, number, parse, time_us
from nodeagent.sources.source import Emit, SourceContext, SourceLost, SourceOptions, unique
from store import durable
from store.errors import StoreError

CHUNK_BYTES: Final = 1 << 20
LINE_BYTES_MAX: Final = 1 << 20
_NOTES_MAX: Final = 20


class TailOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tags`: columns of the CSV, or paths in the JSON of each line. `columns` of a CSV whose file begins without them.

    `time`: the column or path of the writer's own time. `start`: where a file that was never read is begun.
    """

    path: str
    format: Literal["csv", "json"] = "csv"
    tags: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    separator: str = ","
    time: str = ""
    start: Literal["end", "begin"] = "end"
    poll: Seconds = Seconds(0.2)
    silence: Seconds | None = None

    def __post_init__(self) -> None:
        unique(self.tags)
        if self.poll <= 0:
            raise ValueError("'poll' is longer than nothing")
        if len(self.separator) != 1:
            raise ValueError("'separator' is one character")
        if self.columns is not None:
            for name in (*self.tags, *([self.time] if self.time else [])):
                if name not in self.columns:
                    raise ValueError(f"there is no column {name!r}")
        if self.format == "json":
            for path in (*self.tags, self.time):
                parse(path)

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return self.tags


OPTIONS = TailOptions


class Cursor(msgspec.Struct, frozen=True):
    """Where reading stands: in which file, how far, and the CSV's header."""

    inode: int = 0
    offset: int = 0
    header: tuple[str, ...] = ()


class Tail:
    """The source."""

    type = "tail"
    period_s: float | None = None
    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        options: TailOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.names = options.tags
        self.silence_s = None if options.silence is None else float(options.silence)
        self.bad_items: list[str] = []
        self._options = options
        self._clock = context.clock
        self._sleep = sleep
        self._path = context.work_dir / options.path
        self._memory = context.work_dir / f"tail-{id}.json"
        self._file: BinaryIO | None = None
        self._cursor = Cursor()
        self._partial = b""
        self._paths: list[JsonPath] = [parse(tag) for tag in options.tags] if options.format == "json" else []
        self._time_path = parse(options.time) if options.format == "json" else ()

    async def run(self, emit: Emit) -> None:
        first = True
        try:
            while True:
                frames, more = await asyncio.to_thread(self._step, first)
                first = False
                for frame in frames:
                    emit(frame)
                if frames:
                    await asyncio.to_thread(self._remember)
                await self._sleep(0.0 if more else float(self._options.poll))
        finally:
            self._close()

    def _step(self, first: bool) -> tuple[list[Frame], bool]:
        """Frames of the lines that are there, at most a chunk of them; whether there may be more at once."""
        try:
            if self._file is None and not self._open(first):
                return [], False
            assert self._file is not None
            data = self._file.read(CHUNK_BYTES)
            if data:
                return self._lines(data), True
            return [], self._turned()
        except OSError as error:
            raise SourceLost(f"{self._path}: {error.strerror}") from error

    def _open(self, first: bool) -> bool:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            self._note(f"{self._path.name} is not there")
            return False
        self._forgive()
        self._file, self._partial = file, b""
        status = os.fstat(file.fileno())
        known = self._remembered() if first else None
        if known is not None and known.inode == status.st_ino and known.offset <= status.st_size:
            self._cursor = known
        else:
            self._cursor = Cursor(status.st_ino, 0, self._options.columns or ())
            if first and known is None and self._options.start == "end":
                self._skip_to_end(file)
        file.seek(self._cursor.offset)
        return True

    def _skip_to_end(self, file: BinaryIO) -> None:
        """What was there before is left out, all but the header that says what the columns are."""
        header = self._cursor.header
        if self._options.format == "csv" and not header:
            line = file.readline(LINE_BYTES_MAX)
            if not line.endswith(b"\n"):
                return
            header = tuple(self._split(line))
        end = file.seek(0, os.SEEK_END)
        while end and file.seek(end - 1) == end - 1 and file.read(1) != b"\n":
            end -= 1
        self._cursor = Cursor(self._cursor.inode, end, header)

    def _turned(self) -> bool:
        """At the end of the file: whether another one lies at the path now, or this one was cut short."""
        assert self._file is not None
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._close()
            return False
        if status.st_ino != self._cursor.inode:
            self._close()
            return True
        if status.st_size < self._file.tell():
            self._file.seek(0)
            self._partial = b""
            self._cursor = Cursor(status.st_ino, 0, self._options.columns or ())
            return True
        return False

    def _lines(self, data: bytes) -> list[Frame]:
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_BYTES_MAX:
            raise SourceLost(f"{self._path.name}: a line of more than {LINE_BYTES_MAX} bytes")
        frames = [frame for line in lines if line.strip() and (frame := self._frame(line)) is not None]
        taken = self._cursor.offset + sum(len(line) + 1 for line in lines)
        self._cursor = Cursor(self._cursor.inode, taken, self._cursor.header)
        return frames

    def _frame(self, line: bytes) -> Frame | None:
        o, reasons = self._options, dict[int, str]()
        source_us = self._clock.wall_us()
        try:
            if o.format == "json":
                values, told = self._from_json(line, reasons)
            else:
                cells = self._split(line)
                if not self._cursor.header:
                    self._cursor = Cursor(self._cursor.inode, self._cursor.offset, tuple(cells))
                    return None
                values, told = self._from_csv(cells, reasons)
            if o.time:
                source_us = time_us(told)
        except Missing as missing:
            self._note(str(missing))
            values = [math.nan] * len(o.tags)
            reasons.update(dict.fromkeys(range(len(o.tags)), str(missing)))
        frame = good(o.tags, values, source_us=source_us, received_us=self._clock.boottime_us(), source=self.id)
        frame.reasons.update({at: reason for at, reason in reasons.items() if frame.quality[at] == BAD})
        return frame

    def _from_csv(self, cells: Sequence[str], reasons: dict[int, str]) -> tuple[list[float], object]:
        header = self._cursor.header
        if len(cells) != len(header):
            raise Missing(f"a line of {len(cells)} columns and not {len(header)}")
        row = dict(zip(header, cells, strict=True))
        values = [self._value(row.get(tag, Missing), at, reasons) for at, tag in enumerate(self._options.tags)]
        return values, row.get(self._options.time)

    def _from_json(self, line: bytes, reasons: dict[int, str]) -> tuple[list[float], object]:
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            raise Missing("a line that is no JSON") from None
        values = []
        for at, path in enumerate(self._paths):
            try:
                values.append(number(find(document, path)))
            except Missing as missing:
                reasons[at] = str(missing)
                values.append(math.nan)
        return values, find(document, self._time_path) if self._options.time else None

    def _value(self, cell: object, at: int, reasons: dict[int, str]) -> float:
        if cell is Missing:
            reasons[at] = f"no column {self._options.tags[at]!r}"
            return math.nan
        if cell == "":
            return math.nan
        try:
            return number(cell)
        except Missing as missing:
            reasons[at] = str(missing)
            return math.nan

    def _split(self, line: bytes) -> list[str]:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        return [cell.strip() for cell in next(csv.reader([text], delimiter=self._options.separator), [])]

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _note(self, text: str) -> None:
        if text not in self.bad_items:
            self.bad_items = [*self.bad_items[1 - _NOTES_MAX :], text]

    def _forgive(self) -> None:
        self.bad_items = [text for text in self.bad_items if not text.endswith("is not there")]

    def _remembered(self) -> Cursor | None:
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=Cursor)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            self._note(f"{self._memory.name} was damaged, lines may be missed: {error}")
            return None

    def _remember(self) -> None:
        try:
            durable.write_file(self._memory, msgspec.json.encode(self._cursor))
        except StoreError as error:
            self._note(f"after a restart lines may be read twice: {error}")


def create(section: Section, context: SourceContext) -> Tail:
    """The source of a section."""
    assert isinstance(section.options, TailOptions)
    return Tail(section.id, section.options, context)
