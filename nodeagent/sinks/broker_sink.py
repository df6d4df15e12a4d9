"""What the sinks have in common that deliver to an MQTT broker: options, outbox, courier, how they start and end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.broker import Login, endpoint
from nodeagent.sinks.ending import ended
from nodeagent.sinks.mailbag import OUTBOX_FILE, Mailbag
from nodeagent.sinks.message import Wanted, When
from nodeagent.sinks.mqtt_courier import Courier, Speech
from nodeagent.sinks.pulse import Pulse
from nodeagent.sinks.sink import SinkContext
from store.outbox import Outbox


class BrokerOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`when`: what is sent. `bytes_max`, `age_max`: what may wait. `heartbeat`: how often the pulse is told."""

    url: str
    qos: Literal[0, 1] = 1
    when: When = "all"
    heartbeat: Seconds | None = None
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
        if self.keepalive < 1:
            raise ValueError("'keepalive' is 1s or longer")
        if self.heartbeat is not None and self.heartbeat < 1:
            raise ValueError("'heartbeat' is 1s or longer")


class BrokerSink:
    """A mailbag that a courier carries. `place` names it in tasks and outbox; `client` is its name at the broker."""

    def __init__(
        self,
        type: str,  # noqa: A002
        options: BrokerOptions,
        context: SinkContext,
        *,
        place: str,
        client: str,
        speech: Speech,
    ) -> None:
        self.type = type
        self._place = place
        self._limits = options
        self._context = context
        self._wanted = Wanted(options.when)
        self._speech = speech
        self._bag = Mailbag(self._open_outbox if options.qos == 1 else None)
        self._courier = Courier(
            self._bag,
            options.url,
            Login(client, options.username, options.password, options.ca_file),
            speech=speech,
            qos=options.qos,
            keepalive_s=round(options.keepalive),
            timeout_s=float(options.timeout),
            replay_per_s=options.replay_per_s,
        )
        self._told_us = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._bag.run(), name=f"{self.type} outbox {self._place}"),
            asyncio.create_task(self._courier.run(), name=f"{self.type} {self._place}"),
        ]

    def pulse(self, beat: Pulse) -> None:
        """Live only: a beat that finds no broker is none."""
        every, now_us = self._limits.heartbeat, self._context.clock.boottime_us()
        if every is not None and now_us - self._told_us >= every * 1e6 - 1e5:
            self._told_us = now_us
            self._speech.pulse(beat)

    async def safe(self) -> None:
        """Nothing: a message moves no machine."""

    async def close(self) -> None:
        """Says goodbye and stops; what is not delivered is in the outbox when this returns."""
        for task in self._tasks[1:]:
            await ended(task)
        await self._bag.close()
        for task in self._tasks[:1]:
            await ended(task)
        self._tasks = []

    def telemetry(self) -> SinkTelemetry:
        state: Literal["up", "down", "stopped"] = "up" if self._courier.connected else "down"
        return SinkTelemetry(
            type=self.type,
            state=state if self._tasks else "stopped",
            delivered_total=self._courier.delivered_total,
            waiting=self._bag.waiting,
            dropped_total=self._bag.dropped_total,
            reason=self._bag.reason or self._courier.reason,
        )

    def _open_outbox(self) -> Outbox:
        o, clock = self._limits, self._context.clock
        return Outbox(
            Path(self._context.work_dir) / OUTBOX_FILE,
            f"{self.type} {self._place}",
            bytes_max=o.bytes_max,
            age_s_max=float(o.age_max),
            boot_id=clock.boot_id(),
            boottime_us=clock.boottime_us,
        )
