"""One sweep over a Modbus device: block after block, and what to do with each that fails.

A fault of the link makes a new one and asks the same block once more: a reconnect must not skip it, or it is never
read. What the device itself refuses is found item by item and parked, so that the rest goes on at full pace.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import numpy as np

from nodeagent.clock import Clock
from nodeagent.frame import Floats
from nodeagent.sources.modbus_link import DeviceRefused, LinkLost, ModbusLink
from nodeagent.sources.registers import Block, Decoder, Item, plan

PARKED_S: Final = 60.0
RETRIED_PER_SWEEP: Final = 4
FAILURES_BEFORE_SEARCH: Final = 3
_WRONG_REQUEST: Final = (1, 2, 3)  # illegal function, address, value: the same request will never do
_DEVICE_FAILURE: Final = 4  # some devices say this where they mean an address


@dataclasses.dataclass
class _Sweep:
    values: Floats
    reasons: dict[int, str]


class Poll:
    """Reads all items again and again over links that `open_link` makes. One `sweep` at a time."""

    def __init__(
        self,
        items: Sequence[Item],
        open_link: Callable[[], Awaitable[ModbusLink]],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        *,
        max_gap: int,
        block_max: int,
        pause_s: float,
    ) -> None:
        self.renewals = 0
        self._items = items
        self._open_link = open_link
        self._clock = clock
        self._sleep = sleep
        self._max_gap = max_gap
        self._block_max = block_max
        self._pause_s = pause_s
        self._parked: dict[int, tuple[int, str]] = {}
        self._failures: dict[Block, int] = {}
        self._link: ModbusLink | None = None
        self._blocks: list[tuple[Block, Decoder]] = []
        self._replan()

    @property
    def bad_items(self) -> list[str]:
        """What is parked, and why."""
        return [f"{self._items[at].name}: {reason}" for at, (_, reason) in sorted(self._parked.items())]

    @property
    def blocks(self) -> list[Block]:
        """The requests of one sweep."""
        return [block for block, _ in self._blocks]

    async def connect(self) -> None:
        """Makes the link. Raises LinkLost."""
        self.drop()
        self._link = await self._open_link()

    def drop(self) -> None:
        """Gives the link up, if there is one."""
        if self._link is not None:
            self._link.close()
            self._link = None

    async def sweep(self) -> tuple[Floats, dict[int, str]]:
        """Values of all items, NaN where there is none, with the reasons by index. Raises LinkLost."""
        await self._ask_for_parked()
        sweep = _Sweep(np.full(len(self._items), np.nan), {at: reason for at, (_, reason) in self._parked.items()})
        for block, decoder in list(self._blocks):
            await self._take(block, decoder, sweep)
            if self._pause_s:
                await self._sleep(self._pause_s)
        return sweep.values, sweep.reasons

    async def _take(self, block: Block, decoder: Decoder, sweep: _Sweep) -> None:
        try:
            await self._read(block, decoder, sweep)
            return
        except DeviceRefused as refused:
            await self._refused(block, decoder, refused, sweep)
            return
        except LinkLost:
            await self._renew()
        try:
            await self._read(block, decoder, sweep)
        except DeviceRefused as refused:
            await self._refused(block, decoder, refused, sweep)
        except LinkLost as lost:
            await self._renew()
            await self._prove_another_answers(block)
            self._park(block.items, str(lost), sweep)

    async def _read(self, block: Block, decoder: Decoder, sweep: _Sweep) -> None:
        assert self._link is not None
        sweep.values[decoder.places] = decoder.decode(await self._link.read(block))
        self._failures.pop(block, None)

    async def _prove_another_answers(self, block: Block) -> None:
        """Otherwise it is not the block: the device is away. Raises LinkLost."""
        assert self._link is not None
        other = next((each for each in self.blocks if each != block), None)
        if other is None:
            raise LinkLost("no answer")
        try:
            await self._link.read(other)
        except DeviceRefused:
            return

    async def _refused(self, block: Block, decoder: Decoder, refused: DeviceRefused, sweep: _Sweep) -> None:
        """Again at once where it may pass, item by item where the request itself is wrong."""
        if refused.code not in _WRONG_REQUEST:
            try:
                await self._read(block, decoder, sweep)
                return
            except DeviceRefused as again:
                refused = again
            self._failures[block] = self._failures.get(block, 0) + 1
            if refused.code != _DEVICE_FAILURE or self._failures[block] < FAILURES_BEFORE_SEARCH:
                sweep.reasons.update(dict.fromkeys(block.items, str(refused)))
                return
        await self._search(block, refused, sweep)

    async def _search(self, block: Block, refused: DeviceRefused, sweep: _Sweep) -> None:
        """Finds what the device does not give. Where each item alone is fine, it is the gaps between them."""
        self._failures.pop(block, None)
        if len(block.items) == 1:
            self._park(block.items, str(refused), sweep)
            return
        refusals = [at for at in block.items if not await self._read_alone(at, sweep)]
        if not refusals:
            self._blocks = [entry for entry in self._blocks if entry[0] != block] + self._planned(block.items, 0)

    async def _read_alone(self, at: int, sweep: _Sweep) -> bool:
        """Whether the device gives this item; if not it is parked."""
        ((block, decoder),) = self._planned([at], 0)
        try:
            await self._read(block, decoder, sweep)
        except DeviceRefused as refused:
            self._park([at], str(refused), sweep)
            return False
        return True

    async def _ask_for_parked(self) -> None:
        """Those whose time is over, each alone: what is still bad costs one request and not a search."""
        now_us = self._clock.boottime_us()
        due = [at for at, (until_us, _) in self._parked.items() if until_us <= now_us][:RETRIED_PER_SWEEP]
        for at in due:
            del self._parked[at]
            await self._read_alone(at, _Sweep(np.full(len(self._items), np.nan), {}))
        if due:
            self._replan()

    def _park(self, which: Iterable[int], reason: str, sweep: _Sweep) -> None:
        until_us = self._clock.boottime_us() + round(PARKED_S * 1e6)
        for at in which:
            self._parked[at] = (until_us, reason)
            sweep.reasons[at] = reason
        self._replan()

    def _replan(self) -> None:
        self._blocks = self._planned(range(len(self._items)), self._max_gap)

    def _planned(self, among: Iterable[int], max_gap: int) -> list[tuple[Block, Decoder]]:
        wanted = set(among) - set(self._parked)
        without = [at for at in range(len(self._items)) if at not in wanted]
        blocks = plan(self._items, max_gap=max_gap, block_max=self._block_max, without=without)
        return [(block, Decoder(self._items, block)) for block in blocks]

    async def _renew(self) -> None:
        self.renewals += 1
        await self.connect()
