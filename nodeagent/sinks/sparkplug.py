"""`type = "sparkplug"`: the node as a Sparkplug B edge node, for hosts such as SCADA that find its tags by its birth.

With `qos = 1`, which the specification does not have for data, a message leaves the outbox on the broker's PUBACK: a
broker that is frozen takes QoS 0 without a word. `qos = 0` follows the letter and keeps nothing for later.
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
from nodeagent.sinks.message import Wanted, When, fields_of
from nodeagent.sinks.mqtt_courier import Courier
from nodeagent.sinks.sink import SinkContext
from nodeagent.sinks.sparkplug_speech import SparkplugSpeech
from store.outbox import Message, Outbox


class SparkplugOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`edge` may hold {node} and {bundle}; an edge node is one connection, so two bundles are two of them."""

    url: str
    group: str
    edge: str = "{node}-{bundle}"
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
        if not self.group or not self.edge or any(sign in self.group + self.edge for sign in "+#/"):
            raise ValueError("'group' and 'edge' are words without + # and /")
        if self.keepalive < 1:
            raise ValueError("'keepalive' is 1s or longer")

    def __repr__(self) -> str:
        return f"SparkplugOptions({self.url} {self.group} {self.edge} qos={self.qos})"


OPTIONS = SparkplugOptions


class Sparkplug:
    """The sink: outcomes in a mailbag, and a courier that speaks Sparkplug."""

    def __init__(self, options: SparkplugOptions, context: SinkContext) -> None:
        self._options = options
        self._context = context
        self.edge = options.edge.replace("{node}", context.node_id).replace("{bundle}", context.bundle)
        self._wanted = Wanted(options.when)
        self._speech = SparkplugSpeech(options.group, self.edge, context.pipeline, context.clock)
        self._bag = Mailbag(self._open_outbox if options.qos == 1 else None)
        self._courier = Courier(
            self._bag,
            options.url,
            Login(self.edge, options.username, options.password, options.ca_file),
            speech=self._speech,
            qos=options.qos,
            keepalive_s=round(options.keepalive),
            timeout_s=float(options.timeout),
            replay_per_s=options.replay_per_s,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._bag.run(), name=f"sparkplug outbox {self.edge}"),
            asyncio.create_task(self._courier.run(), name=f"sparkplug {self.edge}"),
        ]

    def offer(self, outcome: Outcome) -> None:
        fields = fields_of(outcome, self._context)
        self._speech.saw(fields)
        if self._wanted.wants(outcome):
            self._bag.put(Message(self.edge, msgspec.json.encode(fields)))

    async def safe(self) -> None:
        """Nothing: a message moves no machine."""

    async def close(self) -> None:
        """Says NDEATH and stops; what is not delivered is in the outbox when this returns."""
        for task in self._tasks[1:]:
            await ended(task)
        await self._bag.close()
        for task in self._tasks[:1]:
            await ended(task)
        self._tasks = []

    def telemetry(self) -> SinkTelemetry:
        state: Literal["up", "down", "stopped"] = "up" if self._courier.connected else "down"
        return SinkTelemetry(
            type="sparkplug",
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
            f"sparkplug {o.group}/{self.edge}",
            bytes_max=o.bytes_max,
            age_s_max=float(o.age_max),
            boot_id=clock.boot_id(),
            boottime_us=clock.boottime_us,
        )


def create(section: Section, context: SinkContext) -> Sparkplug:
    """The sink of a section."""
    assert isinstance(section.options, SparkplugOptions)
    return Sparkplug(section.options, context)
