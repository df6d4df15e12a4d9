"""`type = "modbus.write"`: a decision into a register of a PLC, inside the guard that the node's binding sets.

This version says what it would write and writes the safe value alone: `safe` brings an armed register to it and reads
it back. Nothing is written in dry run, which is the default, nor outside `guard.allow` and its limits.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.sink import SinkContext, SinkFailed
from nodeagent.sources.modbus_link import DeviceRefused, LinkLost, ModbusLink, endpoint
from nodeagent.sources.registers import TYPES, Decoder, Item, address, encode, order_for, plan


class Guard(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be written where. `allow` is the node's word: a bundle cannot widen it past its binding."""

    allow: tuple[str, ...] = ()
    low: float
    high: float
    dry_run: bool = True
    max_per_hour: Annotated[int, msgspec.Meta(ge=1)] = 60
    verify_readback: bool = True
    heartbeat: str = ""


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
    """The sink."""

    def __init__(self, options: ModbusWriteOptions, context: SinkContext) -> None:
        self.options = options
        self.would_write_total = 0
        self._armed = context.write_back == "armed" and not options.guard.dry_run
        self._running = False
        self._standing = False
        self._reason = ""

    async def start(self) -> None:
        self._running = True

    def offer(self, outcome: Outcome) -> None:
        o = self.options
        if not outcome.valid:
            return
        standing = outcome.alarm if o.when == "alarm" else outcome.decision == o.when
        if standing != self._standing:
            self._standing = standing
            self.would_write_total += 1
            self._reason = f"would write {o.value if standing else o.safe:g} to {o.register}"

    async def safe(self) -> None:
        """Brings an armed register to its safe value. Raises SinkFailed."""
        o = self.options
        if not self._armed:
            return
        if o.register not in o.guard.allow:
            raise SinkFailed(f"{o.register} is not among what the binding allows to write")
        try:
            link = await ModbusLink.open(o.url, unit_id=o.unit_id, timeout_s=float(o.timeout))
            try:
                await self._write(link, o.safe)
            finally:
                link.close()
        except (LinkLost, DeviceRefused) as error:
            raise SinkFailed(f"write {o.safe:g} to {o.register}: {error}") from error

    async def close(self) -> None:
        self._running = False

    def telemetry(self) -> SinkTelemetry:
        how = "armed for the safe value only" if self._armed else "dry run"
        return SinkTelemetry(
            type="modbus.write",
            state="up" if self._running else "stopped",
            reason=f"{how}; {self._reason}" if self._reason else how,
        )

    async def _write(self, link: ModbusLink, value: float) -> None:
        written = item(self.options)
        await link.write(written.address, encode(written, value))
        if self.options.guard.verify_readback:
            (block,) = plan([written], max_gap=0, block_max=4)
            found = float(Decoder([written], block).decode(await link.read(block))[0])
            if found != value:
                raise SinkFailed(f"{self.options.register} reads {found:g} after {value:g} was written")


def create(section: Section, context: SinkContext) -> ModbusWrite:
    """The sink of a section."""
    assert isinstance(section.options, ModbusWriteOptions)
    return ModbusWrite(section.options, context)
