"""What a person takes over from the last shift: facts of the ledger and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from store import ledger
from store.db import transaction
from store.ledger import Stamp

TAKE = "handover.take"


def take(connection: sqlite3.Connection, stamp: Stamp, items: Sequence[str], note: str = "") -> None:
    """One entry an item, all or none."""
    with transaction(connection):
        for item in items:
            ledger.note(connection, stamp, TAKE, item, {"note": note} if note else {})
