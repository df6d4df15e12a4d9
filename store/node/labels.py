"""What a person says of a record. Appended, never edited: the newest label of a record counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp

_KEYS_MAX = 500


class Label(NamedTuple):
    """One label: of which record, by whom, when (wall clock of the node)."""

    id: int
    bundle: str
    record_key: int
    label: str
    note: str
    actor: str
    wall_us: int


class Facts(NamedTuple):
    """What the record said when it was labelled: it may be gone when somebody counts. `context`: product etc."""

    revision: int
    version: str
    decision: str
    score: float | None
    context: str = ""


def add(
    connection: sqlite3.Connection,
    stamp: Stamp,
    *,
    bundle: str,
    record_key: int,
    label: str,
    note: str = "",
    facts: Facts | None = None,
) -> Label:
    """Appends a label, with a ledger entry."""
    with transaction(connection):
        values = (bundle, record_key, label, note, stamp.actor, stamp.wall_us)
        cursor = connection.execute(
            "INSERT INTO labels (bundle, record_key, label, note, actor, wall_us) VALUES (?, ?, ?, ?, ?, ?)", values
        )
        if facts is not None:
            connection.execute("INSERT INTO label_facts VALUES (?, ?, ?, ?, ?)", (cursor.lastrowid, *facts[:4]))
            if facts.context:
                connection.execute("INSERT INTO label_contexts VALUES (?, ?)", (cursor.lastrowid, facts.context))
        ledger.note(connection, stamp, "record.label", bundle, {"key": record_key, "label": label})
    return Label(int(cursor.lastrowid or 0), *values)


def of_record(connection: sqlite3.Connection, bundle: str, record_key: int) -> list[Label]:
    """Every label of one record, oldest first."""
    rows = connection.execute(
        "SELECT * FROM labels WHERE bundle = ? AND record_key = ? ORDER BY id", (bundle, record_key)
    )
    return [Label(*row) for row in rows]


def page(connection: sqlite3.Connection, bundle: str, after: int, limit: int) -> list[tuple[Label, Facts | None]]:
    """Labels of a bundle with ids above `after`, oldest first; without facts those of an older agent."""
    rows = connection.execute(
        "SELECT labels.id, bundle, record_key, label, note, actor, wall_us, revision, version, decision, score, "
        "ifnull(context, '') FROM labels LEFT JOIN label_facts ON label_facts.id = labels.id "
        "LEFT JOIN label_contexts ON label_contexts.id = labels.id "
        "WHERE bundle = ? AND labels.id > ? ORDER BY labels.id LIMIT ?",
        (bundle, after, limit),
    )
    return [(Label(*row[:7]), None if row[7] is None else Facts(*row[7:])) for row in rows]


def people(connection: sqlite3.Connection, bundle: str, record_keys: Sequence[int]) -> dict[int, frozenset[str]]:
    """Who has labelled each of these records."""
    found: dict[int, set[str]] = {}
    for start in range(0, len(record_keys), _KEYS_MAX):
        keys = record_keys[start : start + _KEYS_MAX]
        marks = ", ".join("?" * len(keys))
        rows = connection.execute(
            f"SELECT record_key, actor FROM labels WHERE bundle = ? AND record_key IN ({marks})", (bundle, *keys)
        )
        for key, actor in rows:
            found.setdefault(key, set()).add(actor)
    return {key: frozenset(actors) for key, actors in found.items()}


def newest_of(connection: sqlite3.Connection, bundle: str, record_keys: Sequence[int]) -> dict[int, str]:
    """The label that counts, by record key, for those that have one."""
    found: dict[int, str] = {}
    for start in range(0, len(record_keys), _KEYS_MAX):
        keys = record_keys[start : start + _KEYS_MAX]
        marks = ", ".join("?" * len(keys))
        found.update(
            connection.execute(
                f"SELECT record_key, label FROM labels WHERE bundle = ? AND record_key IN ({marks}) ORDER BY id",
                (bundle, *keys),
            )
        )
    return found
