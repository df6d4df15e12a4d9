"""`type = "modbus.write"`: a decision into a holding register or a coil of a PLC, inside the guard of the binding."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Final, TypeVar

import msgspec

from nodeagent.pipeline.section import Section
from nodeagent.sinks.sink import SinkContext
from nodeagent.sinks.writable import Writable, WriteLost, WriteRefused
from nodeagent.sinks.write_back import WriteBack, WriteOptions
from nodeagent.sources.modbus_link import DeviceRefused, LinkLost, ModbusLink, endpoint
from nodeagent.sources.registers import TYPES, Decoder, Item, address, encode, order_for, plan

COUNTER_MAX: Final = 1 << 16
T = TypeVar("T")


class ModbusWriteOptions(WriteOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`register` of the device `unit_id`, written as `type` in `order`."""

    url: str
    register: str
    type: str = "uint16"
    order: str = "ABCD"
    unit_id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1

    def __post_init__(self) -> None:
        endpoint(self.url)
        written = item(self)
        self.check_limits()
        for number in (self.value, self.safe):
            encode(written, number)
        for beside in (self.guard.heartbeat, self.guard.state):
            if beside and address(beside).table != "holding":
                raise ValueError("the guard's 'heartbeat' and 'state' are holding registers")

    @property
    def place(self) -> str:
        return self.register


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


class Register:
    """A register over an open connection."""

    def __init__(self, link: ModbusLink, item: Item, heartbeat: str, state: str) -> None:
        self._link = link
        self._item = item
        self._heartbeat = heartbeat
        self._state = state
        (self._block,) = plan([item], max_gap=0, block_max=4)
        self._decoder = Decoder([item], self._block)

    async def read(self) -> float:
        return float(self._decoder.decode(await _asked(self._link.read(self._block)))[0])

    async def write(self, value: float) -> None:
        await _asked(self._link.write(self._item.address, encode(self._item, value)))

    def reads_as(self, value: float) -> float:
        return float(self._decoder.decode(encode(self._item, value))[0])

    async def beat(self, count: int) -> None:
        await _asked(self._link.write(address(self._heartbeat), [count % COUNTER_MAX]))

    async def tell(self, code: int) -> None:
        await _asked(self._link.write(address(self._state), [code]))

    async def close(self) -> None:
        self._link.close()


async def _asked(work: Awaitable[T]) -> T:
    try:
        return await work
    except LinkLost as error:
        raise WriteLost(str(error)) from error
    except DeviceRefused as error:
        raise WriteRefused(str(error)) from error


def create(section: Section, context: SinkContext) -> WriteBack:
    """The sink of a section."""
    assert isinstance(section.options, ModbusWriteOptions)
    return sink(section.options, context, allow_is_bound=section.is_bound("guard", "allow"))


def sink(options: ModbusWriteOptions, context: SinkContext, *, allow_is_bound: bool) -> WriteBack:
    """Writes by `options`. `allow_is_bound`: the allow-list stands in the node's binding."""

    async def connect() -> Writable:
        o = options
        link = await _asked(ModbusLink.open(o.url, unit_id=o.unit_id, timeout_s=float(o.timeout)))
        return Register(link, item(o), o.guard.heartbeat, o.guard.state)

    return WriteBack("modbus.write", options, context, connect, allow_is_bound=allow_is_bound)
