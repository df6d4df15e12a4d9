"""Waveforms or images of a session, until they leave: each once and in order, however they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from nodeagent.sources.arrays import WAITING_MAX

if TYPE_CHECKING:
    from nodeagent.sources.opcua_link import Sample


class Blocks:
    """Beyond WAITING_MAX the oldest goes, and is counted."""

    def __init__(self) -> None:
        self.discarded_total = 0
        self._waiting: deque[Sample] = deque()
        self._newest: tuple[int, int] | None = None
        self._came = asyncio.Event()

    def put(self, sample: Sample) -> None:
        """One that came. What a new session or the next poll tells again, by the server's own time, is left out."""
        told = None if sample.source_us is None else (sample.source_us, sample.quality)
        if told is not None and told == self._newest:
            return
        self._newest = told
        if len(self._waiting) == WAITING_MAX:
            self._waiting.popleft()
            self.discarded_total += 1
        self._waiting.append(sample)
        self._came.set()

    def take(self) -> Sample | None:
        """The oldest."""
        if not self._waiting:
            self._came.clear()
            return None
        return self._waiting.popleft()

    async def wait(self, seconds: float) -> None:
        """Until one is there, and for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()
