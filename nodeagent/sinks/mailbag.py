"""Messages between the pipeline, the outbox and the courier: nothing blocks the loop, and nothing is lost unseen."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from store.errors import StoreError
from store.outbox import Message, Outbox, Stored, Tally

OUTBOX_FILE: Final = "outbox.db"
INCOMING_MAX: Final = 10_000
LIVE_MAX: Final = 256
_NOT_KEPT: Final = 0
Result = TypeVar("Result")


class Mailbag:
    """Takes messages at once, keeps them in the outbox a batch at a time, and hands out the live ones first.

    Without an outbox (QoS 0) the newest LIVE_MAX are held in memory and older ones are dropped. With one, a message
    that cannot be kept because of the disk goes the same way, with the reason shown.
    """

    def __init__(self, open_outbox: Callable[[], Outbox] | None) -> None:
        self.reason = ""
        self._open_outbox = open_outbox
        self._outbox: Outbox | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._incoming: collections.deque[Message] = collections.deque()
        self._live: collections.deque[Stored] = collections.deque()
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()
        self._order = asyncio.Lock()
        self._tally = Tally(0, 0, 0, 0)
        self._dropped_total = 0
        self._being_kept = 0

    @property
    def waiting(self) -> int:
        """How many are not delivered yet."""
        unkept = sum(1 for stored in self._live if stored.seq == _NOT_KEPT)
        return self._tally.waiting_rows + len(self._incoming) + self._being_kept + unkept

    @property
    def dropped_total(self) -> int:
        """How many never will be: no place, too old, or refused by the other end."""
        return self._dropped_total + self._tally.dropped_total + self._tally.rejected_total

    def put(self, message: Message) -> None:
        """Takes a message; the oldest goes where there is no place, and is counted."""
        if len(self._incoming) >= INCOMING_MAX:
            self._incoming.popleft()
            self._dropped_total += 1
        self._incoming.append(message)
        self._arrived.set()

    async def run(self) -> None:
        """Keeps what arrives, until cancelled."""
        await self._in_thread(lambda outbox: None)
        while True:
            await self._arrived.wait()
            await self._keep()

    async def close(self) -> None:
        """Keeps what has arrived, and closes the outbox."""
        await self._keep()
        self._dropped_total += sum(1 for stored in self._live if stored.seq == _NOT_KEPT)
        self._live.clear()
        if self._outbox is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._outbox.close)
            self._outbox = None
        self._thread.shutdown(wait=False)

    def live(self, limit: int) -> list[Stored]:
        """The newest arrivals, in order; empty where there are none."""
        return [self._live.popleft() for _ in range(min(limit, len(self._live)))]

    async def history(self, limit: int) -> list[Stored]:
        """The oldest that wait and are not live."""
        async with self._order:
            newest = next((stored.seq for stored in self._live if stored.seq != _NOT_KEPT), None)
            found = await self._in_thread(lambda outbox: outbox.oldest(limit))
            return [stored for stored in found or [] if newest is None or stored.seq < newest]

    def give_back(self, stored: Sequence[Stored]) -> None:
        """These were not delivered. Kept ones are history now; the others go back to their place."""
        self._live.extendleft(each for each in reversed(stored) if each.seq == _NOT_KEPT)

    async def wanted(self, timeout_s: float | None) -> None:
        """Waits until there is something live, or `timeout_s`."""
        self._wanted.clear()
        if self._live:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wanted.wait()

    async def acknowledge(self, stored: Sequence[Stored]) -> None:
        """The other end has these."""
        seqs = [each.seq for each in stored if each.seq != _NOT_KEPT]
        if seqs:
            await self._in_thread(lambda outbox: outbox.acknowledge(seqs))

    async def reject(self, stored: Stored, reason: str) -> None:
        """The other end will never take this one."""
        if stored.seq == _NOT_KEPT:
            self._dropped_total += 1
        else:
            await self._in_thread(lambda outbox: outbox.reject(stored.seq, reason))

    async def _keep(self) -> None:
        async with self._order:
            self._arrived.clear()
            batch = list(self._incoming)
            self._incoming.clear()
            if not batch:
                return
            self._being_kept = len(batch)
            try:
                seqs = await self._in_thread(lambda outbox: outbox.append(batch)) or [_NOT_KEPT] * len(batch)
            finally:
                self._being_kept = 0
            self._live.extend(Stored(seq, message) for seq, message in zip(seqs, batch, strict=True))
            while len(self._live) > LIVE_MAX:  # what is kept becomes history; what is not is lost
                self._dropped_total += self._live.popleft().seq == _NOT_KEPT
            self._wanted.set()

    async def _in_thread(self, work: Callable[[Outbox], Result]) -> Result | None:
        """`work` on the outbox in its thread; None where there is no outbox, or its disk does not let us."""
        if self._open_outbox is None:
            return None
        try:
            result, self._tally = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)
        except StoreError as error:
            self.reason = f"not kept: {error}"
            return None
        self.reason = ""
        return result

    def _work(self, work: Callable[[Outbox], Result]) -> tuple[Result, Tally]:
        if self._outbox is None:
            assert self._open_outbox is not None
            self._outbox = self._open_outbox()
        try:
            return work(self._outbox), self._outbox.tally()
        except StoreError:
            self._outbox.close()
            self._outbox = None
            raise
