"""`type = "modbus.write"`: a decision into a register of a PLC, inside the guard that the node's binding sets.

Nothing is written in dry run, which is the default: the telemetry says what would be. Armed are a deployment and the
node's local switch together; then the register follows the decision, and `safe` brings it to the safe value at once.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.outcome import IDLE, Outcome
from nodeagent.pipeline.section import Section
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.ending import ended
from nodeagent.sinks.modbus_writer import ModbusWriter, state_of
from nodeagent.sinks.sink import SinkContext, SinkFailed
from nodeagent.sinks.write_guard import Guard
from nodeagent.sources.modbus_link import ModbusLink, endpoint
from nodeagent.sources.registers import TYPES, Item, address, encode, order_for


class ModbusWriteOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`value` while the alarm or the decision `when` stands, `safe` otherwise and whenever outputs are held."""

    url: str
    register: str
    when: str
    value: float
    guard: Guard
    safe: float = 0.0
    type: str = "uint16"
    order: str = "ABCD"
    unit_id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    timeout: Seconds = Seconds(1.0)

    def __post_init__(self) -> None:
        endpoint(self.url)
        written = item(self)
        for name in ("value", "safe"):
            number: float = getattr(self, name)
            if not self.guard.low <= number <= self.guard.high:
                raise ValueError(f"{name!r} lies outside the guard's limits")
            encode(written, number)
        if self.guard.heartbeat and (
            address(self.guard.heartbeat).table != "holding" or self.guard.heartbeat == self.register
        ):
            raise ValueError("the guard's 'heartbeat' is a holding register of its own")


OPTIONS = ModbusWriteOptions


def item(options: ModbusWriteOptions) -> Item:
    """The register as an item. Raises ValueError for one that is not writable."""
    place = address(options.register)
    if place.table not in ("holding", "coil") or place.bit is not None:
        raise ValueError(f"{options.register} cannot be written; holding registers and coils can")
    kind = "bool" if place.table == "coil" else options.type
    if kind != "bool" and kind not in TYPES:
        raise ValueError(f"there is no type {kind!r}; there are {', '.join(TYPES)}")
    order = "" if kind == "bool" else order_for(options.order, TYPES[kind][1])
    return Item(options.register, place, kind, order)


class ModbusWrite:
    """The sink. `allow_is_bound`: the allow-list stands in the node's binding."""

    def __init__(self, options: ModbusWriteOptions, context: SinkContext, *, allow_is_bound: bool) -> None:
        self.options = options
        self.would_write_total = 0
        self._clock = context.clock
        self._allow_is_bound = allow_is_bound
        self._refusal = self._refusal_when(armed=context.write_back == "armed")
        self._writer = self._new_writer()
        self._task: asyncio.Task[None] | None = None
        self._running = False
        self._standing: bool | None = None

    @property
    def armed(self) -> bool:
        """Whether this sink writes to the plant."""
        return not self._refusal

    async def start(self) -> None:
        self._running = True
        self._start_writer()

    async def arm(self, on: bool) -> None:
        """The next valid decision is the first that is written. Raises SinkFailed as `safe` does."""
        if (refusal := self._refusal_when(armed=on)) == self._refusal:
            return
        try:
            if self.armed:
                await self.safe()
        finally:
            await self._end_writer()
            self._refusal, self._writer = refusal, self._new_writer()
            if self._running:
                self._start_writer()

    def offer(self, outcome: Outcome) -> None:
        o = self.options
        if not outcome.valid:
            if outcome.decision == IDLE:
                self._writer.alive()
            return
        standing = outcome.alarm if o.when == "alarm" else outcome.decision == o.when
        self.would_write_total += self._standing is not None and standing != self._standing
        self._standing = standing
        self._writer.want(o.value if standing else o.safe)

    async def safe(self) -> None:
        """Brings the register to its safe value where this sink is armed. Raises SinkFailed."""
        if self.armed:
            await self._writer.write_now(self.options.safe)
        elif not self._refusal.startswith("dry run"):
            raise SinkFailed(self._refusal)

    async def close(self) -> None:
        """Lets the connection go; the register stays as it is."""
        self._running = False
        await self._end_writer()

    def telemetry(self) -> SinkTelemetry:
        writer = self._writer if self.armed else None
        return SinkTelemetry(
            type="modbus.write",
            state="down" if self._fault() else state_of(writer, running=self._running),
            delivered_total=self._writer.written_total,
            waiting=int(self.armed and self._writer.behind),
            dropped_total=self._writer.refused_total,
            reason=self._told(),
        )

    def _told(self) -> str:
        o, writer = self.options, self._writer
        if fault := self._fault():
            return fault
        if self.armed:
            value = "not known" if writer.reads is None else f"{writer.reads:g}"
            return f"armed; {writer.reason}" if writer.reason else f"armed; {o.register} reads {value}"
        if self._standing is None:
            return self._refusal
        return f"{self._refusal}; would write {o.value if self._standing else o.safe:g} to {o.register}"

    def _fault(self) -> str:
        """What ended the writer, which nothing should."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return ""
        return f"the writer ended: {self._task.exception()!r}"

    def _refusal_when(self, *, armed: bool) -> str:
        o = self.options
        return o.guard.refusal(o.register, armed=armed, allow_is_bound=self._allow_is_bound)

    def _new_writer(self) -> ModbusWriter:
        o = self.options
        return ModbusWriter(self._connect, item(o), o.guard, self._clock, safe=o.safe)

    def _start_writer(self) -> None:
        if self.armed:
            self._task = asyncio.create_task(self._writer.run(), name=f"write {self.options.register}")

    async def _end_writer(self) -> None:
        if self._task is not None:
            await ended(self._task)
            self._task = None
            await self._writer.close()

    async def _connect(self) -> ModbusLink:
        o = self.options
        return await ModbusLink.open(o.url, unit_id=o.unit_id, timeout_s=float(o.timeout))


def create(section: Section, context: SinkContext) -> ModbusWrite:
    """The sink of a section."""
    assert isinstance(section.options, ModbusWriteOptions)
    return ModbusWrite(section.options, context, allow_is_bound=section.is_bound("guard", "allow"))
