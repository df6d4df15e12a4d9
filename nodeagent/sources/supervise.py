"""A supervisor a connection: woken by silence of data and not by the state of a socket, it drops the source's
connection and lets it make a new one. While there is no data it says so, frame by frame, so that nothing stands still
looking Good.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from nodeagent.clock import Clock
from nodeagent.frame import Frame, absent
from nodeagent.protocol import SourceTelemetry
from nodeagent.sources.source import Emit, Source, SourceLost

BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 15.0
LIVED_S: Final = 10.0
CANCEL_AGAIN_S: Final = 0.1
_BAD_ITEMS_SHOWN: Final = 50

State = Literal["connecting", "up", "silent", "stopped"]
Sleep = Callable[[float], Awaitable[None]]


class Supervisor:
    """Keeps one source connected, and counts. `run` ends when the source has no more data, or by cancellation."""

    def __init__(
        self,
        source: Source,
        emit: Emit,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.source = source
        self.drops_total = 0
        self.samples_total = 0
        self.state: State = "stopped"
        self.reason = ""
        self._emit = emit
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._last_us: int | None = None
        self._seen: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The source's tags, or those of its last frame where only the data knows."""
        return self.source.names or self._seen

    async def run(self) -> None:
        """Connects, and again whenever the data stops."""
        backoff_s = BACKOFF_S_MIN
        try:
            while True:
                self.state = "connecting"
                begun_us = self._clock.boottime_us()
                frames = self.samples_total
                try:
                    await self._life(begun_us)
                except SourceLost as lost:
                    self.drops_total += 1
                    self.reason = str(lost)
                    self.state = "silent"
                else:
                    self.reason = "no more data"
                    return
                lived = self.samples_total > frames and self._clock.boottime_us() - begun_us > LIVED_S * 1e6
                backoff_s = BACKOFF_S_MIN if lived else backoff_s
                await self._rest(backoff_s * (0.5 + self._jitter()))
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
        finally:
            self.state = "stopped"

    def telemetry(self) -> SourceTelemetry:
        """State and counters now."""
        age_s = None if self._last_us is None else (self._clock.boottime_us() - self._last_us) / 1e6
        return SourceTelemetry(
            id=self.source.id,
            type=self.source.type,
            state=self.state,
            age_s=age_s,
            samples_total=self.samples_total,
            drops_total=self.drops_total + self.source.renewals,
            bad_items=self.source.bad_items[:_BAD_ITEMS_SHOWN],
            reason=self.reason,
        )

    async def _life(self, begun_us: int) -> None:
        """One connection: as long as it runs and is not silent."""
        life = asyncio.create_task(self.source.run(self._take), name=f"source {self.source.id}")
        try:
            while True:
                silence_s = self.source.silence_s
                done, _ = await asyncio.wait({life}, timeout=None if silence_s is None else silence_s / 4)
                if done:
                    if life.cancelled():
                        raise SourceLost("cancelled by its own library")
                    life.result()
                    return
                heard_us = max(begun_us, self._last_us or 0)
                if silence_s is not None and self._clock.boottime_us() - heard_us > silence_s * 1e6:
                    raise SourceLost(f"no data for {silence_s:g} s")
        finally:
            while not life.done():
                life.cancel()  # again: in Python 3.11 wait_for loses one to an answer that comes in the same turn
                await asyncio.wait({life}, timeout=CANCEL_AGAIN_S)

    def _take(self, frame: Frame) -> None:
        self.samples_total += len(frame.names)
        self._last_us = frame.received_us
        self._seen = frame.names
        self.state = "up"
        self.reason = ""
        self._emit(frame)

    async def _rest(self, seconds: float) -> None:
        """Waits, and meanwhile tells the pipeline at the source's pace that nothing comes."""
        period_s = self.source.period_s
        if period_s is None or not self.source.names:
            await self._sleep(seconds)
            return
        end_us = self._clock.boottime_us() + round(seconds * 1e6)
        while True:
            self._emit_absence()
            left_s = (end_us - self._clock.boottime_us()) / 1e6
            if left_s <= 0:
                return
            await self._sleep(min(period_s, left_s))

    def _emit_absence(self) -> None:
        self._emit(
            absent(
                self.source.names,
                f"no data: {self.reason}",
                source_us=self._clock.wall_us(),
                received_us=self._clock.boottime_us(),
                source=self.source.id,
            )
        )
