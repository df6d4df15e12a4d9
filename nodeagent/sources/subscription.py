"""A source that a broker speaks to: one connection's life, and the pace at which what was heard becomes frames.

The keep-alive finds a broker that is dead. A broker that lives while nobody publishes is found by `silence`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, Protocol

from nodeagent.clock import Clock
from nodeagent.pipeline.options import Seconds
from nodeagent.sinks.broker import Login, endpoint
from nodeagent.sources.latest import Latest
from nodeagent.sources.mqtt_link import CANCEL_AGAIN_S, Heard, LinkLost, Listener, Version
from nodeagent.sources.source import Emit, SourceLost, SourceOptions

CHECKED_S_MAX: Final = 1.0


class BrokerOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to listen to a broker. `every`: a sweep of the newest values at this pace; without it, one a message.

    `silence`: without a message for so long the connection is made anew. `max_age` (else `silence`): an older value
    is Bad `stale`.
    """

    url: str
    version: Version = "3.1.1"
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    qos: Literal[0, 1] = 0
    keepalive: Seconds = Seconds(15.0)
    timeout: Seconds = Seconds(5.0)
    every: Seconds | None = None
    silence: Seconds = Seconds(60.0)
    max_age: Seconds | None = None

    def __post_init__(self) -> None:
        endpoint(self.url)
        if self.keepalive < 1:
            raise ValueError("'keepalive' is 1s or longer")
        for name in ("timeout", "every", "silence", "max_age"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"{name!r} is longer than nothing")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url})"  # a password is in no log


class Hearer(Protocol):
    """What a kind of message means. `link` is there to answer over."""

    @property
    def topics(self) -> Sequence[str]: ...

    async def begin(self, link: Listener) -> None:
        """Called once on each new connection."""

    async def take(self, heard: Heard, link: Listener) -> bool:
        """Puts what the message says into the samples; whether any sample is new."""


class Subscription:
    """Connects, hears, and emits sweeps of `latest`. `run` is one connection's life."""

    def __init__(
        self,
        id: str,  # noqa: A002
        options: BrokerOptions,
        latest: Latest,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.discarded_total = 0
        self._id = id
        self._options = options
        self._latest = latest
        self._clock = clock
        self._sleep = sleep
        self._heard_us = 0

    async def run(self, hearer: Hearer, emit: Emit) -> None:
        """Raises SourceLost when the connection is lost or silent."""
        o = self._options
        try:
            link = await Listener.open(
                o.url,
                Login(f"outstation-{self._id}", o.username, o.password, o.ca_file),
                hearer.topics,
                qos=o.qos,
                version=o.version,
                keepalive_s=round(o.keepalive),
                timeout_s=float(o.timeout),
            )
        except LinkLost as lost:
            raise SourceLost(str(lost)) from lost
        self._heard_us = self._clock.boottime_us()
        tasks = [
            asyncio.create_task(self._hear(link, hearer, emit), name=f"source {self._id} hears"),
            asyncio.create_task(self._pace(emit), name=f"source {self._id} sweeps"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except LinkLost as lost:
            raise SourceLost(str(lost)) from lost
        finally:
            await _ended(tasks)
            self.discarded_total += link.discarded
            await link.close()

    async def _hear(self, link: Listener, hearer: Hearer, emit: Emit) -> None:
        self._latest.forget()
        await hearer.begin(link)
        async for heard in link.messages():
            if not await hearer.take(heard, link):
                continue
            self._heard_us = self._clock.boottime_us()
            if self._options.every is None:
                emit(self._latest.frame(now_us=self._heard_us))
        raise LinkLost("disconnected")

    async def _pace(self, emit: Emit) -> None:
        o = self._options
        step_s = float(min(CHECKED_S_MAX, o.silence / 4) if o.every is None else o.every)
        due_us = self._clock.boottime_us()
        while True:
            due_us = max(due_us + round(step_s * 1e6), self._clock.boottime_us())
            await self._sleep((due_us - self._clock.boottime_us()) / 1e6)
            now_us = self._clock.boottime_us()
            if now_us - self._heard_us > o.silence * 1e6:
                raise LinkLost(f"no message for {o.silence:g} s")
            if o.every is not None:
                emit(self._latest.frame(now_us=now_us))


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancels until all have ended: in Python 3.11 a library's wait_for may lose a cancellation to its answer."""
    while not all(task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: the first to end is the one that counts
