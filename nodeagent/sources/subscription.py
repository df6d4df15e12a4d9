"""A source that a broker speaks to: one connection's life, and the pace at which what was heard becomes frames.

The keep-alive finds a broker that is dead. A broker that lives while nobody publishes is found by `silence`.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

from nodeagent.pipeline.options import Seconds
from nodeagent.sinks.broker import Login, endpoint
from nodeagent.sources.latest import Latest
from nodeagent.sources.mqtt_link import CANCEL_AGAIN_S, MESSAGES_MAX, Heard, LinkLost, Listener, Version
from nodeagent.sources.source import Emit, SourceContext, SourceLost, SourceOptions

CHECKED_S_MAX: Final = 1.0


class BrokerOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to listen to a broker. `every`: a sweep of the newest values at this pace; without it, one a message.

    `silence`: without a message for so long the connection is made anew. `max_age` (else `silence`): an older value
    is Bad `stale`.
    """

    url: str
    tags: tuple[Any, ...]
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

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return tuple(tag.name for tag in self.tags)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url})"  # a password is in no log


class BrokerSource(abc.ABC):
    """Connects, hears, and emits sweeps of `latest`. `run` is one connection's life."""

    silence_s: float | None = None  # looked after here, since sweeps come whether or not data does
    renewals = 0
    waiting_max = MESSAGES_MAX

    def __init__(
        self,
        id: str,  # noqa: A002
        options: BrokerOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.names = options.tag_names(id)
        self.period_s = None if options.every is None else float(options.every)
        self.latest = Latest(self.names, id, max_age_s=float(options.max_age or options.silence))
        self._limits = options
        self._clock = context.clock
        self._sleep = sleep
        self._heard_us = 0
        self._discarded_total = 0

    @property
    @abc.abstractmethod
    def topics(self) -> Sequence[str]:
        """What is subscribed to."""

    @abc.abstractmethod
    async def begin(self, link: Listener) -> None:
        """Called once on each new connection."""

    @abc.abstractmethod
    async def take(self, heard: Heard, link: Listener) -> bool:
        """Puts what the message says into the samples; whether a sweep is due for it. `link` is there to answer."""

    @property
    def bad_items(self) -> list[str]:
        lost = self._discarded_total
        notes = [f"{lost} messages came too fast and were discarded"] if lost else []
        return notes + self.latest.bad_items

    async def run(self, emit: Emit) -> None:
        """Raises SourceLost when the connection is lost or silent."""
        o = self._limits
        try:
            link = await Listener.open(
                o.url,
                Login(f"outstation-{self.id}", o.username, o.password, o.ca_file),
                self.topics,
                qos=o.qos,
                version=o.version,
                keepalive_s=round(o.keepalive),
                timeout_s=float(o.timeout),
                waiting_max=self.waiting_max,
            )
        except LinkLost as lost:
            raise SourceLost(str(lost)) from lost
        self._heard_us = self._clock.boottime_us()
        tasks = [
            asyncio.create_task(self._hear(link, emit), name=f"source {self.id} hears"),
            asyncio.create_task(self._pace(emit), name=f"source {self.id} sweeps"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except LinkLost as lost:
            raise SourceLost(str(lost)) from lost
        finally:
            await _ended(tasks)
            self._discarded_total += link.discarded
            await link.close()

    async def _hear(self, link: Listener, emit: Emit) -> None:
        self.latest.forget()
        await self.begin(link)
        async for heard in link.messages():
            if not await self.take(heard, link):
                continue
            self._heard_us = self._clock.boottime_us()
            if self._limits.every is None:
                emit(self.latest.frame(now_us=self._heard_us))
        raise LinkLost("disconnected")

    async def _pace(self, emit: Emit) -> None:
        o = self._limits
        step_s = float(min(CHECKED_S_MAX, o.silence / 4) if o.every is None else o.every)
        due_us = self._clock.boottime_us()
        while True:
            due_us = max(due_us + round(step_s * 1e6), self._clock.boottime_us())
            await self._sleep((due_us - self._clock.boottime_us()) / 1e6)
            now_us = self._clock.boottime_us()
            if now_us - self._heard_us > o.silence * 1e6:
                raise LinkLost(f"no message for {o.silence:g} s")
            if o.every is not None:
                emit(self.latest.frame(now_us=now_us))


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancels until all have ended: in Python 3.11 a library's wait_for may lose a cancellation to its answer."""
    while not all(task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: the first to end is the one that counts
