"""The life of a Sparkplug B edge node: death as the will, birth first, data by alias, history by name and flagged.

`seq` runs 0 to 255 from each birth, and `bdSeq` ties a death to its birth (Sparkplug 3.0 sections 5 and 6.4). A host
that lost track asks for a rebirth. Aliases live as long as a birth, so that history, which may outlive one, has names.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import msgspec

from nodeagent.clock import Clock
from nodeagent.sinks.broker import Broker, BrokerRefused, Will
from nodeagent.sinks.pulse import Pulse
from nodeagent.sinks.sparkplug_payload import Kind, metric, payload
from nodeagent.sources.sparkplug_payload import Undecodable, decode
from store.outbox import Stored

NAMESPACE: Final = "spBv1.0"
REBIRTH: Final = "Node Control/Rebirth"
REBIRTH_S_MIN: Final = 1.0
# The specification knows Good, Bad and stale: what is Uncertain here is most often held, and must not read as Good.
QUALITIES: Final = {"Good": 192, "Uncertain": 500, "Bad": 0}


class Signal(NamedTuple):
    """One metric of the edge node: its place in the birth is its alias."""

    name: str
    kind: Kind


SIGNALS: Final = (
    Signal("score", "Double"),
    Signal("decision", "String"),
    Signal("alarm", "Boolean"),
    Signal("label", "String"),
    Signal("reason", "String"),
    Signal("revision", "Int64"),
    Signal("digest", "String"),
)

# What is told of the bundle itself, where that is wanted: behind the others, so that their aliases stay what they are.
BEATS: Final = (
    Signal("heartbeat", "Int64"),
    Signal("work", "String"),
    Signal("code", "Int64"),
    Signal("alive", "Boolean"),
    Signal("why", "String"),
)


class SparkplugSpeech:
    """What one edge node says. `folder` stands before the names of its metrics; `beats`: its pulse is among them."""

    def __init__(self, group: str, edge: str, folder: str, clock: Clock, *, beats: bool = False) -> None:
        self.births_total = 0
        self._topic = f"{NAMESPACE}/{group}/{{}}/{edge}"
        self._folder = folder
        self._clock = clock
        self._seq = 0
        self._birth = clock.boottime_us() // 1_000_000 % 256  # a worker that restarts is not its predecessor
        self._last: dict[str, Any] = {}
        self._asked = self._born = False
        self._beat: dict[str, Any] = {}
        self._beaten = False
        self._news = asyncio.Event()
        self._signals = SIGNALS + BEATS if beats else SIGNALS

    def saw(self, fields: dict[str, Any]) -> None:
        """The newest outcome: what a birth tells as the value now."""
        self._last = fields

    def will(self) -> Will:
        self._birth = (self._birth + 1) % 256
        self._born = False
        return Will(self._topic.format("NDEATH"), self._death(), retain=False)

    async def hello(self, broker: Broker) -> None:
        await broker.subscribe(self._topic.format("NCMD"))
        await self._be_born(broker)

    async def farewell(self, broker: Broker) -> None:
        await broker.publish(self._topic.format("NDEATH"), self._death(), qos=1)

    async def converse(self, broker: Broker) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._beaten and self._born:
                self._beaten = False
                await broker.publish(self._topic.format("NDATA"), self._pulse(), qos=0)
            if self._asked:
                self._asked = False
                await self._be_born(broker)
                await asyncio.sleep(REBIRTH_S_MIN)

    def heard(self, payload: bytes) -> None:
        try:
            said = decode(payload)
        except Undecodable:
            return  # a command that nobody can read asks for nothing
        if any(each.name == REBIRTH and each.value for each in said.metrics):
            self._asked = True
            self._news.set()

    def pulse(self, beat: Pulse) -> None:
        self._beat, self._beaten = beat.fields(), True
        self._news.set()

    def words(self, stored: Stored, *, late: bool) -> tuple[str, bytes]:
        try:
            fields = msgspec.json.decode(stored.message.payload, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise BrokerRefused(f"not an outcome: {error}") from error
        at_ms = fields["wall_us"] // 1000
        metrics = [self._metric(number, fields, at_ms, by_name=late, historical=late) for number in range(len(SIGNALS))]
        return self._topic.format("NDATA"), payload(metrics, at_ms=self._now_ms(), seq=self._next_seq())

    async def _be_born(self, broker: Broker) -> None:
        self._seq = 0
        now_ms = self._now_ms()
        metrics = [
            metric("Int64", self._birth, at_ms=now_ms, name="bdSeq"),
            metric("Boolean", False, at_ms=now_ms, name=REBIRTH),
            *(
                self._metric(number, self._last | self._beat, now_ms, by_name=True, aliased=True)
                for number in range(len(self._signals))
            ),
        ]
        birth = payload(metrics, at_ms=now_ms, seq=self._next_seq())
        self.births_total += 1
        await broker.publish(self._topic.format("NBIRTH"), birth, qos=0)
        self._born = True

    def _pulse(self) -> bytes:
        now_ms = self._now_ms()
        numbers = range(len(SIGNALS), len(self._signals))
        metrics = [self._metric(number, self._beat, now_ms, by_name=False) for number in numbers]
        return payload(metrics, at_ms=now_ms, seq=self._next_seq())

    def _death(self) -> bytes:
        now_ms = self._now_ms()
        return payload([metric("Int64", self._birth, at_ms=now_ms, name="bdSeq")], at_ms=now_ms, seq=None)

    def _metric(
        self,
        number: int,
        fields: dict[str, Any],
        at_ms: int,
        *,
        by_name: bool,
        aliased: bool = False,
        historical: bool = False,
    ) -> bytes:
        signal = self._signals[number]
        quality = QUALITIES.get(fields.get("quality", ""), 0) if signal.name == "score" else None
        return metric(
            signal.kind,
            fields.get(signal.name),
            at_ms=at_ms,
            name=f"{self._folder}/{signal.name}" if by_name else "",
            alias=None if by_name and not aliased else number,
            historical=historical,
            quality=quality,
        )

    def _next_seq(self) -> int:
        seq = self._seq
        self._seq = (seq + 1) % 256
        return seq

    def _now_ms(self) -> int:
        return self._clock.wall_us() // 1000
