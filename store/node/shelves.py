"""Alerts that a person has put on the shelf for a time (ISA-18.2): by code and subject, whether they stand or not.

The time is CLOCK_BOOTTIME of one boot: neither a clock that is set nor a reboot can make it longer.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp


class Shelf(NamedTuple):
    """Who shelved what, why, and until when in the boot `boot_id`."""

    code: str
    subject: str
    actor: str
    note: str
    boot_id: str
    until_us: int

    @property
    def key(self) -> tuple[str, str]:
        return self.code, self.subject

    def seconds_left(self, boot_id: str, boottime_us: int) -> float:
        """0 or less: over. In another boot it is over."""
        return (self.until_us - boottime_us) / 1e6 if boot_id == self.boot_id else 0.0


def all_(connection: sqlite3.Connection) -> list[Shelf]:
    """Every shelf that was not taken down, those whose time is over included."""
    rows = connection.execute(
        "SELECT code, subject, actor, note, boot_id, until_us FROM shelves ORDER BY code, subject"
    )
    return [Shelf(*row) for row in rows]


def put(connection: sqlite3.Connection, stamp: Stamp, code: str, subject: str, *, note: str, until_us: int) -> Shelf:
    """Shelves until `until_us` of this boot; takes the place of an earlier one."""
    shelf = Shelf(code, subject, stamp.actor, note, stamp.boot_id, until_us)
    with transaction(connection):
        connection.execute("INSERT OR REPLACE INTO shelves VALUES (?, ?, ?, ?, ?, ?)", shelf)
        seconds = (until_us - stamp.boottime_us) // 1_000_000
        ledger.note(connection, stamp, "alert.shelf", subject, {"code": code, "note": note, "seconds": seconds})
    return shelf


def take_off(connection: sqlite3.Connection, stamp: Stamp, code: str, subject: str, note: str) -> None:
    """Ends it. What is not shelved stays as it is."""
    with transaction(connection):
        if connection.execute("DELETE FROM shelves WHERE code = ? AND subject = ?", (code, subject)).rowcount:
            ledger.note(connection, stamp, "alert.unshelve", subject, {"code": code, "note": note})
