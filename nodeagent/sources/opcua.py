"""`type = "opcua"`: nodes of an OPC UA server, by subscription or by polling; bad nodes are listed and asked again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from nodeagent.frame import BAD
from nodeagent.pipeline.section import Section
from nodeagent.sources.arrays import image, leads, waveform
from nodeagent.sources.blocks import Blocks
from nodeagent.sources.device import DeviceMemory
from nodeagent.sources.json_path import Missing, number
from nodeagent.sources.latest import Latest
from nodeagent.sources.opcua_options import OpcuaOptions
from nodeagent.sources.source import Emit, SourceContext, SourceLost

if TYPE_CHECKING:
    from nodeagent.sources.opcua_link import OpcuaLink, Sample

AGAIN_S: Final = 60.0
SILENCE_S_MIN: Final = 3.0
OPTIONS = OpcuaOptions


class Opcua:
    """The source. A session that is silent is given up for a new one: the library's own reconnecting can look alive
    over a subscription that is dead."""

    type = "opcua"
    silence_s: float | None = None  # looked after here, since sweeps come whether or not the server speaks
    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        options: OpcuaOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.names = options.tag_names(id)
        self.period_s: float | None = float(options.every)
        self._options = options
        self._context = context
        self._clock = context.clock
        self._sleep = sleep
        self._silence_s = float(options.silence or max(SILENCE_S_MIN, 5 * options.every))
        self._latest = Latest(self.names, id, max_age_s=1e9)
        self._blocks = Blocks() if leads(options.tags) else None
        self._nodes = [options.node_of(tag) for tag in options.tags]
        self._device = DeviceMemory(context.work_dir, id, context.clock)
        self._heard_us = self._asked_us = self._block_us = 0

    @property
    def changed(self) -> str:
        return self._device.changed

    @property
    def bad_items(self) -> list[str]:
        notes = [text for text in (self._device.changed, self._device.problem) if text]
        if self._blocks is not None and self._blocks.discarded_total:
            notes.append(f"{self._blocks.discarded_total} of {self.names[0]} came too fast and were discarded")
        return notes + self._latest.bad_items

    async def run(self, emit: Emit) -> None:
        from nodeagent.sources.opcua_link import LinkLost, OpcuaLink

        o = self._options
        self._latest.forget()
        self._block_us = self._clock.boottime_us()
        try:
            link = await OpcuaLink.open(o.url, o.security, self._context.work_dir, timeout_s=float(o.timeout))
            try:
                facts = await link.facts()
                await asyncio.to_thread(self._device.heard, facts)
                await (self._follow(link, emit) if o.read == "subscribe" else self._poll(link, emit))
            finally:
                await link.close()
        except LinkLost as lost:
            raise SourceLost(str(lost)) from lost

    async def _poll(self, link: OpcuaLink, emit: Emit) -> None:
        due_us = self._clock.boottime_us()
        while True:
            for at, sample in enumerate(await link.read(self._nodes)):
                self._take(at, sample)
            self._sweep(emit, due=True)
            due_us = self._next(due_us)
            await self._sleep(max(0.0, (due_us - self._clock.boottime_us()) / 1e6))

    async def _follow(self, link: OpcuaLink, emit: Emit) -> None:
        """Sweeps of what the subscription told; the last of its nodes is the server's clock, by which it is heard."""
        from nodeagent.sources.opcua_link import CURRENT_TIME

        refused = await self._subscribe(link, [*range(len(self._nodes))], CURRENT_TIME)
        clock_refused = len(self._nodes) in refused
        self._heard_us = self._asked_us = self._clock.boottime_us()
        due_us = self._next(self._heard_us)
        while True:
            left_s = max(0.0, (due_us - self._clock.boottime_us()) / 1e6)
            await (self._sleep(left_s) if self._blocks is None else self._blocks.wait(left_s))
            now_us = self._clock.boottime_us()
            if now_us - self._heard_us > self._silence_s * 1e6:
                if not clock_refused:
                    raise SourceLost(f"no data for {self._silence_s:g} s")
                await link.read([CURRENT_TIME])  # raises where the session is dead; all there is to ask here
                self._heard_us = now_us
            if refused and now_us - self._asked_us > AGAIN_S * 1e6:
                refused = await self._subscribe(link, [at for at in refused if at < len(self._nodes)], "")
                self._asked_us = now_us
            self._sweep(emit, due=now_us >= due_us)
            due_us = self._next(due_us) if now_us >= due_us else due_us

    async def _subscribe(self, link: OpcuaLink, which: list[int], also: str) -> set[int]:
        """Which of the nodes (and, as one more, `also`) the server refuses; they are Bad with its reason."""
        if not which:
            return set()

        def heard(place: int, sample: Sample) -> None:
            self._heard_us = self._clock.boottime_us()
            if place < len(which):
                self._take(which[place], sample)

        nodes = [self._nodes[at] for at in which] + ([also] if also else [])
        refused = await link.subscribe(nodes, heard, every_s=float(self._options.every))
        for place, reason in refused.items():
            if place < len(which):
                now_us, wall_us = self._clock.boottime_us(), 0
                self._latest.put(
                    which[place], math.nan, received_us=now_us, source_us=wall_us, quality=BAD, reason=reason
                )
        return {which[place] if place < len(which) else len(self._nodes) for place in refused}

    def _take(self, at: int, sample: Sample) -> None:
        if at == 0 and self._blocks is not None:
            self._blocks.put(sample)
        else:
            self._put(at, sample)

    def _put(self, at: int, sample: Sample) -> None:
        tag, value, blob = self._options.tags[at], 0.0, None
        quality, reason = sample.quality, sample.reason
        try:
            if tag.kind == "number":
                value = number(sample.raw) * tag.scale + tag.offset
            elif tag.kind == "waveform":
                blob = waveform(sample.raw, scale=tag.scale, offset=tag.offset)
            else:
                blob = image(sample.raw)
        except Missing as missing:
            value, quality, reason = math.nan, BAD, reason or str(missing)
        now_us = self._clock.boottime_us()
        told_us = self._clock.wall_us() if sample.source_us is None else sample.source_us
        self._latest.put(at, value, received_us=now_us, source_us=told_us, quality=quality, reason=reason, blob=blob)

    def _sweep(self, emit: Emit, *, due: bool) -> None:
        """What leaves now: the newest values at their pace, or each waveform once; a Bad one is told at the pace."""
        now_us = self._clock.boottime_us()
        if self._blocks is None:
            if due:
                self._leave(emit, now_us)
            return
        while (block := self._blocks.take()) is not None:
            self._block_us = now_us
            self._put(0, block)
            if self._latest.usable(0):
                self._leave(emit, now_us)
        if now_us - self._block_us > self._silence_s * 1e6:
            self._latest.spoil(0, f"nothing new for {self._silence_s:g} s")
        if due and not self._latest.usable(0):
            self._leave(emit, now_us)

    def _leave(self, emit: Emit, now_us: int) -> None:
        emit(self._device.mark(self._latest.frame(now_us=now_us)))

    def _next(self, due_us: int) -> int:
        """When the sweep after that is due. Being late costs a sweep, and is not caught up."""
        return max(due_us + round(self._options.every * 1e6), self._clock.boottime_us())


def create(section: Section, context: SourceContext) -> Opcua:
    """The source of a section."""
    assert isinstance(section.options, OpcuaOptions)
    return Opcua(section.id, section.options, context)
