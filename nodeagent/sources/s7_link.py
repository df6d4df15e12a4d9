"""One connection to an S7 controller: the border to python-snap7, which blocks, so that its calls have a thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import snap7
from snap7.error import S7ConnectionError, S7Error, S7TimeoutError
from snap7.type import Area

from nodeagent.sources.lane import Lane
from nodeagent.sources.polled import Answer, ItemLinkLost
from nodeagent.sources.s7_address import Block, Place, decode, plan
from nodeagent.sources.s7_options import Endpoint

AREAS: Final[dict[str, Any]] = {"DB": Area.DB, "M": Area.MK, "I": Area.PE, "Q": Area.PA}
AGAIN_SWEEPS: Final = 60


class S7Link:
    """An open connection. What the controller refuses is read item by item, parked, and asked again later."""

    def __init__(self, lane: Lane, client: Any, places: Sequence[Place], max_gap: int) -> None:
        self._lane = lane
        self._client = client
        self._places = places
        self._max_gap = max_gap
        self._parked: dict[int, tuple[int, str]] = {}
        self._sweep = 0

    @classmethod
    async def open(cls, where: Endpoint, places: Sequence[Place], *, timeout_s: float, max_gap: int) -> S7Link:
        """Connects. Raises ItemLinkLost."""
        lane = Lane("s7", timeout_s)
        client: Any = snap7.Client()
        link = cls(lane, client, places, max_gap)
        try:
            await lane.call(client.connect, where.host, where.rack, where.slot, where.port, times=2)
        except (S7Error, OSError, RuntimeError, TimeoutError) as error:
            link.close()
            raise ItemLinkLost(f"{where.host}:{where.port}: {_why(error)}") from error
        except BaseException:
            link.close()
            raise
        return link

    async def facts(self) -> dict[str, str]:
        """Module, type and order number, where the controller tells them. Raises ItemLinkLost."""
        told: dict[str, str] = {}
        for ask, names in (
            (self._client.get_cpu_info, {"module": "ModuleTypeName", "serial": "SerialNumber"}),
            (self._client.get_order_code, {"order code": "OrderCode"}),
        ):
            try:
                answer = await self._lane.call(ask)
            except (S7ConnectionError, S7TimeoutError, OSError, TimeoutError) as error:
                raise ItemLinkLost(f"no answer: {_why(error)}") from error
            except (S7Error, RuntimeError, ValueError):
                continue  # small controllers do not tell
            for name, field in names.items():
                word = getattr(answer, field, b"")
                text = word.decode("latin-1") if isinstance(word, bytes) else str(word)
                if text.strip("\0 "):
                    told[name] = text.strip("\0 ")
        return told

    async def read(self) -> list[Answer]:
        """All places, in order. Raises ItemLinkLost."""
        self._sweep += 1
        self._parked = {at: entry for at, entry in self._parked.items() if entry[0] > self._sweep}
        answers = [
            Answer(math.nan, self._parked[at][1] if at in self._parked else "") for at in range(len(self._places))
        ]
        wanted = [at for at in range(len(self._places)) if at not in self._parked]
        for block in plan([self._places[at] for at in wanted], self._max_gap):
            await self._block(block, [wanted[item] for item in block.items], answers)
        return answers

    async def read_whole(self) -> list[Answer]:
        """All places where they are one block, or its refusal for each. Raises ItemLinkLost."""
        (block,) = plan(self._places, self._max_gap)
        try:
            data = await self._bytes(block)
        except _Refused as refused:
            return [Answer(math.nan, str(refused))] * len(self._places)
        return [Answer(decode(each, block, data)) for each in self._places]

    async def _block(self, block: Block, items: Sequence[int], answers: list[Answer]) -> None:
        try:
            data = await self._bytes(block)
        except _Refused as refused:
            if len(items) > 1:
                for at in items:
                    ((single),) = plan([self._places[at]], 0)
                    await self._block(single, [at], answers)
                return
            self._parked[items[0]] = (self._sweep + AGAIN_SWEEPS, str(refused))
            answers[items[0]] = Answer(math.nan, str(refused))
            return
        for at in items:
            answers[at] = Answer(decode(self._places[at], block, data))

    async def _bytes(self, block: Block) -> bytes:
        try:
            data = await self._lane.call(self._client.read_area, AREAS[block.area], block.db, block.byte, block.length)
        except (S7ConnectionError, S7TimeoutError, OSError, TimeoutError) as error:
            raise ItemLinkLost(f"no answer: {_why(error)}") from error
        except (S7Error, RuntimeError, ValueError) as error:
            raise _Refused(_why(error)) from error
        if len(data) != block.length:
            raise _Refused(f"{len(data)} bytes came for {block.length}")
        return bytes(data)

    def close(self) -> None:
        self._lane.close(self._client.disconnect)


class _Refused(Exception):
    """The controller answered that it has no such thing."""


def _why(error: BaseException) -> str:
    return "timeout" if isinstance(error, TimeoutError | S7TimeoutError) else (str(error) or type(error).__name__)[:160]
