"""The last lines of telemetry, kept for whoever comes back after a loss of the link. Bounded in lines and bytes."""

from __future__ import annotations

from collections import deque

LINES_MAX = 120
BYTES_MAX = 1 << 20


class TelemetryRing:
    """Encoded lines by cursor; cursors rise by one a line."""

    def __init__(self, *, lines_max: int = LINES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._lines: deque[tuple[int, bytes]] = deque(maxlen=lines_max)
        self._bytes, self._bytes_max = 0, bytes_max

    def __repr__(self) -> str:
        first = self._lines[0][0] if self._lines else 0
        return f"TelemetryRing({first}..{self.newest}, {self._bytes} bytes)"

    @property
    def newest(self) -> int:
        """The cursor of the newest line; 0 while there is none."""
        return self._lines[-1][0] if self._lines else 0

    def add(self, cursor: int, line: bytes) -> None:
        """Keeps `line`; the oldest go where there are too many. The newest stays whatever its size."""
        if len(self._lines) == self._lines.maxlen:
            self._drop()
        self._lines.append((cursor, line))
        self._bytes += len(line)
        while self._bytes > self._bytes_max and len(self._lines) > 1:
            self._drop()

    def _drop(self) -> None:
        self._bytes -= len(self._lines.popleft()[1])

    def following(self, cursor: int, every: int) -> tuple[int, bytes] | None:
        """The first line that is at least `every` behind `cursor`, with its own cursor; None: it is still to come."""
        if not self._lines or self.newest < cursor + every:
            return None
        return self._lines[max(0, cursor + every - self._lines[0][0])]
