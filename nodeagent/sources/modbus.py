"""`type = "modbus"`: polls a Modbus device or serial line in blocks; one bad item never stops the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec

from nodeagent.frame import BAD, Floats, Frame, good
from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sources.modbus_link import LinkLost, ModbusLink, endpoint
from nodeagent.sources.modbus_poll import Poll
from nodeagent.sources.registers import TYPES, Item, address, order_for
from nodeagent.sources.source import Emit, SourceContext, SourceLost, SourceOptions, unique

SILENCE_S_MIN: Final = 3.0
Tables = dict[str, str]
Numbers = dict[str, float]


class Tag(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value to read. `register`: holding:8, input:0, coil:3, discrete:4, or a bit holding:5.3.

    `unit_id`: of another device on the same line than the source's.
    """

    name: str
    register: str = ""
    type: str = ""
    order: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    unit_id: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None


class ModbusOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Registers that lie within `max_gap` of each other are read in one request of at most `block_max`.

    `registers`, `types`, `orders`, `scale`, `offset` and `serials` are by tag and go before what the tag says: they are
    what a node's binding brings. `silence`: without an answer for so long the connection is made anew.
    """

    url: str
    tags: tuple[Tag, ...]
    unit_id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    poll: Seconds = Seconds(1.0)
    timeout: Seconds = Seconds(1.0)
    pause: Seconds = Seconds(0.0)
    silence: Seconds | None = None
    order: str = "ABCD"
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=124)] = 8
    block_max: Annotated[int, msgspec.Meta(ge=4, le=2000)] = 124
    registers: Tables = msgspec.field(default_factory=dict)
    types: Tables = msgspec.field(default_factory=dict)
    orders: Tables = msgspec.field(default_factory=dict)
    scale: Numbers = msgspec.field(default_factory=dict)
    offset: Numbers = msgspec.field(default_factory=dict)
    serials: Tables = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.poll <= 0 or self.timeout <= 0:
            raise ValueError("'poll' and 'timeout' are longer than nothing")
        by_tag = (self.registers, self.types, self.orders, self.scale, self.offset, self.serials)
        unique([tag.name for tag in self.tags], *by_tag)
        endpoint(self.url)
        items(self)

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return tuple(tag.name for tag in self.tags)


OPTIONS = ModbusOptions


def items(options: ModbusOptions) -> list[Item]:
    """What is to be read, the binding's tables before the tags' own words. Raises ValueError naming the tag."""
    return [_item(options, tag) for tag in options.tags]


def _item(options: ModbusOptions, tag: Tag) -> Item:
    register = options.registers.get(tag.name, tag.register)
    if not register:
        raise ValueError(f"the tag {tag.name!r} has no register, here or in the binding")
    try:
        place = address(register)
        is_bit = place.is_bit_table or place.bit is not None
        kind = options.types.get(tag.name, tag.type) or ("bool" if is_bit else "")
        if (kind == "bool") != is_bit or (kind != "bool" and kind not in TYPES):
            known = "bool" if is_bit else ", ".join(TYPES)
            raise ValueError(f"the type of {register} is {known}, and not {kind!r}")
        order = "" if is_bit else order_for(options.orders.get(tag.name, tag.order) or options.order, TYPES[kind][1])
    except ValueError as error:
        raise ValueError(f"tag {tag.name!r}: {error}") from error
    scale, offset = options.scale.get(tag.name, tag.scale), options.offset.get(tag.name, tag.offset)
    return Item(tag.name, place, kind, order, scale, offset, tag.unit_id)


class Modbus:
    """The source. What the device refuses is parked, listed in `bad_items`, and asked for again a minute later."""

    def __init__(
        self,
        id: str,  # noqa: A002
        options: ModbusOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.type = "modbus"
        self.names = options.tag_names(id)
        self.period_s: float | None = float(options.poll)
        patience_s = max(5 * options.poll, 6 * options.timeout, SILENCE_S_MIN)
        self.silence_s: float | None = float(options.silence or patience_s)
        self._options = options
        self._clock = context.clock
        self._sleep = sleep
        self._poll = Poll(
            items(options),
            self._open,
            context.clock,
            sleep,
            max_gap=options.max_gap,
            block_max=options.block_max,
            pause_s=float(options.pause),
        )

    @property
    def bad_items(self) -> list[str]:
        return self._poll.bad_items

    @property
    def renewals(self) -> int:
        return self._poll.renewals

    async def run(self, emit: Emit) -> None:
        try:
            await self._poll.connect()
            due_us = self._clock.boottime_us()
            while True:
                emit(self._frame(*await self._poll.sweep()))
                due_us += round(self._options.poll * 1e6)
                now_us = self._clock.boottime_us()
                if now_us > due_us:  # slower than the poll: the next one now, and none to catch up with
                    due_us = now_us
                await self._sleep((due_us - now_us) / 1e6)
        except LinkLost as lost:
            raise SourceLost(str(lost)) from lost
        finally:
            self._poll.drop()

    def _frame(self, values: Floats, reasons: dict[int, str]) -> Frame:
        wall_us, now_us = self._clock.wall_us(), self._clock.boottime_us()
        frame = good(self.names, values, source_us=wall_us, received_us=now_us, source=self.id)
        frame.reasons.update({at: reason for at, reason in reasons.items() if frame.quality[at] == BAD})
        return frame

    async def _open(self) -> ModbusLink:
        o = self._options
        return await ModbusLink.open(o.url, unit_id=o.unit_id, timeout_s=float(o.timeout))


def create(section: Section, context: SourceContext) -> Modbus:
    """The source of a section."""
    assert isinstance(section.options, ModbusOptions)
    return Modbus(section.id, section.options, context)
