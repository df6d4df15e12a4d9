"""A node's clock against ours, measured over the link by the middle of the round trip (as NTP, RFC 5905 section 8).

The answer was made somewhere between the request and its arrival, so half the round trip bounds the error. The shortest
of a few round trips is the best one. Our own clock is taken as right: it is the axis on which everything is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from console.client.client import AgentClient
from nodeagent.protocol import ClockReading, ClockSet, Record

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Offset:
    """The node's wall clock minus ours is `seconds`, to within `error_s`. `may_set`: whether its agent could set it."""

    seconds: float
    error_s: float
    may_set: bool

    @property
    def is_seen(self) -> bool:
        """Whether it is larger than what the measurement could be wrong by."""
        return abs(self.seconds) > self.error_s


def offset_of(sent_s: float, got_s: float, reading: ClockReading) -> Offset:
    """One round trip by our wall clock: the middle of it against what the node read."""
    return Offset(reading.wall_us / 1e6 - (sent_s + got_s) / 2, (got_s - sent_s) / 2, reading.may_set)


async def measure(client: AgentClient, *, rounds: int = ROUNDS, now_s: Callable[[], float] = time.time) -> Offset:
    """The best of a few round trips. Raises LinkError, AgentError."""
    best: Offset | None = None
    for _ in range(rounds):
        sent_s = now_s()
        reading = await client.clock()
        found = offset_of(sent_s, now_s(), reading)
        if best is None or 0 <= found.error_s < best.error_s:
            best = found
    assert best is not None
    return best


async def give(
    client: AgentClient, measured: Offset, *, lease: int, only_note: bool, now_s: Callable[[], float] = time.time
) -> ClockSet:
    """Gives the node our time as it will be when the request arrives. Raises AgentError CLOCK.*, LinkError."""
    return await client.give_clock(
        wall_us=round((now_s() + measured.error_s) * 1e6),
        error_us=round(measured.error_s * 1e6),
        lease=lease,
        only_note=only_note,
    )


def made_us(record: Record, offset_s: float | None = None) -> int:
    """When a record was made, on our axis: as the node re-timed it, else its raw time less the node's offset of now."""
    if record.at_us is not None:
        return record.at_us
    return record.wall_us - round((offset_s or 0.0) * 1e6)
