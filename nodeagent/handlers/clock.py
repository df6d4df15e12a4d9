"""The node's clock, as a console sees it and as a person may set it. Nothing on the node depends on it."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Callable

from nodeagent.api import Call, Endpoints
from nodeagent.clock import Clock
from nodeagent.http.message import HttpError
from nodeagent.protocol import ClockReading, ClockRequest, ClockSet
from nodeagent.state.database import NodeDatabase
from nodeagent.state.standing import Standing
from store import ledger
from store.ledger import Stamp
from store.node import axis, identity

ERROR_US_MAX = 60_000_000
_HINT = (
    "The agent lacks CAP_SYS_TIME, as most plants want. `outstation clock note NODE` keeps the difference instead,"
    " by which records are shown at their time; or set it as root: `date -u -s @SECONDS`."
)


@dataclasses.dataclass(frozen=True)
class ClockHandlers:
    """`may_set` and `set_wall` are the machine's, or a test's."""

    clock: Clock
    database: NodeDatabase
    standing: Standing
    boot_number: int
    may_set: Callable[[], bool]
    set_wall: Callable[[int], None]

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/clock"): self.show, ("POST", "/agent/v1/clock"): self.take}

    async def show(self, call: Call) -> ClockReading:
        clock = self.clock
        return ClockReading(
            boot_id=clock.boot_id(),
            boottime_us=clock.boottime_us(),
            wall_us=clock.wall_us(),
            may_set=self.may_set(),
        )

    async def take(self, call: Call) -> ClockSet:
        """Sets the clock, or only notes what a person's clock says now. The ledger has it first, with both times."""
        request: ClockRequest = call.body
        clock = self.clock
        late_us, before_us = clock.boottime_us(), clock.wall_us()
        if request.wall_us < axis.WALL_US_MIN or not 0 <= request.error_us <= ERROR_US_MAX:
            raise HttpError(
                "CLOCK.IMPLAUSIBLE", f"{request.wall_us} us is no time of today", "Set your own clock first."
            )
        if request.set and not self.may_set():
            raise HttpError("CLOCK.NOT_PERMITTED", "this agent may not set the machine's clock", _HINT)
        fence = self.standing.fence(request.lease)
        stamp = self.standing.stamp(call.actor)
        wall_us = request.wall_us + stamp.boottime_us - late_us
        told = {"before_us": before_us, "wall_us": wall_us, "error_us": request.error_us}

        def write(connection: sqlite3.Connection, stamp: Stamp) -> None:
            fence(connection, stamp)
            ledger.note(connection, stamp, axis.SET if request.set else axis.NOTE, "node", told)

        await self.database.write(write, stamp)
        if request.set:
            await self._set(wall_us, stamp)
        moved_us = wall_us - before_us
        return ClockSet(before_us=before_us, moved_us=moved_us, error_us=request.error_us, was_set=request.set)

    async def _set(self, wall_us: int, stamp: Stamp) -> None:
        clock = self.clock
        try:
            await asyncio.to_thread(self.set_wall, wall_us + clock.boottime_us() - stamp.boottime_us)
        except OSError as error:
            raise HttpError("CLOCK.NOT_PERMITTED", f"the kernel refuses: {error}", _HINT) from error
        boottime_us, now_us = clock.boottime_us(), clock.wall_us()
        await self.database.write(identity.add_clock_pair, self.boot_number, boottime_us=boottime_us, wall_us=now_us)
