"""Every ledger entry to syslog, in order, behind the ledger's back: it waits for nobody and nobody waits for it.

The ledger itself is the queue: `forwarded` keeps the seq up to which the receiver has everything, per target. What
cannot be sent now is sent later, from that seq on; after a crash the last batch may come twice, nothing is left out.
A new target gets the ledger from its first entry.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from typing import Final

from nodeagent.health.alerts import Condition
from nodeagent.state.database import NodeDatabase, NotWritable
from nodeagent.state.syslog import Full, Way, message, open_way
from nodeagent.state.syslog_target import Target
from store import ledger
from store.errors import Busy, StoreError

BATCH: Final = 200
LOOK_S: Final = 1.0
AGAIN_S_MAX: Final = 60.0
ACKNOWLEDGED_S_MAX: Final = 10.0
BEHIND_S: Final = 600.0
# A refusal of a datagram comes back within this time in a plant's network, or is found with the next batch.
REFUSED_S: Final = 0.05
CODE: Final = "SYSLOG.BEHIND"


class Forwarder:
    """Sends one node's ledger to one target. `sent` and `waiting` are what it knows; `error` why it does not go on."""

    def __init__(
        self, database: NodeDatabase, target: Target, *, node_id: str, host: str, monotonic_s: Callable[[], float]
    ) -> None:
        self._database = database
        self._node_id, self._host, self._monotonic_s = node_id, host, monotonic_s
        self._way: Way | None = None
        self._stuck_since_s: float | None = None
        self._loaded = False
        self._before = 0
        self.target = target
        self.sent = 0
        self.waiting = 0
        self.error = ""

    def __repr__(self) -> str:
        return f"<Forwarder {self.target}, {self.sent} sent, {self.waiting} wait, {self.error or 'well'}>"

    @property
    def stuck_s(self) -> float:
        """For how long entries have been waiting because the receiver does not take them."""
        return 0.0 if self._stuck_since_s is None else self._monotonic_s() - self._stuck_since_s

    def condition(self) -> Condition | None:
        """The alert that it calls for: a receiver that was there, or that somebody named, takes nothing."""
        absent = self.target.kind == "unix" and self.sent == 0
        if self.stuck_s < BEHIND_S or absent:
            return None
        text = f"{self.waiting} ledger entries wait for {self.target}: {self.error}"
        advice = "Look at the receiver. Nothing is lost: the node sends them when it takes them."
        return Condition(CODE, str(self.target), 3, text, advice)

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = LOOK_S
        try:
            while True:
                try:
                    await self.round()
                except (NotWritable, Busy, StoreError) as error:
                    self.error = f"the ledger cannot be read: {error}"
                pause_s = min(pause_s * 2, AGAIN_S_MAX) if self.error else LOOK_S
                await asyncio.sleep(pause_s)
        finally:
            self.close()

    async def round(self) -> None:
        """Sends what is new, batch by batch, until there is nothing left or the receiver takes no more."""
        if not self._loaded:
            self.sent = self._before = await self._database.read(_sent, str(self.target))
            self._loaded = True
        while True:
            head, entries = await self._database.read(_next, self.sent, BATCH)
            self.waiting = head - self.sent
            if not entries:
                self._went_well()
                return
            try:
                reached = await self._send(entries)
            except OSError as error:
                self.close()
                self._did_not(f"{error.strerror or error}")
                # What refuses a datagram is heard of one too late: the batch before may not have arrived either.
                if self.target.kind == "udp" and self.sent != self._before:
                    self.sent = self._before
                    await self._keep()
                return
            if reached == self.sent:
                self._did_not("it takes nothing at the moment")
                return
            self._before, self.sent, self.waiting = self.sent, reached, head - reached
            await self._keep()

    async def _send(self, entries: list[ledger.Entry]) -> int:
        """The seq up to which the receiver has everything now. Raises OSError where it is not there."""
        if self._way is None:
            self._way = await asyncio.to_thread(open_way, self.target)
        reached = self.sent
        for entry in entries:
            try:
                self._way.send(message(entry, node_id=self._node_id, host=self._host, pid=os.getpid()))
            except Full:
                break
            reached = entry.seq
        await self._acknowledged(self._way)
        return reached

    async def _acknowledged(self, way: Way) -> None:
        """Waits for the last byte to be acknowledged, where there is such a thing. Raises OSError."""
        if self.target.kind == "udp":
            await asyncio.sleep(REFUSED_S)
        end_s = self._monotonic_s() + ACKNOWLEDGED_S_MAX
        while way.unconfirmed():
            if self._monotonic_s() >= end_s:
                raise TimeoutError(f"not acknowledged in {ACKNOWLEDGED_S_MAX:.0f} s")
            await asyncio.sleep(0.02)

    async def _keep(self) -> None:
        try:
            await self._database.write(_keep, str(self.target), self.sent)
        except (NotWritable, Busy):
            return  # kept in memory: after a restart these come twice

    def _went_well(self) -> None:
        self.error, self._stuck_since_s = "", None

    def _did_not(self, why: str) -> None:
        self.error = why
        if self._stuck_since_s is None:
            self._stuck_since_s = self._monotonic_s()

    def close(self) -> None:
        """Closes the way to the receiver; the next round opens another."""
        if self._way is not None:
            self._way.close()
            self._way = None


def _sent(connection: sqlite3.Connection, target: str) -> int:
    row = connection.execute("SELECT seq FROM forwarded WHERE target = ?", (target,)).fetchone()
    return int(row[0]) if row else 0


def _next(connection: sqlite3.Connection, after: int, limit: int) -> tuple[int, list[ledger.Entry]]:
    return ledger.head(connection).seq, ledger.page(connection, after, limit)


def _keep(connection: sqlite3.Connection, target: str, seq: int) -> None:
    connection.execute(
        "INSERT INTO forwarded (target, seq) VALUES (?, ?) ON CONFLICT (target) DO UPDATE SET seq = excluded.seq",
        (target, seq),
    )
