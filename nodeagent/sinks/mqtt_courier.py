"""Carries a mailbag to an MQTT broker, over one connection after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from nodeagent.sinks.broker import Broker, BrokerLost, BrokerRefused, Login, Will
from nodeagent.sinks.ending import ended
from nodeagent.sinks.mailbag import Mailbag
from nodeagent.sinks.message import late as late_form
from nodeagent.sinks.pulse import Pulse
from store.outbox import Stored

IN_FLIGHT_MAX: Final = 8
BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 15.0
ONLINE, STOPPED, OFFLINE = b'{"state":"online"}', b'{"state":"stopped"}', b'{"state":"offline"}'


class Speech(Protocol):
    """What is said over a connection: who we are, when we come and go, and how a message looks."""

    def will(self) -> Will:
        """What the broker says when we vanish. Asked before each connect."""

    async def hello(self, broker: Broker) -> None:
        """The first words of a connection. Raises BrokerLost or BrokerRefused."""

    async def farewell(self, broker: Broker) -> None:
        """The last words. Raises BrokerLost or BrokerRefused."""

    async def converse(self, broker: Broker) -> None:
        """Answers what was heard, until cancelled. Raises BrokerLost."""

    def heard(self, payload: bytes) -> None:
        """Somebody said something where `hello` subscribed."""

    def pulse(self, beat: Pulse) -> None:
        """How the bundle does, to be told over the connection that stands, if one does."""

    def words(self, stored: Stored, *, late: bool) -> tuple[str, bytes]:
        """Topic and payload of a message, at the moment it is sent. Raises BrokerRefused."""


class PlainSpeech:
    """JSON, and a retained topic that says online, stopped, or by the will offline."""

    def __init__(self, state_topic: str) -> None:
        self._state_topic = state_topic
        self._beat: Pulse | None = None
        self._beaten = asyncio.Event()

    def will(self) -> Will:
        return Will(self._state_topic, OFFLINE)

    async def hello(self, broker: Broker) -> None:
        await broker.publish(self._state_topic, ONLINE, qos=1, retain=True)

    async def farewell(self, broker: Broker) -> None:
        await broker.publish(self._state_topic, STOPPED, qos=1, retain=True)

    async def converse(self, broker: Broker) -> None:
        while True:
            await self._beaten.wait()
            self._beaten.clear()
            if self._beat is not None:
                told = msgspec.json.encode({"state": "online", **self._beat.fields()})
                await broker.publish(self._state_topic, told, qos=1, retain=True)

    def heard(self, payload: bytes) -> None:
        """Nothing was subscribed to."""

    def pulse(self, beat: Pulse) -> None:
        self._beat = beat
        self._beaten.set()

    def words(self, stored: Stored, *, late: bool) -> tuple[str, bytes]:
        topic, payload = stored.message
        return topic, late_form(payload) if late else payload


class Courier:
    """Connects, says that it is there, and delivers: live first, then history at `replay_per_s`."""

    def __init__(
        self,
        bag: Mailbag,
        url: str,
        login: Login,
        *,
        speech: Speech,
        qos: int,
        keepalive_s: int,
        timeout_s: float,
        replay_per_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.connected = False
        self.delivered_total = 0
        self.drops_total = 0
        self.reason = ""
        self._bag = bag
        self._url = url
        self._login = login
        self._speech = speech
        self._qos = qos
        self._keepalive_s = keepalive_s
        self._timeout_s = timeout_s
        self._replay_per_s = replay_per_s
        self._sleep = sleep
        self._jitter = jitter

    async def run(self) -> None:
        """Until cancelled."""
        backoff_s = BACKOFF_S_MIN
        while True:
            delivered = self.delivered_total
            try:
                await self._life()
            except BrokerLost as lost:
                self.drops_total += 1
                self.reason = str(lost)
            if self.delivered_total > delivered:
                backoff_s = BACKOFF_S_MIN
            await self._sleep(backoff_s * (0.5 + self._jitter()))
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def _life(self) -> None:
        """One connection. Raises BrokerLost when it ends."""
        broker = await Broker.open(
            self._url,
            self._login,
            will=self._speech.will(),
            keepalive_s=self._keepalive_s,
            timeout_s=self._timeout_s,
            in_flight_max=IN_FLIGHT_MAX,
        )
        work = asyncio.create_task(self._deliver(broker), name="mqtt deliver")
        end = asyncio.create_task(broker.lost(self._speech.heard), name="mqtt connection")
        talk = asyncio.create_task(self._speech.converse(broker), name="mqtt talk")
        try:
            await asyncio.wait({work, end, talk}, return_when=asyncio.FIRST_COMPLETED)
            for task in (work, talk):
                if task.done():
                    task.result()
            raise BrokerLost(end.result() if end.done() else "disconnected")
        finally:
            self.connected = False
            await ended(work)
            await ended(talk)
            await ended(end)
            await self._farewell(broker)

    async def _farewell(self, broker: Broker) -> None:
        """Where the connection still stands, the plant reads a goodbye and not the will."""
        try:
            async with asyncio.timeout(1.0):
                await self._speech.farewell(broker)
        except (BrokerLost, BrokerRefused, TimeoutError):
            self.connected = False
        await broker.close()

    async def _deliver(self, broker: Broker) -> None:
        await self._speech.hello(broker)
        self.connected = True
        self.reason = ""
        pause_s = 0.0
        while True:
            batch = self._bag.live(IN_FLIGHT_MAX)
            if batch:
                await self._publish(broker, batch, late=False)
                continue
            if pause_s:
                await self._bag.wanted(pause_s)
                pause_s = 0.0
                continue
            history = await self._bag.history(IN_FLIGHT_MAX)
            if history:
                await self._publish(broker, history, late=True)
                pause_s = len(history) / self._replay_per_s
            else:
                await self._bag.wanted(None)

    async def _publish(self, broker: Broker, batch: Sequence[Stored], *, late: bool) -> None:
        """Sends a batch at once and waits for every acknowledgement. Raises BrokerLost after noting those that came."""
        delivered: list[Stored] = []
        refused: list[tuple[Stored, str]] = []
        lost: list[BrokerLost] = []

        async def send(stored: Stored) -> None:
            try:
                topic, payload = self._speech.words(stored, late=late)
                await broker.publish(topic, payload, qos=self._qos)
                delivered.append(stored)
            except BrokerRefused as error:
                refused.append((stored, str(error)))
            except BrokerLost as error:
                lost.append(error)

        try:
            async with asyncio.TaskGroup() as group:
                for stored in batch:
                    group.create_task(send(stored))
        finally:
            self.delivered_total += len(delivered)
            settled = {id(stored) for stored in (*delivered, *(stored for stored, _ in refused))}
            self._bag.give_back([stored for stored in batch if id(stored) not in settled])
        await self._bag.acknowledge(delivered)
        for stored, why in refused:
            await self._bag.reject(stored, why)
        if lost:
            raise lost[0]
