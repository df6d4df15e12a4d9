"""The alerts that stand: in memory for every reader, in node.db for the history.

Where the database cannot be written the board goes on in memory with negative ids: a full disk must not hide that it
is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping

import msgspec

from nodeagent.health import alerts
from nodeagent.health.alerts import LATCHED, Condition, Key
from nodeagent.health.measures import Measurer
from nodeagent.health.rule_book import RuleBook
from nodeagent.health.rule_watch import RuleWatch
from nodeagent.protocol import Alert, AlertState, Telemetry
from nodeagent.state.database import NodeDatabase, NotWritable
from nodeagent.state.logs import Level
from nodeagent.state.standing import Standing
from store import ledger
from store.db import transaction
from store.errors import Busy
from store.ledger import Stamp
from store.node import alerts as rows
from store.node import shelves

AGENT = "agent"


class AlertBoard:
    """The alerts of one node."""

    def __init__(
        self, database: NodeDatabase, standing: Standing, book: RuleBook, log: Callable[[Level, str, str], object]
    ) -> None:
        self._database = database
        self._standing = standing
        self._book = book
        self._measurer = Measurer()
        self._watch = RuleWatch()
        self._log = log
        self._open: dict[Key, Alert] = {}
        self._unwritten = 0
        self._shelves: dict[Key, shelves.Shelf] = {}

    @property
    def standing(self) -> list[Alert]:
        """The alerts that are not cleared, the most urgent first."""
        found = (self._with_shelf(alert) for alert in self._open.values())
        return sorted(found, key=lambda alert: (alert.priority, alert.id))

    async def load(self) -> None:
        """Reads the rules, and the alerts that stood when the agent ended."""
        self._open = {(row.code, row.subject): _alert(row) for row in await self._database.read(rows.open_ones)}
        self._shelves = {shelf.key: shelf for shelf in await self._database.read(shelves.all_)}
        if problem := await asyncio.to_thread(self._book.load):
            await self.report(alerts.bad_rules(problem, "operator"))

    async def look(self, telemetry: Telemetry) -> None:
        """Compares what telemetry shows with what stands; writes only what changed."""
        if telemetry.mode == "normal":
            for bundle, problem in await self._book.follow(telemetry):
                await self.report(alerts.bad_rules(problem, bundle))
        open_ = frozenset(self._open)
        readings = self._measurer.read(telemetry)
        found = [
            *alerts.conditions(telemetry, open_),
            *self._watch.judge(self._book.in_force, readings, telemetry.boottime_us, open_),
        ]
        await self._end_shelves()
        announce = not self._standing.suppresses_alerts
        await self._change(alerts.fold(self._open.values(), found, announce=announce, shelved=frozenset(self._shelves)))

    async def report(self, condition: Condition) -> None:
        """Raises an alert at once, where it does not stand already."""
        if condition.key not in self._open:
            await self._change(alerts.Changes((), (condition,)))

    async def acknowledge(self, id_: int, actor: str, note: str) -> Alert | None:
        """A person has seen it; None for an unknown id. A latched alert is cleared by that."""
        alert = next((alert for alert in self._open.values() if alert.id == id_), None)
        if alert is not None and id_ < 0:
            return self._keep(_in_memory(alert, AlertState.ACKNOWLEDGED, actor))
        if await self._database.read(rows.get, id_) is None:
            return None
        stamp = self._standing.stamp(actor)

        def acknowledge(connection: sqlite3.Connection) -> rows.Alert:
            row = rows.acknowledge(connection, stamp, id_, note)
            if row.code in LATCHED - alerts.REVIEWED and row.state != "cleared":
                return rows.clear(connection, stamp, code=row.code, subject=row.subject) or row
            return row

        return self._keep(_alert(await self._database.write(acknowledge)))

    async def shelve(self, id_: int, actor: str, note: str, seconds: float) -> Alert | None:
        """Keeps an alert of this code and subject from being announced for `seconds`; 0 ends that. None: unknown id.

        After a reboot nothing is shelved: an alert that stands then is heard again.
        """
        alert = next((alert for alert in self._open.values() if alert.id == id_), None)
        if alert is None:
            return None
        stamp = self._standing.stamp(actor)
        key = (alert.code, alert.subject)
        if seconds <= 0:
            await self._database.write(shelves.take_off, stamp, *key, note)
            self._shelves.pop(key, None)
            return self._with_shelf(alert)
        until_us = stamp.boottime_us + round(seconds * 1e6)

        def shelve(connection: sqlite3.Connection) -> tuple[shelves.Shelf, rows.Alert | None]:
            with transaction(connection):
                shelf = shelves.put(connection, stamp, *key, note=note, until_us=until_us)
                return shelf, rows.shelve(connection, stamp, id_, note) if id_ > 0 else None

        self._shelves[key], row = await self._database.write(shelve)
        shelved = _alert(row) if row is not None else _in_memory(alert, AlertState.SHELVED, alert.acknowledged_by)
        return self._with_shelf(self._keep(shelved))

    async def set_rules(self, text: str, actor: str) -> None:
        """Puts the operator's rules into force; the ledger names their digest. Raises ConfigError, StoreError."""
        await asyncio.to_thread(self._book.set, text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        stamp = self._standing.stamp(actor)
        await self._database.write(ledger.note, stamp, "alert.rules", "node", {"sha256": digest})
        key = ("RULES.UNREADABLE", "operator")
        if key in self._open:
            await self._change(alerts.Changes((key,), ()))

    async def settle(self, code: str, subjects: Iterable[str]) -> None:
        """Clears alerts whose condition a person has ended."""
        keys = [(code, subject) for subject in subjects]
        await self._change(alerts.Changes(tuple(key for key in keys if key in self._open), ()))

    async def newest(self, limit: int) -> list[Alert]:
        """Newest first, cleared ones included."""
        return [_alert(row) for row in await self._database.read(rows.newest, limit)]

    async def _change(self, changes: alerts.Changes) -> None:
        if not changes.clear and not changes.raise_:
            return
        stamp = self._standing.stamp(AGENT)
        shelve = self._standing.suppresses_alerts
        try:
            raised = await self._database.write(_write, stamp, changes, shelve, dict(self._shelves))
        except (NotWritable, Busy):
            raised = [self._unwritten_alert(condition, stamp) for condition in changes.raise_]
        for key in changes.clear:
            self._open.pop(key, None)
        for alert in raised:
            self._keep(alert)
            self._log("warning", "alert", f"{alert.code} {alert.subject}: {alert.message}")

    def _unwritten_alert(self, condition: Condition, stamp: Stamp) -> Alert:
        self._unwritten -= 1
        return Alert(
            id=self._unwritten,
            code=condition.code,
            priority=condition.priority,
            state=AlertState.RAISED,
            subject=condition.subject,
            message=condition.message,
            advice=condition.advice,
            raised_us=stamp.wall_us,
        )

    def _keep(self, alert: Alert) -> Alert:
        if alert.state is AlertState.CLEARED:
            self._open.pop((alert.code, alert.subject), None)
        else:
            self._open[alert.code, alert.subject] = alert
        return alert

    async def _end_shelves(self) -> None:
        """Takes off the shelf what was there for its time, or since before a reboot."""
        now = self._standing.stamp(AGENT)
        for key, shelf in list(self._shelves.items()):
            if shelf.seconds_left(now.boot_id, now.boottime_us) <= 0:
                with contextlib.suppress(
                    NotWritable, Busy
                ):  # it has ended in memory; the row is passed at the next start
                    await self._database.write(shelves.take_off, now, *key, "its time is over")
                del self._shelves[key]

    def _with_shelf(self, alert: Alert) -> Alert:
        shelf = self._shelves.get((alert.code, alert.subject))
        if shelf is None or alert.state is not AlertState.SHELVED:
            return alert
        now = self._standing.stamp(AGENT)
        left_s = max(0.0, shelf.seconds_left(now.boot_id, now.boottime_us))
        return msgspec.structs.replace(alert, shelved_by=shelf.actor, shelved_s_left=round(left_s), note=shelf.note)


def _write(
    connection: sqlite3.Connection,
    stamp: Stamp,
    changes: alerts.Changes,
    shelve: bool,
    shelved: Mapping[Key, shelves.Shelf],
) -> list[Alert]:
    for code, subject in changes.clear:
        rows.clear(connection, stamp, code=code, subject=subject)
    return list(_raised(connection, stamp, changes, shelve, shelved))


def _raised(
    connection: sqlite3.Connection,
    stamp: Stamp,
    changes: alerts.Changes,
    shelve: bool,
    shelved: Mapping[Key, shelves.Shelf],
) -> Iterable[Alert]:
    for condition in changes.raise_:
        row = rows.raise_(
            connection,
            stamp,
            code=condition.code,
            subject=condition.subject,
            priority=condition.priority,
            message=condition.message,
            advice=condition.advice,
        )
        # A person who took the node out of service hears of nothing but that it lasts too long.
        if (shelf := shelved.get(condition.key)) is not None:
            row = rows.shelve(connection, stamp, row.id, shelf.note)
        elif shelve and condition.code != "OUT_OF_SERVICE.OVERDUE":
            row = rows.shelve(connection, stamp, row.id, "out of service")
        yield _alert(row)


def _in_memory(alert: Alert, state: AlertState, actor: str) -> Alert:
    return msgspec.structs.replace(alert, state=state, acknowledged_by=actor)


def _alert(row: rows.Alert) -> Alert:
    return Alert(
        id=row.id,
        code=row.code,
        priority=row.priority,
        state=AlertState(row.state),
        subject=row.subject,
        message=row.message,
        advice=row.advice,
        raised_us=row.raised_us,
        acknowledged_by=row.acknowledged_by,
        cleared_us=row.cleared_us,
        note=row.note,
    )
