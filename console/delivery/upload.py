"""Blobs to a node: from the byte where the last transfer ended, in pieces that suit the link, with a rate."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import BinaryIO

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.link.errors import LinkError
from console.transfer.budget import Budget
from nodeagent.protocol import CHUNK_BYTES_MAX, BlobState

PIECE_BYTES_MIN = 64 << 10
PIECE_BYTES_FIRST = 256 << 10
PIECE_S = 1.0
GROWTH = 4.0
GROWTH_LOSSY = 1.05
PIECE_TIMEOUT_S = 120.0
RATE_WINDOW_S = 5.0
FAILURES_MAX = 6
PAUSE_S = 1.0


class Meter:
    """How fast bytes went in the last RATE_WINDOW_S, and how long the rest will take."""

    def __init__(
        self, total_bytes: int, done_bytes: int = 0, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.total_bytes, self.done_bytes = total_bytes, done_bytes
        self._monotonic = monotonic
        self._points: deque[tuple[float, int]] = deque([(monotonic(), done_bytes)])

    def add(self, count: int) -> None:
        """`count` more bytes are there."""
        now_s = self._monotonic()
        self.done_bytes += count
        self._points.append((now_s, self.done_bytes))
        while len(self._points) > 2 and now_s - self._points[0][0] > RATE_WINDOW_S:
            self._points.popleft()

    @property
    def rate(self) -> float | None:
        """Bytes a second; None: not known yet."""
        (first_s, first), (last_s, last) = self._points[0], self._points[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s and last > first else None

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest takes at this rate; None: not known yet."""
        rate = self.rate
        return (self.total_bytes - self.done_bytes) / rate if rate else None


def next_piece_bytes(piece_bytes: int, took_s: float, *, lossy: bool = False) -> int:
    """Pieces of about a second: on a radio small enough to lose little, on a cable large enough to cost nothing.

    They grow fast, but slowly on a link that was cut before: what is on its way at a cut is sent again.
    """
    growth = GROWTH_LOSSY if lossy else GROWTH
    fitting = piece_bytes * growth if took_s <= 0 else piece_bytes * PIECE_S / took_s
    return max(PIECE_BYTES_MIN, min(CHUNK_BYTES_MAX, int(piece_bytes * growth), int(fitting)))


async def upload(
    client: AgentClient,
    digest: str,
    reader: BinaryIO,
    total_bytes: int,
    *,
    meter: Meter,
    on_piece: Callable[[], Awaitable[None]],
    budget: Budget | None = None,
) -> BlobState:
    """Brings one blob over and returns its state, complete. `reader` seeks; `on_piece` runs after each piece.

    After a loss it asks the node where to go on, at most FAILURES_MAX times without progress. Raises LinkError,
    AgentError.
    """
    state = await blob_state(client, digest)
    meter.add(state.received_bytes)
    piece_bytes, failures, lossy = PIECE_BYTES_FIRST, 0, False
    while not state.complete:
        if budget is not None:
            piece_bytes = min(piece_bytes, budget.piece_bytes_max)
        data = await asyncio.to_thread(_read_at, reader, state.received_bytes, piece_bytes)
        if budget is not None:
            await budget.take(len(data))
        started_s = time.monotonic()
        try:
            later = await client.put_blob(
                digest, offset=state.received_bytes, total=total_bytes, data=data, timeout_s=PIECE_TIMEOUT_S
            )
        except (LinkError, AgentError) as error:
            failures += 1
            if failures > FAILURES_MAX or not _may_go_on(error):
                raise
            await asyncio.sleep(PAUSE_S * (failures - 1))
            later = await _state_after_loss(client, digest, error)
            piece_bytes, lossy = max(PIECE_BYTES_MIN, piece_bytes // 2), True
            if later.received_bytes > state.received_bytes:
                failures = 0
        else:
            failures = 0
            piece_bytes = next_piece_bytes(piece_bytes, time.monotonic() - started_s, lossy=lossy)
        meter.add(later.received_bytes - state.received_bytes)
        state = later
        await on_piece()
    return state


def _may_go_on(error: LinkError | AgentError) -> bool:
    return isinstance(error, LinkError) or error.error.code in ("BLOB.OFFSET", "LIMIT.BUSY")


async def _state_after_loss(client: AgentClient, digest: str, error: LinkError | AgentError) -> BlobState:
    """What the node holds; where it is still out of reach, the loss itself is what happened."""
    try:
        return await blob_state(client, digest)
    except LinkError:
        raise error from None


async def blob_state(client: AgentClient, digest: str) -> BlobState:
    """How much of a blob the node holds; of one that it never heard of, nothing."""
    try:
        return await client.blob(digest)
    except AgentError as error:
        if error.error.code != "BLOB.UNKNOWN":
            raise
        return BlobState(digest=digest, received_bytes=0, complete=False)


def _read_at(reader: BinaryIO, offset: int, count: int) -> bytes:
    reader.seek(offset)
    return reader.read(count)
