"""What people have ordered and hold: hold, out of service, the lease. In memory for every reader, in node.db for ever.

The supervisor is the only writer, so memory and database agree; the database is written first. A hold is taken even
where nothing can be written: stopping outputs never waits for a disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextvars import ContextVar

from nodeagent.clock import Clock
from nodeagent.protocol import LEASE_S, Hold, Lease, OutOfService
from nodeagent.state import crashpoints
from nodeagent.state.database import NodeDatabase, NotWritable
from store.ledger import Stamp
from store.node import lease as leases
from store.node import standing as orders

# The number under which the request that is being answered changes something; its tasks inherit it.
CHANGE_NUMBER: ContextVar[str] = ContextVar("change_number", default="")


class Standing:
    """The standing orders of one node."""

    def __init__(self, database: NodeDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._hold: orders.Order | None = None
        self._out: orders.Order | None = None
        self._lease: leases.Lease | None = None

    async def load(self) -> None:
        """Reads what stands. Raises NotWritable in SAFE, where nothing can be read."""
        now = self.stamp("agent")
        self._hold = await self._database.read(orders.get, "hold")
        self._out = await self._database.read(orders.get, "out_of_service")
        self._lease = await self._database.read(leases.current, now)

    def stamp(self, actor: str) -> Stamp:
        """Now, by `actor`, under the change number of the request that is being answered."""
        clock = self._clock
        return Stamp(clock.boot_id(), clock.boottime_us(), clock.wall_us(), actor, CHANGE_NUMBER.get())

    @property
    def hold(self) -> Hold | None:
        order = self._hold
        return None if order is None else Hold(by=order.by, reason=order.reason, since_us=order.since_us)

    @property
    def out_of_service(self) -> OutOfService | None:
        order = self._out
        if order is None:
            return None
        return OutOfService(
            by=order.by, reason=order.reason, since_us=order.since_us, until_us=order.until_us, owner=order.owner
        )

    @property
    def suppresses_alerts(self) -> bool:
        """Whether alerts are recorded and not announced: out of service, and not past the end that was named."""
        order = self._out
        return order is not None and (order.until_us is None or self._clock.wall_us() <= order.until_us)

    @property
    def lease(self) -> Lease | None:
        """The lease, if somebody holds it now."""
        held = self._lease
        if held is None:
            return None
        left_s = held.seconds_left(self._clock.boot_id(), self._clock.boottime_us())
        return Lease(holder=held.holder, token=held.token, seconds_left=round(left_s, 3)) if left_s > 0 else None

    async def take_hold(self, actor: str, reason: str) -> Hold:
        """Holds. Where the disk refuses, the hold stands in memory and is written as soon as it can be."""
        stamp = self.stamp(actor)
        crashpoints.reach("before:HELD")
        try:
            self._hold = await self._database.write(orders.give, stamp, "hold", reason)
            crashpoints.reach("after:HELD")
        except NotWritable:
            self._hold = self._hold or orders.Order(actor, reason, stamp.wall_us, None)
        return Hold(by=self._hold.by, reason=self._hold.reason, since_us=self._hold.since_us)

    async def release_hold(self, actor: str, reason: str) -> None:
        """Releases; raises NotWritable where that cannot be kept, since a restart would hold again."""
        crashpoints.reach("before:RELEASED")
        await self._database.write(orders.lift, self.stamp(actor), "hold", reason)
        crashpoints.reach("after:RELEASED")
        self._hold = None

    async def set_out_of_service(self, actor: str, reason: str, until_us: int | None, owner: str = "") -> None:
        """Takes the node out of service; where somebody else has, theirs is lifted by name first, in the same step."""
        self._out = await self._database.write(_replace_order, self.stamp(actor), reason, until_us, owner)

    async def lift_out_of_service(self, actor: str, reason: str) -> None:
        await self._database.write(orders.lift, self.stamp(actor), "out_of_service", reason)
        self._out = None

    async def take_lease(self, actor: str, holder: str, *, break_held: bool) -> Lease:
        """A new token. Raises leases.Held."""
        stamp = self.stamp(actor)
        return self._keep(
            await self._database.write(leases.take, stamp, holder, seconds=LEASE_S, break_held=break_held), stamp
        )

    async def renew_lease(self, actor: str, token: int) -> Lease:
        """The same token with a new deadline. Raises leases.Fenced."""
        stamp = self.stamp(actor)
        return self._keep(await self._database.write(leases.renew, stamp, token, seconds=LEASE_S), stamp)

    async def release_lease(self, actor: str, token: int) -> None:
        """Gives it back; an old token changes nothing."""
        stamp = self.stamp(actor)
        await self._database.write(leases.release, stamp, token)
        self._lease = await self._database.read(leases.current, stamp)

    def fence(self, token: int | None) -> Callable[[sqlite3.Connection, Stamp], None]:
        """The check that a change runs inside its own transaction: raises leases.Fenced."""

        def check(connection: sqlite3.Connection, stamp: Stamp) -> None:
            leases.check(connection, stamp, token)

        return check

    def _keep(self, lease: leases.Lease, stamp: Stamp) -> Lease:
        self._lease = lease
        left_s = lease.seconds_left(stamp.boot_id, stamp.boottime_us)
        return Lease(holder=lease.holder, token=lease.token, seconds_left=left_s)


def _replace_order(
    connection: sqlite3.Connection, stamp: Stamp, reason: str, until_us: int | None, owner: str
) -> orders.Order:
    """One transaction: an order of somebody else is lifted by name and reason, the ledger shows both."""
    orders.lift(connection, stamp, "out_of_service", reason)
    return orders.give(connection, stamp, "out_of_service", reason, until_us=until_us, owner=owner)
