"""The console's own clocks, as an argument, and spans of time as a person writes them."""

from __future__ import annotations

import re
import time
from typing import Final, Protocol

_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(s|m|h|d)?")
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


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


def span_s(text: str) -> float | None:
    """`90`, `90s`, `10m`, `1.5h`, `1d` in seconds; None where it is no span of time."""
    found = _SPAN.fullmatch(text.strip())
    return float(found[1]) * _UNITS_S[found[2] or "s"] if found else None
