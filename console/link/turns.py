"""Whose turn it is to log in: a thousand logins at once would each be too slow for its deadline, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE_MAX = 32
TURN_S = 1.0


class Turns:
    """A login begins when fewer than `at_once_max` have a turn. A turn ends with the login, or after `turn_s`.

    So logins are as many as the machine can answer in time, and nodes that do not answer, which wait for their whole
    deadline, hold the others up by no more than `turn_s`.
    """

    def __init__(self, at_once_max: int = AT_ONCE_MAX, turn_s: float = TURN_S) -> None:
        self._free = asyncio.Semaphore(at_once_max)
        self.turn_s = turn_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn; the block may outlast it."""
        await self._free.acquire()
        held = True

        def end() -> None:
            nonlocal held
            if held:
                held = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self.turn_s, end)
        try:
            yield
        finally:
            timer.cancel()
            end()
