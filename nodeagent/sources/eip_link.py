"""One connection to an EtherNet/IP controller: the border to pylogix, which blocks, so that its calls have a thread."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import pylogix  # type: ignore[import-untyped, unused-ignore]  # has no types

from nodeagent.sources.eip_options import Endpoint
from nodeagent.sources.json_path import Missing, number
from nodeagent.sources.lane import Lane
from nodeagent.sources.polled import Answer, ItemLinkLost

AGAIN_SWEEPS: Final = 60
_OF_THE_LINK: Final = (
    "connection",
    "timed out",
    "timeout",
    "unable to connect",
    "unknown error",
    "broken pipe",
    "errno",
    "no route",
)


class EipLink:
    """An open connection. Tags that the controller does not have are parked, since one alone slows all the others."""

    def __init__(self, lane: Lane, plc: Any, tags: Sequence[str]) -> None:
        self._lane = lane
        self._plc = plc
        self._tags = tags
        self._parked: dict[int, tuple[int, str]] = {}
        self._sweep = 0

    @classmethod
    async def open(cls, where: Endpoint, tags: Sequence[str], *, timeout_s: float) -> EipLink:
        """The library connects at the first question. Raises nothing; the first `read` raises ItemLinkLost."""
        plc: Any = pylogix.PLC(where.host, slot=where.slot, timeout=timeout_s, port=where.port)
        return cls(Lane("eip", timeout_s * 2), plc, tags)

    async def facts(self) -> dict[str, str]:
        """Product, revision and serial number, where the controller tells them."""
        answer = await self._asked(self._plc.GetDeviceProperties)
        device = answer.Value
        names = {"product": "ProductName", "revision": "Revision", "serial": "SerialNumber"}
        told = {name: str(getattr(device, field, "") or "") for name, field in names.items()}
        return {name: word for name, word in told.items() if word}

    async def read(self) -> list[Answer]:
        """All tags, in order. Raises ItemLinkLost."""
        self._sweep += 1
        self._parked = {at: entry for at, entry in self._parked.items() if entry[0] > self._sweep}
        answers = [Answer(math.nan, self._parked[at][1] if at in self._parked else "") for at in range(len(self._tags))]
        wanted = [at for at in range(len(self._tags)) if at not in self._parked]
        if not wanted:
            return answers
        found = await self._asked(self._plc.Read, [self._tags[at] for at in wanted])
        if len(found) != len(wanted):
            raise ItemLinkLost(f"{len(found)} values came for {len(wanted)}")
        for at, each in zip(wanted, found, strict=True):
            answers[at] = self._answer(at, str(each.Status), each.Value)
        return answers

    async def tags(self) -> list[tuple[str, str]]:
        """Names and types of the controller's tags. Raises ItemLinkLost."""
        try:
            answer = await self._asked(self._plc.GetTagList)
        except ItemLinkLost as lost:
            raise ItemLinkLost(f"the controller gives no list of its tags ({lost}); name one with --at") from lost
        if answer.Status != "Success" or answer.Value is None:
            raise ItemLinkLost(f"the controller gives no list of its tags: {answer.Status}; name one with --at")
        return [(str(each.TagName), str(each.DataType)) for each in answer.Value]

    async def _asked(self, ask: Callable[..., Any], *words: object) -> Any:
        """What the library answers. Of an answer that is shorter than it thinks it lets out what its unpacking says."""
        try:
            return await self._lane.call(ask, *words)
        except (OSError, TimeoutError) as error:
            raise ItemLinkLost(f"no answer: {_why(error)}") from error
        except (struct.error, LookupError, TypeError, ValueError, AttributeError) as error:
            raise ItemLinkLost("an answer that is none, or one that the library does not know") from error

    def _answer(self, at: int, status: str, value: object) -> Answer:
        if status != "Success":
            if any(word in status.lower() for word in _OF_THE_LINK):
                raise ItemLinkLost(status)
            self._parked[at] = (self._sweep + AGAIN_SWEEPS, status)
            return Answer(math.nan, status)
        try:
            return Answer(number(value))
        except Missing as missing:
            return Answer(math.nan, str(missing))

    def close(self) -> None:
        self._lane.close(self._end)

    def _end(self) -> None:
        """The library leaves a socket open that it made for messages, and its own where it never connected."""
        self._plc.Close()
        for each in (self._plc.conn.Socket, self._plc.conn.msg_socket):
            each.close()


def _why(error: BaseException) -> str:
    return "timeout" if isinstance(error, TimeoutError) else (str(error) or type(error).__name__)[:160]
