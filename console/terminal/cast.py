"""What the operator's screen was sent, as an asciicast: written while it is sent, read back line by line.

The format is asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/): a header, then one event a line,
`[seconds, kind, data]`. `o` is output, `r` a new size, `m` a mark. Other players of that format show it too. What was
asked as a secret and what was copied is left out before it gets here (console/terminal/driver.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.times import Clock
from store import durable
from store.errors import StoreError

RECORDING_BYTES_MAX: Final = 256 << 20
LINE_BYTES_MAX: Final = 1 << 20
EVENTS_MAX: Final = 2_000_000
SIZE_MAX: Final = 1_000


class CastRefused(Exception):
    """A file that is no recording, or that cannot be written. The text names it, the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Event:
    """`at_s` since the beginning. `kind`: o output, r new size as `80x24`, m a mark."""

    at_s: float
    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class Cast:
    """A whole recording. `began_s` is the Unix time at its beginning, 0 where it is not told."""

    width: int
    height: int
    began_s: float
    title: str
    events: tuple[Event, ...]

    @property
    def length_s(self) -> float:
        return self.events[-1].at_s if self.events else 0.0


class Recording:
    """One recording being written, by the thread that writes to the terminal. A full or broken disk ends it.

    `ended` says why nothing more is recorded; "" while it goes on. The screen is never held up or broken by it.
    """

    def __init__(self, path: Path, clock: Clock, *, term: str, title: str = "outstation") -> None:
        self.path, self.ended = path, ""
        self._clock, self._term, self._title = clock, term, title
        self._began_s = self._last_s = 0.0
        self._size = (0, 0)
        self._written_bytes = 0

    def begin(self) -> None:
        """Looks whether the file can be made. Raises CastRefused: a recording is never written over."""
        if self.path.exists():
            raise CastRefused(f"{self.path} is there already: name another file for the recording")
        try:
            durable.append(self.path, b"", 0o600, sync=False)
        except StoreError as error:
            raise CastRefused(f"nothing can be recorded: {error}") from error

    def resized(self, width: int, height: int) -> None:
        """The screen's size from now on; the first is the header's."""
        if (width, height) == self._size:
            return
        first = self._size == (0, 0)
        self._size = (width, height)
        if not first:
            self._event("r", f"{width}x{height}")
            return
        self._began_s = self._clock.monotonic_s()
        header = {
            "version": 2, "width": width, "height": height, "timestamp": int(self._clock.epoch_s()),
            "title": self._title, "env": {"TERM": self._term},
        }  # fmt: skip
        self._line(header)

    def sent(self, text: str) -> None:
        """What was written to the terminal just now."""
        if self._size != (0, 0):
            self._event("o", text)

    def marked(self, text: str) -> None:
        """A mark that players jump to."""
        if self._size != (0, 0):
            self._event("m", text)

    def _event(self, kind: str, data: str) -> None:
        self._last_s = max(self._last_s, round(self._clock.monotonic_s() - self._began_s, 3))
        self._line([self._last_s, kind, data])

    def _line(self, value: object) -> None:
        if self.ended:
            return
        line = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if self._written_bytes + len(line) > RECORDING_BYTES_MAX:
            self.ended = f"{self.path} has {RECORDING_BYTES_MAX >> 20} MiB, the most a recording may have"
            return
        try:
            durable.append(self.path, line, 0o600, sync=False)
        except StoreError as error:
            self.ended = str(error)
        else:
            self._written_bytes += len(line)


def read(path: Path) -> Cast:
    """A recording, by whomever; an unfinished last line is left out. Raises CastRefused."""
    try:
        if path.stat().st_size > RECORDING_BYTES_MAX:
            raise CastRefused(f"{path} has more than {RECORDING_BYTES_MAX >> 20} MiB: cut it first")
        with path.open("rb") as file:
            lines = iter(lambda: file.readline(LINE_BYTES_MAX), b"")
            header = _header(next(lines, b""), path)
            events = tuple(_events(lines, path))
    except OSError as error:
        raise CastRefused(f"{path} cannot be read: {error.strerror}") from error
    began_s, title = _seconds(header.get("timestamp")), str(header.get("title", ""))[:200]
    return Cast(header["width"], header["height"], began_s, title, events)


def _header(line: bytes, path: Path) -> dict[str, Any]:
    found = _json(line)
    if not isinstance(found, dict) or found.get("version") != 2:
        raise CastRefused(f"{path} is no recording: its first line is no header of an asciicast of version 2")
    sizes = [found.get(name) for name in ("width", "height")]
    if not all(type(size) is int and 1 <= size <= SIZE_MAX for size in sizes):
        raise CastRefused(f"{path}: its width and height are not from 1 to {SIZE_MAX}")
    return found


def _events(lines: Iterator[bytes], path: Path) -> Iterator[Event]:
    last_s, count = 0.0, 0
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        found = _json(line)
        if found is None and not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
            return  # The console was killed while it wrote this.
        fits = isinstance(found, list) and len(found) == 3 and type(found[0]) in (int, float)
        if not fits or not isinstance(found[1], str) or not isinstance(found[2], str):
            raise CastRefused(f"{path}: line {number} is no event of an asciicast")
        at_s, kind, data = found
        last_s = max(last_s, _seconds(at_s))
        count += 1
        if count > EVENTS_MAX:
            raise CastRefused(f"{path} has more than {EVENTS_MAX:,} events: cut it first")
        yield Event(last_s, kind, data)


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _seconds(value: object) -> float:
    """A time that can be counted with: not negative, not beyond a hundred thousand years."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 3e12 else 0.0
