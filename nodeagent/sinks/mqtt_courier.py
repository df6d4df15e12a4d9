"""Carries a mailbag to an MQTT broker, over one connection after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from nodeagent.sinks.broker import Broker, BrokerLost, BrokerRefused, Login
from nodeagent.sinks.ending import ended
from nodeagent.sinks.mailbag import Mailbag
from nodeagent.sinks.message import late as late_form
from store.outbox import Stored

IN_FLIGHT_MAX: Final = 8
BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 15.0
ONLINE, STOPPED, OFFLINE = b'{"state":"online"}', b'{"state":"stopped"}', b'{"state":"offline"}'


class Courier:
    """Connects, says that it is there, and delivers: live first, then history at `replay_per_s`."""

    def __init__(
        self,
        bag: Mailbag,
        url: str,
        login: Login,
        *,
        state_topic: str,
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
        self._state_topic = state_topic
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
            will=(self._state_topic, OFFLINE),
            keepalive_s=self._keepalive_s,
            timeout_s=self._timeout_s,
            in_flight_max=IN_FLIGHT_MAX,
        )
        work = asyncio.create_task(self._deliver(broker), name="mqtt deliver")
        end = asyncio.create_task(broker.lost(), name="mqtt connection")
        try:
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            raise BrokerLost(end.result() if end.done() else "disconnected")
        finally:
            self.connected = False
            await ended(work)
            await ended(end)
            await self._farewell(broker)

    async def _farewell(self, broker: Broker) -> None:
        """Where the connection still stands, the plant reads `stopped` and not the will's `offline`."""
        try:
            async with asyncio.timeout(1.0):
                await broker.publish(self._state_topic, STOPPED, qos=1, retain=True)
        except (BrokerLost, BrokerRefused, TimeoutError):
            self.connected = False
        await broker.close()

    async def _deliver(self, broker: Broker) -> None:
        await broker.publish(self._state_topic, ONLINE, qos=1, retain=True)
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
            payload = late_form(stored.message.payload) if late else stored.message.payload
            try:
                await broker.publish(stored.message.topic, payload, qos=self._qos)
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
