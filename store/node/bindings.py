"""Revisions of the node's own bindings. `content` is JSON text; the node's bindings.toml is derived from the newest."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp


class BindingRevision(NamedTuple):
    """One state of all bindings. `wall_us` and `actor`: when and by whom it was set."""

    revision: int
    content: str
    actor: str
    wall_us: int


class Stale(Exception):
    """Somebody set newer bindings; `current` is their revision."""

    def __init__(self, current: int) -> None:
        self.current = current
        super().__init__(f"the bindings are at revision {current}")


def current(connection: sqlite3.Connection) -> BindingRevision | None:
    """The newest revision; None before the first."""
    row = connection.execute("SELECT * FROM bindings ORDER BY revision DESC LIMIT 1").fetchone()
    return BindingRevision(*row) if row else None


def get(connection: sqlite3.Connection, revision: int) -> BindingRevision | None:
    """One revision."""
    row = connection.execute("SELECT * FROM bindings WHERE revision = ?", (revision,)).fetchone()
    return BindingRevision(*row) if row else None


def add(
    connection: sqlite3.Connection, stamp: Stamp, *, base_revision: int, content: str, detail: Mapping[str, Any]
) -> BindingRevision:
    """Adds a revision on top of `base_revision` (0: the first), with a ledger entry. Raises Stale.

    `detail` goes into the ledger, which is shown to people: no secrets in it.
    """
    with transaction(connection):
        newest = current(connection)
        at = newest.revision if newest else 0
        if at != base_revision:
            raise Stale(at)
        row = BindingRevision(at + 1, content, stamp.actor, stamp.wall_us)
        connection.execute("INSERT INTO bindings (revision, content, actor, wall_us) VALUES (?, ?, ?, ?)", row)
        ledger.note(connection, stamp, "bindings.set", f"revision {row.revision}", detail)
    return row
