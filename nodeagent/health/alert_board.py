"""The alerts that stand: in memory for every reader, in node.db for the history.

Where the database cannot be written the board goes on in memory with negative ids: a full disk must not hide that it
is full.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable

from nodeagent.health import alerts
from nodeagent.health.alerts import LATCHED, Condition, Key, Recent
from nodeagent.protocol import Alert, AlertState, Telemetry
from nodeagent.settings import Settings
from nodeagent.state.database import NodeDatabase, NotWritable
from nodeagent.state.logs import Level
from nodeagent.state.standing import Standing
from store.errors import Busy
from store.ledger import Stamp
from store.node import alerts as rows

RESTARTS_WITHIN_US = 600_000_000
LOST_WITHIN_US = 60_000_000
SAMPLES_MAX = 1_200
AGENT = "agent"


class AlertBoard:
    """The alerts of one node."""

    def __init__(
        self, database: NodeDatabase, standing: Standing, settings: Settings, log: Callable[[Level, str, str], object]
    ) -> None:
        self._database = database
        self._standing = standing
        self._settings = settings
        self._log = log
        self._open: dict[Key, Alert] = {}
        self._unwritten = 0
        self._counters: dict[str, deque[tuple[int, int, int]]] = {}

    @property
    def standing(self) -> list[Alert]:
        """The alerts that are not cleared, the most urgent first."""
        return sorted(self._open.values(), key=lambda alert: (alert.priority, alert.id))

    async def load(self) -> None:
        """Reads the alerts that stood when the agent ended."""
        self._open = {(row.code, row.subject): _alert(row) for row in await self._database.read(rows.open_ones)}

    async def look(self, telemetry: Telemetry) -> None:
        """Compares what telemetry shows with what stands; writes only what changed."""
        recent = self._recent(telemetry)
        found = alerts.conditions(telemetry, recent, self._settings, frozenset(self._open))
        await self._change(alerts.fold(self._open.values(), found, announce=telemetry.out_of_service is None))

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
            if row.code in LATCHED and row.state != "cleared":
                return rows.clear(connection, stamp, code=row.code, subject=row.subject) or row
            return row

        return self._keep(_alert(await self._database.write(acknowledge)))

    async def newest(self, limit: int) -> list[Alert]:
        """Newest first, cleared ones included."""
        return [_alert(row) for row in await self._database.read(rows.newest, limit)]

    async def _change(self, changes: alerts.Changes) -> None:
        if not changes.clear and not changes.raise_:
            return
        stamp = self._standing.stamp(AGENT)
        shelve = self._standing.out_of_service is not None
        try:
            raised = await self._database.write(_write, stamp, changes, shelve)
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

    def _recent(self, telemetry: Telemetry) -> Recent:
        """How far the counters of each bundle rose lately."""
        now_us = telemetry.boottime_us
        restarts: dict[str, int] = {}
        lost: dict[str, int] = {}
        for bundle in telemetry.bundles:
            samples = self._counters.setdefault(bundle.bundle, deque(maxlen=SAMPLES_MAX))
            if samples and (bundle.restarts_total < samples[-1][1] or bundle.records_lost_total < samples[-1][2]):
                samples.clear()
            samples.append((now_us, bundle.restarts_total, bundle.records_lost_total))
            while samples[0][0] < now_us - RESTARTS_WITHIN_US:
                samples.popleft()
            restarts[bundle.bundle] = bundle.restarts_total - samples[0][1]
            minute = next(sample for sample in samples if sample[0] >= now_us - LOST_WITHIN_US)
            lost[bundle.bundle] = bundle.records_lost_total - minute[2]
        return Recent(restarts=restarts, records_lost=lost)


def _write(connection: sqlite3.Connection, stamp: Stamp, changes: alerts.Changes, shelve: bool) -> list[Alert]:
    for code, subject in changes.clear:
        rows.clear(connection, stamp, code=code, subject=subject)
    return list(_raised(connection, stamp, changes, shelve))


def _raised(connection: sqlite3.Connection, stamp: Stamp, changes: alerts.Changes, shelve: bool) -> Iterable[Alert]:
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
        if shelve and condition.code != "OUT_OF_SERVICE.OVERDUE":
            row = rows.shelve(connection, stamp, row.id, "out of service")
        yield _alert(row)


def _in_memory(alert: Alert, state: AlertState, actor: str) -> Alert:
    return Alert(
        id=alert.id,
        code=alert.code,
        priority=alert.priority,
        state=state,
        subject=alert.subject,
        message=alert.message,
        advice=alert.advice,
        raised_us=alert.raised_us,
        acknowledged_by=actor,
    )


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
    )
