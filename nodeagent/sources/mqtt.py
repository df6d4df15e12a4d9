"""`type = "mqtt"`: values that a broker carries, as plain numbers, inside JSON or as images, by MQTT 3.1.1 or 5."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec

from nodeagent.frame import BAD, GOOD, UNCERTAIN
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.section import Section
from nodeagent.sources.arrays import WAITING_MAX, Kind, image, leads, waveform
from nodeagent.sources.json_path import Missing, find, number, parse, time_us
from nodeagent.sources.mqtt_link import Heard, Listener
from nodeagent.sources.source import SourceContext, unique
from nodeagent.sources.subscription import BrokerOptions, BrokerSource

RETAINED: Final = "retained by the broker, age unknown"
PAYLOAD_BYTES_MAX: Final = 1 << 20


class Tag(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value. `path`: where it lies in a JSON payload, such as flow.value; without it the payload is the number.

    `kind`: a number; a waveform, a JSON list of numbers; or an image, a payload that is a PNG, JPEG, PGM or PPM. The
    last two come first. `time`: the path of the device's own time; `scale` and `offset` make units of it.
    """

    name: str
    topic: str = ""
    kind: Kind = "number"
    path: str = ""
    time: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        parse(self.path), parse(self.time)
        if self.kind == "image" and (self.path or self.time):
            raise ValueError(f"the tag {self.name!r} is an image: the whole payload, without 'path' and 'time'")


class MqttOptions(BrokerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`topics` is by tag and goes before what the tag says: it is what a node's binding brings.

    Where the first tag is a waveform or an image, a sweep leaves with each of its messages. `sample_rate`: in Hz.
    """

    tags: tuple[Tag, ...]
    topics: dict[str, str] = msgspec.field(default_factory=dict)
    sample_rate: Annotated[float, msgspec.Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        unique([tag.name for tag in self.tags], self.topics)
        if leads(self.tags) and self.every is not None:
            raise ValueError(f"without 'every': a sweep leaves with each message of {self.tags[0].name!r}")
        for tag in self.tags:
            topic = self.topics.get(tag.name, tag.topic)
            if not topic or any(sign in topic for sign in "+#\0"):
                raise ValueError(f"the tag {tag.name!r} has one topic, without + or #, here or in the binding")


OPTIONS = MqttOptions


class Mqtt(BrokerSource):
    """The source. A payload that is not what its tag expects makes that tag Bad and leaves the others alone."""

    type = "mqtt"

    def __init__(
        self,
        id: str,  # noqa: A002
        options: MqttOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(id, options, context, sleep)
        self._by_topic: dict[str, list[tuple[int, Tag]]] = {}
        for at, tag in enumerate(options.tags):
            self._by_topic.setdefault(options.topics.get(tag.name, tag.topic), []).append((at, tag))
        self._paths = [(parse(tag.path), parse(tag.time)) for tag in options.tags]
        self._leads = leads(options.tags)
        if self._leads:
            self.waiting_max = WAITING_MAX  # each may be large

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._by_topic)

    async def begin(self, link: Listener) -> None:
        """Nothing to ask for: the broker speaks by itself."""

    async def take(self, heard: Heard, link: Listener) -> bool:
        """The samples of one message."""
        tags = self._by_topic.get(heard.topic)
        if tags is None:
            return False
        document: object = None
        broken = ""
        if any(tag.kind != "image" for _, tag in tags):
            try:
                document = _document(heard.payload, plain=all(_is_plain(tag) for _, tag in tags))
            except Missing as missing:
                broken = str(missing)
        for at, tag in tags:
            await self._put(at, tag, heard, document, broken)
        return not self._leads or tags[0][0] == 0

    async def _put(self, at: int, tag: Tag, heard: Heard, document: object, broken: str) -> None:
        received_us, source_us = self._clock.boottime_us(), self._clock.wall_us()
        quality, reason = (UNCERTAIN, RETAINED) if heard.retained else (GOOD, "")
        path, time = self._paths[at]
        value, blob = 0.0, None
        try:
            if tag.kind == "image":
                blob = await asyncio.to_thread(image, heard.payload)
            elif broken:
                raise Missing(broken)
            elif tag.kind == "waveform":
                blob = waveform(find(document, path), scale=tag.scale, offset=tag.offset)
            else:
                value = number(find(document, path)) * tag.scale + tag.offset
            if time:
                source_us = time_us(find(document, time))
        except Missing as missing:
            value, quality, reason = math.nan, BAD, str(missing)
        self.latest.put(
            at, value, received_us=received_us, source_us=source_us, quality=quality, reason=reason, blob=blob
        )


def _is_plain(tag: Tag) -> bool:
    return tag.kind == "number" and not (tag.path or tag.time)


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
