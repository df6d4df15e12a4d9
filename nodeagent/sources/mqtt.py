"""`type = "mqtt"`: values that a broker carries, as plain numbers or inside JSON, by MQTT 3.1.1 or 5."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from nodeagent.frame import BAD, GOOD, UNCERTAIN
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.section import Section
from nodeagent.sources.json_path import Missing, find, number, parse, time_us
from nodeagent.sources.latest import Latest
from nodeagent.sources.mqtt_link import Heard, Listener
from nodeagent.sources.source import Emit, SourceContext
from nodeagent.sources.subscription import BrokerOptions, Subscription

RETAINED: Final = "retained by the broker, age unknown"
PAYLOAD_BYTES_MAX: Final = 1 << 20


class Tag(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value. `path`: where it lies in a JSON payload, such as flow.value; without it the payload is the number.

    `time`: the path of the device's own time; `scale` and `offset` make units of it.
    """

    name: str
    topic: str = ""
    path: str = ""
    time: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


class MqttOptions(BrokerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`topics` is by tag and goes before what the tag says: it is what a node's binding brings."""

    tags: tuple[Tag, ...]
    topics: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [tag.name for tag in self.tags]
        if len(set(names)) != len(names) or not names:
            raise ValueError("each tag has a name of its own, and there is at least one")
        for name in self.topics:
            if name not in names:
                raise ValueError(f"there is no tag {name!r}; there is: {', '.join(names)}")
        for tag in self.tags:
            topic = self.topics.get(tag.name, tag.topic)
            if not topic or any(sign in topic for sign in "+#\0"):
                raise ValueError(f"the tag {tag.name!r} has one topic, without + or #, here or in the binding")
            parse(tag.path), parse(tag.time)

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return tuple(tag.name for tag in self.tags)


OPTIONS = MqttOptions


class Mqtt:
    """The source. A payload that is not what its tag expects makes that tag Bad and leaves the others alone."""

    type = "mqtt"
    silence_s: float | None = None  # the subscription looks after it, since sweeps come whether or not data does
    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        options: MqttOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.names = options.tag_names(id)
        self.period_s = None if options.every is None else float(options.every)
        self.latest = Latest(self.names, id, max_age_s=float(options.max_age or options.silence))
        self._clock = context.clock
        self._subscription = Subscription(id, options, self.latest, context.clock, sleep)
        self._by_topic: dict[str, list[tuple[int, Tag]]] = {}
        for at, tag in enumerate(options.tags):
            self._by_topic.setdefault(options.topics.get(tag.name, tag.topic), []).append((at, tag))
        self._paths = [(parse(tag.path), parse(tag.time)) for tag in options.tags]
        self.topics = tuple(self._by_topic)

    @property
    def bad_items(self) -> list[str]:
        discarded = self._subscription.discarded_total
        lost = [f"{discarded} messages came too fast and were discarded"] if discarded else []
        return lost + self.latest.bad_items

    async def run(self, emit: Emit) -> None:
        await self._subscription.run(self, emit)

    async def begin(self, link: Listener) -> None:
        """Nothing to ask for: the broker speaks by itself."""

    async def take(self, heard: Heard, link: Listener) -> bool:
        """The samples of one message."""
        tags = self._by_topic.get(heard.topic)
        if tags is None:
            return False
        received_us, wall_us = self._clock.boottime_us(), self._clock.wall_us()
        try:
            document = self._document(heard.payload, plain=not any(tag.path or tag.time for _, tag in tags))
        except Missing as missing:
            for at, _ in tags:
                self.latest.put(
                    at, float("nan"), received_us=received_us, source_us=wall_us, quality=BAD, reason=str(missing)
                )
            return True
        quality, reason = (UNCERTAIN, RETAINED) if heard.retained else (GOOD, "")
        for at, tag in tags:
            path, time = self._paths[at]
            value, source_us, worst, why = float("nan"), wall_us, quality, reason
            try:
                value = number(find(document, path)) * tag.scale + tag.offset
                if time:
                    source_us = time_us(find(document, time))
            except Missing as missing:
                worst, why = BAD, str(missing)
            self.latest.put(at, value, received_us=received_us, source_us=source_us, quality=worst, reason=why)
        return True

    @staticmethod
    def _document(payload: bytes, *, plain: bool) -> object:
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise Missing(f"a payload of {len(payload)} bytes")
        try:
            return payload.decode() if plain else msgspec.json.decode(payload)
        except UnicodeDecodeError:
            raise Missing("a payload that is no text") from None
        except (msgspec.DecodeError, RecursionError):
            raise Missing("a payload that is no JSON") from None


def create(section: Section, context: SourceContext) -> Mqtt:
    """The source of a section."""
    assert isinstance(section.options, MqttOptions)
    return Mqtt(section.id, section.options, context)
