"""Orders of a person that stand until a person lifts them: hold, and out of service. Kept over restarts and reboots."""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp

Name = Literal["hold", "out_of_service"]


class Order(NamedTuple):
    """Who gave it and why. `since_us`, `until_us`: wall clock of the node; past `until_us` it still stands.

    `owner`: who is to lift it, where that is not `by`.
    """

    by: str
    reason: str
    since_us: int
    until_us: int | None
    owner: str = ""


def get(connection: sqlite3.Connection, name: Name) -> Order | None:
    """The order, if it stands."""
    row = connection.execute(
        "SELECT s.by, s.reason, s.since_us, s.until_us, coalesce(o.owner, '') FROM standing AS s "
        "LEFT JOIN owners AS o ON o.name = s.name AND o.since_us = s.since_us WHERE s.name = ?",
        (name,),
    ).fetchone()
    return Order(*row) if row else None


def give(
    connection: sqlite3.Connection,
    stamp: Stamp,
    name: Name,
    reason: str,
    *,
    until_us: int | None = None,
    owner: str = "",
) -> Order:
    """Gives the order. Where it stands already the first one stays: giving it again answers with that."""
    with transaction(connection):
        order = get(connection, name)
        if order is None:
            order = Order(stamp.actor, reason, stamp.wall_us, until_us, owner)
            # The agent before this one writes `standing` too and knows of no owners: they are rows beside it (I14).
            connection.execute("INSERT INTO standing VALUES (?, ?, ?, ?, ?)", (name, *order[:4]))
            connection.execute("DELETE FROM owners WHERE name = ?", (name,))
            if owner:
                connection.execute("INSERT INTO owners VALUES (?, ?, ?)", (name, stamp.wall_us, owner))
            detail = {"reason": reason, "until_us": until_us, **({"owner": owner} if owner else {})}
            ledger.note(connection, stamp, f"{name}.set", "node", detail)
    return order


def lift(connection: sqlite3.Connection, stamp: Stamp, name: Name, reason: str = "") -> Order | None:
    """Lifts the order and returns it; None when it did not stand."""
    with transaction(connection):
        order = get(connection, name)
        if order is not None:
            connection.execute("DELETE FROM standing WHERE name = ?", (name,))
            ledger.note(connection, stamp, f"{name}.lift", "node", {"reason": reason, "by": order.by})
    return order
