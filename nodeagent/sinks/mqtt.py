"""`type = "mqtt"`: every outcome to a broker. With QoS 1 it leaves the outbox on the broker's PUBACK and not before.

Live goes before history: after a time without the broker the newest is sent at once and the rest follows, slowly.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.broker import Login, endpoint
from nodeagent.sinks.ending import ended
from nodeagent.sinks.mailbag import OUTBOX_FILE, Mailbag
from nodeagent.sinks.message import Wanted, When, payload_of
from nodeagent.sinks.mqtt_courier import Courier, PlainSpeech
from nodeagent.sinks.sink import SinkContext
from store.outbox import Message, Outbox


class MqttOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`topic` may hold {asset}, {name} and {node}. `when`: what is sent. `bytes_max`, `age_max`: what may wait.

    The retained topic `state_topic` (left out: topic/state) says online, stopped, or by the will offline.
    """

    url: str
    topic: str = "outstation/{asset}/{name}"
    state_topic: str = ""
    qos: Literal[0, 1] = 1
    when: When = "all"
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    keepalive: Seconds = Seconds(15.0)
    timeout: Seconds = Seconds(5.0)
    replay_per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 100.0
    bytes_max: Annotated[int, msgspec.Meta(ge=4096)] = 64 << 20
    age_max: Seconds = Seconds(7 * 86_400.0)

    def __post_init__(self) -> None:
        endpoint(self.url)
        if any(sign in self.topic + self.state_topic for sign in "+#"):
            raise ValueError("a topic to publish to holds no + or #")
        if self.keepalive < 1:
            raise ValueError("'keepalive' is 1s or longer")

    def __repr__(self) -> str:
        return f"MqttOptions({self.url} {self.topic} qos={self.qos})"


OPTIONS = MqttOptions


class Mqtt:
    """The sink: makes messages of outcomes, keeps them in a mailbag, and lets a courier carry them."""

    def __init__(self, options: MqttOptions, context: SinkContext, *, number: int = 0) -> None:
        words = {"asset": context.asset, "name": context.pipeline, "node": context.node_id}
        self.topic = _filled(options.topic, words)
        self._options = options
        self._context = context
        self._wanted = Wanted(options.when)
        self._bag = Mailbag(self._open_outbox if options.qos == 1 else None)
        suffix = f"-{number}" if number else ""
        self._courier = Courier(
            self._bag,
            options.url,
            Login(f"{context.node_id}-{context.bundle}{suffix}", options.username, options.password, options.ca_file),
            speech=PlainSpeech(_filled(options.state_topic, words) or f"{self.topic}/state"),
            qos=options.qos,
            keepalive_s=round(options.keepalive),
            timeout_s=float(options.timeout),
            replay_per_s=options.replay_per_s,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._bag.run(), name=f"mqtt outbox {self.topic}"),
            asyncio.create_task(self._courier.run(), name=f"mqtt {self.topic}"),
        ]

    def offer(self, outcome: Outcome) -> None:
        if self._wanted.wants(outcome):
            self._bag.put(Message(self.topic, payload_of(outcome, self._context)))

    async def safe(self) -> None:
        """Nothing: a message moves no machine."""

    async def close(self) -> None:
        """Stops sending; what is not delivered is in the outbox when this returns."""
        for task in self._tasks[1:]:
            await ended(task)
        await self._bag.close()
        for task in self._tasks[:1]:
            await ended(task)
        self._tasks = []

    def telemetry(self) -> SinkTelemetry:
        state: Literal["up", "down", "stopped"] = "up" if self._courier.connected else "down"
        return SinkTelemetry(
            type="mqtt",
            state=state if self._tasks else "stopped",
            delivered_total=self._courier.delivered_total,
            waiting=self._bag.waiting,
            dropped_total=self._bag.dropped_total,
            reason=self._bag.reason or self._courier.reason,
        )

    def _open_outbox(self) -> Outbox:
        o, clock = self._options, self._context.clock
        return Outbox(
            Path(self._context.work_dir) / OUTBOX_FILE,
            f"mqtt {self.topic}",
            bytes_max=o.bytes_max,
            age_s_max=float(o.age_max),
            boot_id=clock.boot_id(),
            boottime_us=clock.boottime_us,
        )


def _filled(topic: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        topic = topic.replace(f"{{{word}}}", value)
    return topic


def create(section: Section, context: SinkContext) -> Mqtt:
    """The sink of a section."""
    assert isinstance(section.options, MqttOptions)
    number = section.path[1]
    assert isinstance(number, int)
    return Mqtt(section.options, context, number=number)
