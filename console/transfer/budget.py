"""How many bytes a second all uploads together may take: one bucket, whose tokens are handed out in order."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

BURST_S = 0.25
PIECE_BYTES_MIN = 16 << 10
RATE_MIN, RATE_MAX = 1_000.0, 1e12
_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMG]?)(i?)(B|bit)/s")
_FACTORS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3}


class Budget:
    """`bytes_per_s` over every node that shares it. Who asks first is served first; nobody is starved."""

    def __init__(
        self,
        bytes_per_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.bytes_per_s = bytes_per_s
        self._monotonic, self._sleep = monotonic, sleep
        self._free_at_s = monotonic()

    def __repr__(self) -> str:
        return f"<Budget {self.bytes_per_s:g} B/s>"

    @property
    def piece_bytes_max(self) -> int:
        """A piece that takes about BURST_S of the budget: what is sent at once is never much."""
        return max(PIECE_BYTES_MIN, int(self.bytes_per_s * BURST_S))

    async def take(self, count: int) -> None:
        """Returns when `count` bytes may be sent."""
        now_s = self._monotonic()
        begin_s = max(self._free_at_s, now_s - BURST_S)
        self._free_at_s = begin_s + count / self.bytes_per_s
        if begin_s > now_s:
            await self._sleep(begin_s - now_s)


def parse_rate(text: str) -> float:
    """`2MB/s`, `500 kB/s`, `1.5MiB/s`, `10Mbit/s` in bytes a second. Raises ValueError."""
    found = _RATE.fullmatch(text.strip())
    rate = 0.0
    if found:
        rate = float(found[1]) * (1_024 if found[3] else 1_000) ** _FACTORS[found[2]] / (8 if found[4] == "bit" else 1)
    if not RATE_MIN <= rate <= RATE_MAX:
        raise ValueError(f"{text!r} is not a rate such as 2MB/s, 500kB/s or 10Mbit/s, at least 1kB/s")
    return rate
