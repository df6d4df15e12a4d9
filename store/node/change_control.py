"""What change control keeps on a node: permits that were used, and emergencies that another person has to look at."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp

_COLUMNS = "id, subject, actor, reason, wall_us, reviewed_by, reviewed_us, note"


class Used(Exception):
    """The permit was used before: by `deployment`."""

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        super().__init__(f"the permit was used before, by deployment {deployment}")


class Emergency(NamedTuple):
    """Something that was done without the second person that the node asks for. `reviewed_by` empty: not looked at."""

    id: int
    subject: str
    actor: str
    reason: str
    wall_us: int
    reviewed_by: str
    reviewed_us: int | None
    note: str


def use_permit(
    connection: sqlite3.Connection, stamp: Stamp, id_: str, *, subject: str, deployment: str, signer: str, reason: str
) -> None:
    """Uses a permit up, with its ledger entry; once for ever on this node. Raises Used."""
    with transaction(connection):
        row = connection.execute("SELECT deployment FROM permits_used WHERE id = ?", (id_,)).fetchone()
        if row is not None:
            raise Used(row[0])
        connection.execute(
            "INSERT INTO permits_used (id, subject, deployment, signer, wall_us) VALUES (?, ?, ?, ?, ?)",
            (id_, subject, deployment, signer, stamp.wall_us),
        )
        detail = {"permit": id_, "digest": subject, "signer": signer, "reason": reason}
        ledger.note(connection, stamp, "permit.use", deployment, detail)


def give_emergency(connection: sqlite3.Connection, stamp: Stamp, subject: str, reason: str) -> Emergency:
    """Keeps that `subject` is done as an emergency, with its ledger entry. While it waits it stays as it is."""
    with transaction(connection):
        if (waiting := next((found for found in pending(connection) if found.subject == subject), None)) is not None:
            return waiting
        cursor = connection.execute(
            "INSERT INTO emergencies (subject, actor, reason, wall_us) VALUES (?, ?, ?, ?)",
            (subject, stamp.actor, reason, stamp.wall_us),
        )
        ledger.note(connection, stamp, "emergency.use", subject, {"reason": reason})
        return Emergency(int(cursor.lastrowid or 0), subject, stamp.actor, reason, stamp.wall_us, "", None, "")


def pending(connection: sqlite3.Connection) -> list[Emergency]:
    """Those that nobody reviewed, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM emergencies WHERE reviewed_by = '' ORDER BY id")
    return [Emergency(*row) for row in rows]


def review(connection: sqlite3.Connection, stamp: Stamp, ids: list[int], note: str) -> None:
    """A person has looked at these; that it is another person is for the caller to see to."""
    with transaction(connection):
        for found in pending(connection):
            if found.id in ids:
                connection.execute(
                    "UPDATE emergencies SET reviewed_by = ?, reviewed_us = ?, note = ? WHERE id = ?",
                    (stamp.actor, stamp.wall_us, note, found.id),
                )
                detail = {"by": found.actor, "reason": found.reason, "note": note}
                ledger.note(connection, stamp, "emergency.review", found.subject, detail)
