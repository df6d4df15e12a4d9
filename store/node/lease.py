"""Who may change deployments now: one holder, a token that only rises, a deadline on CLOCK_BOOTTIME.

A change carries the token; a lower token, or one whose time is over, writes nothing (I11). The node compares under
the writer's transaction, so call `check` inside the transaction of the change.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp

_TAKEN_LOOKED_AT_MAX = 1_000


class Lease(NamedTuple):
    """The lease as stored; held until `deadline_us` on CLOCK_BOOTTIME of `boot_id`."""

    holder: str
    token: int
    boot_id: str
    deadline_us: int

    def seconds_left(self, boot_id: str, boottime_us: int) -> float:
        """0 when it is over or of another boot."""
        return max(0.0, (self.deadline_us - boottime_us) / 1e6) if boot_id == self.boot_id else 0.0


class Held(Exception):
    """Somebody else holds the lease: since `since_us` by the node's clock (None: not known), for `held_s`, and for how
    much longer, in seconds, unless it is renewed."""

    def __init__(self, lease: Lease, stamp: Stamp, since: ledger.Entry | None = None) -> None:
        self.lease = lease
        self.since_us = since.wall_us if since is not None else None
        self.held_s = (stamp.boottime_us - since.boottime_us) / 1e6 if since is not None else None
        self.seconds_left = lease.seconds_left(stamp.boot_id, stamp.boottime_us)
        held = f" since {_utc(since.wall_us)}, for {self.held_s:.0f} s" if since is not None else ""
        super().__init__(f"{lease.holder} holds the lease{held}; it ends in {self.seconds_left:.0f} s unless renewed")


class Fenced(Exception):
    """The token is not the lease's, or its time is over. `lease` is how it stands."""

    def __init__(self, lease: Lease | None) -> None:
        self.lease = lease
        super().__init__("the lease was lost")


def current(connection: sqlite3.Connection, stamp: Stamp) -> Lease | None:
    """The lease if somebody holds it at `stamp`."""
    lease = _row(connection)
    return lease if lease is not None and lease.seconds_left(stamp.boot_id, stamp.boottime_us) > 0 else None


def take(
    connection: sqlite3.Connection, stamp: Stamp, holder: str, *, seconds: float, break_held: bool = False
) -> Lease:
    """Takes the lease with a new token. Held: another holder has it; `break_held` takes it, both names in the ledger.

    The holder of a lease may take it again, as after a lost answer; the old token is fenced then.
    """
    with transaction(connection):
        held = current(connection, stamp)
        broken = held is not None and held.holder != holder
        if held is not None and broken and not break_held:
            raise Held(held, stamp, _taken(connection, held))
        last = _row(connection)
        new = Lease(holder, last.token + 1 if last else 1, stamp.boot_id, _deadline_us(stamp, seconds))
        _store(connection, new)
        detail = {"token": new.token, **({"broken": held.holder} if held is not None and broken else {})}
        ledger.note(connection, stamp, "lease.break" if broken else "lease.take", holder, detail)
    return new


def renew(connection: sqlite3.Connection, stamp: Stamp, token: int, *, seconds: float) -> Lease:
    """Moves the deadline; the token stays. Raises Fenced. Not a fact of history: the ledger is not written."""
    with transaction(connection):
        held = check(connection, stamp, token)
        new = held._replace(deadline_us=_deadline_us(stamp, seconds))
        _store(connection, new)
    return new


def release(connection: sqlite3.Connection, stamp: Stamp, token: int) -> None:
    """Gives the lease back. A token that is not the lease's any more changes nothing."""
    with transaction(connection):
        lease = current(connection, stamp)
        if lease is not None and lease.token == token:
            _store(connection, lease._replace(deadline_us=stamp.boottime_us))


def check(connection: sqlite3.Connection, stamp: Stamp, token: int | None) -> Lease:
    """The lease, if `token` is its token and its time is not over; otherwise Fenced."""
    lease = current(connection, stamp)
    if lease is None or lease.token != token:
        raise Fenced(_row(connection))
    return lease


def _taken(connection: sqlite3.Connection, lease: Lease) -> ledger.Entry | None:
    """The ledger's entry of when the lease was taken; a look at the newest entries."""
    for entry in ledger.newest(connection, _TAKEN_LOOKED_AT_MAX):
        if entry.action in ("lease.take", "lease.break") and entry.detail.get("token") == lease.token:
            return entry if entry.boot_id == lease.boot_id else None
    return None


def _utc(wall_us: int) -> str:
    return datetime.fromtimestamp(wall_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _row(connection: sqlite3.Connection) -> Lease | None:
    row = connection.execute("SELECT holder, token, boot_id, deadline_us FROM lease").fetchone()
    return Lease(*row) if row else None


def _store(connection: sqlite3.Connection, lease: Lease) -> None:
    connection.execute(
        "INSERT INTO lease (id, holder, token, boot_id, deadline_us) VALUES (1, ?, ?, ?, ?) ON CONFLICT (id) "
        "DO UPDATE SET holder = excluded.holder, token = excluded.token, boot_id = excluded.boot_id, "
        "deadline_us = excluded.deadline_us",
        lease,
    )


def _deadline_us(stamp: Stamp, seconds: float) -> int:
    return stamp.boottime_us + round(seconds * 1e6)
