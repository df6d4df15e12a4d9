"""The console's own clocks, as an argument."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds on a clock that only goes forward, and seconds since the Unix epoch."""

    def monotonic_s(self) -> float: ...

    def epoch_s(self) -> float: ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def epoch_s(self) -> float:
        return time.time()
