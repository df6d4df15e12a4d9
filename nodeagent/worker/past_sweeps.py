"""The newest sweeps of a worker as its sources gave them, so that another pipeline can be tried on the same ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from nodeagent.frame import Frame
from nodeagent.worker import frame_wire
from store import durable

SWEEPS_MAX: Final = 20_000
BYTES_MAX: Final = 4 << 20
FRAME_BYTES: Final = 300  # of an empty frame, roughly


class PastSweeps:
    """Keeps frames, which nobody changes, up to SWEEPS_MAX and BYTES_MAX; the oldest go first."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._kept: deque[tuple[Frame, int]] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, frames: Sequence[Frame]) -> None:
        """Adds the newest."""
        for frame in frames:
            size = FRAME_BYTES + frame.values.nbytes + (0 if frame.blob is None else frame.blob.nbytes)
            self._kept.append((frame, size))
            self.size += size
        while self._kept and (self.size > self._bytes_max or len(self._kept) > SWEEPS_MAX):
            self.size -= self._kept.popleft()[1]

    def write(self, path: Path, count: int) -> int:
        """Writes the newest `count`, oldest first; how many there were. Blocking. Raises StoreError."""
        frames = [frame for frame, _ in self._kept][-count:]
        durable.write_file(path, msgspec.msgpack.encode([frame_wire.encode(frame) for frame in frames]))
        return len(frames)


def read(path: Path) -> list[Frame]:
    """The frames that `write` wrote. Raises OSError, StateRefused, msgspec.DecodeError."""
    return [frame_wire.decode(data) for data in msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])]
