"""Keeps one place of a plant at the value that was last decided, over one connection after another.

A PLC that restarts forgets what was written, so after each connect the place is read and, where it differs,
written again. In between it is read once a period: a value that somebody else wrote is shown and not fought over.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from nodeagent.clock import Clock
from nodeagent.sinks.sink import SinkFailed
from nodeagent.sinks.writable import Writable, WriteLost, WriteRefused
from nodeagent.sinks.write_guard import Budget, Guard

BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 15.0


class Writer:
    """One place, called `name`. `want` a value, and `run` brings it there; `write_now` is for the safe value.

    Nothing here asks whether writing is allowed: who makes one has asked the guard.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Writable]],
        name: str,
        guard: Guard,
        clock: Clock,
        *,
        safe: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.connected = False
        self.reason = ""
        self.written_total = 0
        self.refused_total = 0
        self.reads: float | None = None
        self._connect = connect
        self._name = name
        self._guard = guard
        self._clock = clock
        self._safe = safe
        self._sleep = sleep
        self._jitter = jitter
        self._budget = Budget(guard.max_per_hour)
        self._wanted: float | None = None
        self._written: float | None = None
        self._refused: float | None = None
        self._decided_us: int | None = None
        self._beat_us = 0
        self._counter = 0
        self._code = 0
        self._told = 0
        self._link: Writable | None = None
        self._one_at_a_time = asyncio.Lock()
        self._news = asyncio.Event()

    @property
    def behind(self) -> bool:
        """Whether the place is not known to be what was decided."""
        return self._wanted is not None and self._wanted != self._written

    def want(self, value: float) -> None:
        """A valid decision asks for `value`. It keeps the heartbeat going."""
        self._decided_us = self._clock.boottime_us()
        if value != self._wanted:
            self._wanted = value
            self._news.set()

    def alive(self) -> None:
        """The pipeline works and there is nothing to decide (the machine is idle): keeps the heartbeat going."""
        self._decided_us = self._clock.boottime_us()

    def state(self, code: int) -> None:
        """How the bundle does, as a number, for the guard's `state`."""
        self._code = code
        if code != self._told:
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        backoff_s = BACKOFF_S_MIN
        while True:
            try:
                await self._life()
            except WriteLost as lost:
                self.reason = str(lost)
            backoff_s = BACKOFF_S_MIN if self.connected else min(backoff_s * 2, BACKOFF_S_MAX)
            await self._close()
            await self._sleep(backoff_s * (0.5 + self._jitter()))

    async def write_now(self, value: float) -> None:
        """Writes at once, over the open connection or a new one. Raises SinkFailed where it did not arrive."""
        self._wanted = value
        async with self._one_at_a_time:
            for opened in (self._link, None):
                try:
                    link = opened or await self._connect()
                except WriteLost as error:
                    raise self._failed(value, error) from error
                try:
                    await self._write(link, value)
                except WriteLost as error:
                    if opened is None:
                        raise self._failed(value, error) from error
                except WriteRefused as error:
                    raise self._failed(value, error) from error
                else:
                    return
                finally:
                    if opened is None:
                        await link.close()

    def _failed(self, value: float, error: Exception) -> SinkFailed:
        return SinkFailed(f"write {value:g} to {self._name}: {error}")

    async def _life(self) -> None:
        """One connection. Raises WriteLost."""
        async with self._one_at_a_time:
            self._link = await self._connect()
            self._told = 0
            self._written = None  # whatever is there now: a PLC that restarted has forgotten
        while True:
            self._news.clear()
            async with self._one_at_a_time:
                await self._turn(self._link)
            try:
                async with asyncio.timeout(float(self._guard.heartbeat_every)):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _turn(self, link: Writable) -> None:
        """Reads, writes where it differs from what is wanted, beats. Raises WriteLost."""
        try:
            there = await self._seen(link)
            self.connected, self.reason = True, ""
            if self._wanted is not None:
                await self._settle(link, there, self._wanted)
            await self._beat(link)
            if self._guard.state and self._code != self._told:
                await link.tell(self._code)
                self._told = self._code
        except (WriteRefused, SinkFailed) as error:
            self.reason = str(error)

    async def _seen(self, link: Writable) -> float:
        there = await link.read()
        self.reads = None if math.isnan(there) else there
        return there

    async def _settle(self, link: Writable, there: float, value: float) -> None:
        if there == link.reads_as(value):
            self._written = value
        elif self._written == value:
            self.reason = f"{self._name} reads {there:g} and {value:g} was written: somebody else writes it"
        elif value == self._safe or self._budget.take(self._clock.boottime_us()):
            await self._write(link, value)
        else:
            self.refused_total += value != self._refused
            self._refused = value
            self.reason = f"not written: {value:g}, since {self._guard.max_per_hour} writes an hour are allowed"

    async def _write(self, link: Writable, value: float) -> None:
        """Raises WriteLost, WriteRefused, or SinkFailed where something else stands there afterwards."""
        self._written = None
        await link.write(value)
        if self._guard.verify_readback:
            there = await self._seen(link)
            if there != link.reads_as(value):
                raise SinkFailed(f"{self._name} reads {there:g} after {value:g} was written")
        self._written, self._refused = value, None
        self.written_total += 1

    async def _beat(self, link: Writable) -> None:
        guard, now_us = self._guard, self._clock.boottime_us()
        if not guard.heartbeat:
            return
        if self._decided_us is None or now_us - self._decided_us > guard.valid_for * 1e6:
            self.reason = self.reason or f"no valid decision for {guard.valid_for:g} s: the heartbeat stands still"
            return
        if now_us - self._beat_us >= guard.heartbeat_every * 1e6:
            self._beat_us = now_us
            self._counter += 1
            await link.beat(self._counter)

    async def _close(self) -> None:
        async with self._one_at_a_time:
            self.connected = False
            if self._link is not None:
                await self._link.close()
                self._link = None

    async def close(self) -> None:
        """Lets the connection go."""
        await self._close()


def state_of(writer: Writer | None, *, running: bool) -> Literal["up", "down", "stopped"]:
    """How a sink stands by its writer; without one it is a dry run, and nothing can be down."""
    if not running:
        return "stopped"
    return "up" if writer is None or (writer.connected and not writer.reason) else "down"
