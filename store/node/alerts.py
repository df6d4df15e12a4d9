"""Abnormal conditions that need a person: raised, acknowledged, shelved, cleared (ISA-18.2).

Of one code and subject at most one is open.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp

CLEARED_MAX = 1_000
_COLUMNS = (
    "id, code, subject, priority, state, message, advice, raised_us, acknowledged_by, acknowledged_us, note, cleared_us"
)


class Alert(NamedTuple):
    """One alert. Priority 1 (highest) to 4; times are the node's wall clock."""

    id: int
    code: str
    subject: str
    priority: int
    state: str
    message: str
    advice: str
    raised_us: int
    acknowledged_by: str
    acknowledged_us: int | None
    note: str
    cleared_us: int | None


def get(connection: sqlite3.Connection, id_: int) -> Alert | None:
    """The alert with this id."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM alerts WHERE id = ?", (id_,)).fetchone()
    return Alert(*row) if row else None


def open_ones(connection: sqlite3.Connection) -> list[Alert]:
    """Those that are not cleared: the most urgent first, then the oldest."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM alerts WHERE state <> 'cleared' ORDER BY priority, id")
    return [Alert(*row) for row in rows]


def newest(connection: sqlite3.Connection, limit: int = 100) -> list[Alert]:
    """Newest first, cleared ones included."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM alerts ORDER BY id DESC LIMIT ?", (limit,))
    return [Alert(*row) for row in rows]


def raise_(
    connection: sqlite3.Connection, stamp: Stamp, *, code: str, subject: str, priority: int, message: str, advice: str
) -> Alert:
    """Raises an alert. Where one with this code and subject is open, that one stays as it is and is the answer."""
    with transaction(connection):
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM alerts WHERE code = ? AND subject = ? AND state <> 'cleared'", (code, subject)
        ).fetchone()
        if row is not None:
            return Alert(*row)
        cursor = connection.execute(
            "INSERT INTO alerts (code, subject, priority, state, message, advice, raised_us) "
            "VALUES (?, ?, ?, 'raised', ?, ?, ?)",
            (code, subject, priority, message, advice, stamp.wall_us),
        )
        ledger.note(connection, stamp, "alert.raise", subject, {"code": code, "priority": priority, "message": message})
        return _must(connection, int(cursor.lastrowid or 0))


def acknowledge(connection: sqlite3.Connection, stamp: Stamp, id_: int, note: str = "") -> Alert:
    """raised or shelved -> acknowledged. In another state it stays as it is. KeyError: no such alert."""
    with transaction(connection):
        alert = _must(connection, id_)
        if alert.state not in ("raised", "shelved"):
            return alert
        connection.execute(
            "UPDATE alerts SET state = 'acknowledged', acknowledged_by = ?, acknowledged_us = ?, note = ? WHERE id = ?",
            (stamp.actor, stamp.wall_us, note, id_),
        )
        ledger.note(connection, stamp, "alert.acknowledge", alert.subject, {"code": alert.code, "note": note})
        return _must(connection, id_)


def shelve(connection: sqlite3.Connection, stamp: Stamp, id_: int, note: str) -> Alert:
    """raised or acknowledged -> shelved. KeyError: no such alert."""
    with transaction(connection):
        alert = _must(connection, id_)
        if alert.state not in ("raised", "acknowledged"):
            return alert
        connection.execute("UPDATE alerts SET state = 'shelved', note = ? WHERE id = ?", (note, id_))
        ledger.note(connection, stamp, "alert.shelve", alert.subject, {"code": alert.code, "note": note})
        return _must(connection, id_)


def clear(connection: sqlite3.Connection, stamp: Stamp, *, code: str, subject: str) -> Alert | None:
    """The condition is gone; None when nothing was open. Keeps the last CLEARED_MAX cleared alerts."""
    with transaction(connection):
        row = connection.execute(
            "SELECT id FROM alerts WHERE code = ? AND subject = ? AND state <> 'cleared'", (code, subject)
        ).fetchone()
        if row is None:
            return None
        connection.execute("UPDATE alerts SET state = 'cleared', cleared_us = ? WHERE id = ?", (stamp.wall_us, row[0]))
        connection.execute(
            "DELETE FROM alerts WHERE state = 'cleared' AND id <= (SELECT id FROM alerts WHERE state = 'cleared' "
            "ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (CLEARED_MAX,),
        )
        ledger.note(connection, stamp, "alert.clear", subject, {"code": code})
        return _must(connection, row[0])


def _must(connection: sqlite3.Connection, id_: int) -> Alert:
    alert = get(connection, id_)
    if alert is None:
        raise KeyError(id_)
    return alert
