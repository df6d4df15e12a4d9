"""`type = "sparkplug"`: the metrics of one Sparkplug B edge node and its devices, as a listener that commands nothing
but a rebirth, which it asks for where it cannot read what comes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from nodeagent.frame import BAD, GOOD, UNCERTAIN
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.section import Section
from nodeagent.sources.json_path import Missing, number
from nodeagent.sources.mqtt_link import Heard, Listener
from nodeagent.sources.source import SourceContext, unique
from nodeagent.sources.sparkplug_edge import Change, Dead, Edge
from nodeagent.sources.sparkplug_payload import QUALITY_BAD, QUALITY_GOOD, Undecodable, decode, rebirth
from nodeagent.sources.subscription import BrokerOptions, BrokerSource

REBIRTH_S_MIN: Final = 10.0
NAMESPACE: Final = "spBv1.0"


class Tag(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One metric, of a device or (left out) of the edge node itself."""

    name: str
    metric: str = ""
    device: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


class SparkplugOptions(BrokerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`group` and `edge` name the edge node. `metrics` is by tag and goes before what the tag says (a binding's)."""

    group: str
    edge: str
    tags: tuple[Tag, ...]
    metrics: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        unique([tag.name for tag in self.tags], self.metrics)
        for tag in self.tags:
            if not self.metrics.get(tag.name, tag.metric):
                raise ValueError(f"the tag {tag.name!r} has no metric, here or in the binding")
        for word in (self.group, self.edge, *(tag.device for tag in self.tags)):
            if any(sign in word for sign in "+#/"):
                raise ValueError(f"{word!r} holds no + # or /")


OPTIONS = SparkplugOptions


class Sparkplug(BrokerSource):
    """The source. A death makes its tags Bad; history that comes late is counted and is no live value."""

    type = "sparkplug"

    def __init__(
        self,
        id: str,  # noqa: A002
        options: SparkplugOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(id, options, context, sleep)
        self._options = options
        self._tags: dict[tuple[str, str], list[tuple[int, Tag]]] = {}
        for at, tag in enumerate(options.tags):
            self._tags.setdefault((tag.device, options.metrics.get(tag.name, tag.metric)), []).append((at, tag))
        self._edge = Edge()
        self._asked_us: int | None = None

    @property
    def bad_items(self) -> list[str]:
        late = self._edge.historical_total
        return ([f"{late} values of history were left out"] if late else []) + super().bad_items

    @property
    def topics(self) -> tuple[str, ...]:
        o = self._options
        own = tuple(f"{NAMESPACE}/{o.group}/{kind}/{o.edge}" for kind in ("NBIRTH", "NDATA", "NDEATH"))
        return own + tuple(f"{NAMESPACE}/{o.group}/{kind}/{o.edge}/+" for kind in ("DBIRTH", "DDATA", "DDEATH"))

    async def begin(self, link: Listener) -> None:
        """Births are not retained: who comes later asks for one."""
        self._edge = Edge(historical_total=self._edge.historical_total)
        self._asked_us = None
        await self._ask_for_birth(link)

    async def take(self, heard: Heard, link: Listener) -> bool:
        """The samples of one message."""
        parts = heard.topic.split("/")
        if heard.retained or len(parts) < 4:
            return False
        try:
            payload = decode(heard.payload)
        except Undecodable:
            self._edge.wants_birth = True
            await self._ask_for_birth(link)
            return False
        changes = self._edge.take(parts[2], parts[4] if len(parts) > 4 else "", payload)
        for change in changes:
            if isinstance(change, Dead):
                self._dead(change)
            else:
                self._changed(change)
        await self._ask_for_birth(link)
        return bool(changes)

    def _changed(self, change: Change) -> None:
        metric = change.metric
        for at, tag in self._tags.get((change.device, change.name), ()):
            quality, reason, value = GOOD, "", math.nan
            if metric.quality == QUALITY_BAD:
                quality, reason = BAD, "Bad by the edge node"
            elif metric.quality != QUALITY_GOOD:
                quality, reason = UNCERTAIN, f"quality {metric.quality} by the edge node"
            try:
                value = number(metric.value) * tag.scale + tag.offset
            except Missing as missing:
                quality, reason = BAD, str(missing)
            now_us = self._clock.boottime_us()
            told_us = self._clock.wall_us() if change.timestamp_ms is None else change.timestamp_ms * 1_000
            self.latest.put(at, value, received_us=now_us, source_us=told_us, quality=quality, reason=reason)

    def _dead(self, dead: Dead) -> None:
        for (device, _), tags in self._tags.items():
            if dead.device in ("", device):
                for at, _ in tags:
                    self.latest.spoil(at, dead.reason)

    async def _ask_for_birth(self, link: Listener) -> None:
        now_us = self._clock.boottime_us()
        if not self._edge.wants_birth or (self._asked_us is not None and now_us - self._asked_us < REBIRTH_S_MIN * 1e6):
            return
        self._asked_us = now_us
        topic = f"{NAMESPACE}/{self._options.group}/NCMD/{self._options.edge}"
        await link.publish(topic, rebirth(self._clock.wall_us() // 1_000))


def create(section: Section, context: SourceContext) -> Sparkplug:
    """The source of a section."""
    assert isinstance(section.options, SparkplugOptions)
    return Sparkplug(section.id, section.options, context)
