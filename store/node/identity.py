"""Who the node is, how often it booted, and how its wall clock went.

A record's key is the boot number times 2**48 plus CLOCK_BOOTTIME in microseconds: it rises over reboots whatever the
wall clock does. Wall time of a key comes from the pairs kept here.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from store.db import transaction

KEY_SHIFT = 48
CLOCK_PAIRS_A_BOOT_MAX = 10_000


class Boot(NamedTuple):
    """One boot: its number, from 1, and the first pair of clocks that the agent saw in it."""

    number: int
    boot_id: str
    boottime_us: int
    wall_us: int


def node_id(connection: sqlite3.Connection) -> str | None:
    """The node's id; None before `create`."""
    row = connection.execute("SELECT node_id FROM identity").fetchone()
    return row[0] if row else None


def create(connection: sqlite3.Connection, node: str, *, wall_us: int) -> None:
    """Gives the node its id, once; sqlite3.IntegrityError when it has one."""
    connection.execute("INSERT INTO identity (id, node_id, created_wall_us) VALUES (1, ?, ?)", (node, wall_us))


def enter_boot(connection: sqlite3.Connection, boot_id: str, *, boottime_us: int, wall_us: int) -> Boot:
    """The boot with `boot_id`, numbered anew when it is not known. Call it before anything is recorded."""
    with transaction(connection):
        row = connection.execute("SELECT * FROM boots WHERE boot_id = ?", (boot_id,)).fetchone()
        if row is None:
            connection.execute(
                "INSERT INTO boots (number, boot_id, boottime_us, wall_us) "
                "VALUES ((SELECT coalesce(max(number), 0) + 1 FROM boots), ?, ?, ?)",
                (boot_id, boottime_us, wall_us),
            )
            row = connection.execute("SELECT * FROM boots WHERE boot_id = ?", (boot_id,)).fetchone()
            add_clock_pair(connection, row[0], boottime_us=boottime_us, wall_us=wall_us)
    return Boot(*row)


def boots(connection: sqlite3.Connection) -> list[Boot]:
    """Every boot, oldest first."""
    return [Boot(*row) for row in connection.execute("SELECT * FROM boots ORDER BY number")]


def add_clock_pair(connection: sqlite3.Connection, boot_number: int, *, boottime_us: int, wall_us: int) -> None:
    """Keeps that the wall clock read `wall_us` at `boottime_us`: at start, when it stepped, and now and then."""
    with transaction(connection):
        connection.execute("INSERT OR REPLACE INTO clock VALUES (?, ?, ?)", (boot_number, boottime_us, wall_us))
        connection.execute(
            "DELETE FROM clock WHERE boot_number = ? AND boottime_us <= (SELECT boottime_us FROM clock "
            "WHERE boot_number = ? ORDER BY boottime_us DESC LIMIT 1 OFFSET ?)",
            (boot_number, boot_number, CLOCK_PAIRS_A_BOOT_MAX),
        )


def wall_us_of_key(connection: sqlite3.Connection, key: int) -> int | None:
    """What the node's wall clock read at a record's key, by the last pair before it; None for an unknown boot."""
    boot_number, boottime_us = key >> KEY_SHIFT, key & ((1 << KEY_SHIFT) - 1)
    row = connection.execute(
        "SELECT boottime_us, wall_us FROM clock WHERE boot_number = ? "
        "ORDER BY boottime_us > ?, abs(boottime_us - ?) LIMIT 1",
        (boot_number, boottime_us, boottime_us),
    ).fetchone()
    return None if row is None else row[1] + boottime_us - row[0]
