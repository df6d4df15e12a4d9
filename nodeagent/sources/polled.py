"""A source that asks for all its items at a steady pace over one connection, in whatever protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, NamedTuple, Protocol

import msgspec

from nodeagent.frame import BAD, good
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.sources.device import DeviceMemory
from nodeagent.sources.source import Emit, SourceContext, SourceLost, SourceOptions

SILENCE_S_MIN = 3.0


class PollOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pace. `silence`: without an answer for so long the connection is made anew."""

    url: str
    poll: Seconds = Seconds(1.0)
    timeout: Seconds = Seconds(2.0)
    silence: Seconds | None = None
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 32

    def __post_init__(self) -> None:
        if self.poll <= 0 or self.timeout <= 0:
            raise ValueError("'poll' and 'timeout' are longer than nothing")


class PolledTag(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value; where it lies is the protocol's business."""

    name: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


class Answer(NamedTuple):
    """One item's raw value, or NaN and why there is none."""

    value: float
    reason: str = ""


class ItemLinkLost(Exception):
    """The connection can no longer be trusted; make a new one."""


class ItemLink(Protocol):
    """An open connection to a device."""

    async def facts(self) -> Mapping[str, str]:
        """What the device tells of itself. Raises ItemLinkLost."""

    async def read(self) -> Sequence[Answer]:
        """All items now, in order. Raises ItemLinkLost."""

    def close(self) -> None:
        """Gives the connection up without waiting."""


class Polled:
    """The source; `open_link` makes a connection or raises ItemLinkLost."""

    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        type: str,  # noqa: A002
        tags: Sequence[PolledTag],
        options: PollOptions,
        context: SourceContext,
        open_link: Callable[[], Awaitable[ItemLink]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.type = type
        self.names = tuple(tag.name for tag in tags)
        self.period_s: float | None = float(options.poll)
        self.silence_s: float | None = float(
            options.silence or max(5 * options.poll, 3 * options.timeout, SILENCE_S_MIN)
        )
        self._tags = tags
        self._poll_us = round(options.poll * 1e6)
        self._clock = context.clock
        self._device = DeviceMemory(context.work_dir, id, context.clock)
        self._open_link = open_link
        self._sleep = sleep
        self._bad: list[str] = []

    @property
    def changed(self) -> str:
        return self._device.changed

    @property
    def bad_items(self) -> list[str]:
        return [text for text in (self._device.changed, self._device.problem) if text] + self._bad

    async def run(self, emit: Emit) -> None:
        try:
            link = await self._open_link()
            try:
                facts = await link.facts()
                await asyncio.to_thread(self._device.heard, facts)
                await self._sweeps(link, emit)
            finally:
                link.close()
        except ItemLinkLost as lost:
            raise SourceLost(str(lost)) from lost

    async def _sweeps(self, link: ItemLink, emit: Emit) -> None:
        due_us = self._clock.boottime_us()
        while True:
            self._emit(await link.read(), emit)
            due_us = max(due_us + self._poll_us, self._clock.boottime_us())
            await self._sleep((due_us - self._clock.boottime_us()) / 1e6)

    def _emit(self, answers: Sequence[Answer], emit: Emit) -> None:
        values = [answer.value * tag.scale + tag.offset for answer, tag in zip(answers, self._tags, strict=True)]
        self._bad = [
            f"{name}: {answer.reason}" for name, answer in zip(self.names, answers, strict=True) if answer.reason
        ]
        frame = good(
            self.names,
            values,
            source_us=self._clock.wall_us(),
            received_us=self._clock.boottime_us(),
            source=self.id,
        )
        for at, answer in enumerate(answers):
            if answer.reason and frame.quality[at] == BAD:
                frame.reasons[at] = answer.reason
        emit(self._device.mark(frame))
