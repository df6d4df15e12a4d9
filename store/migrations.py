"""Brings a database to the schema of this version. On a node it runs as a process of its own, before the agent opens
the database: `python -m store.migrations node PATH`. Steps only add; each is one transaction with its own entry.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

import sqlite_utils
from sqlite_utils.migrations import Migrations

from store import db
from store.errors import StoreError
from store.node import schema


def migrate(connection: sqlite3.Connection, migration_set: str, steps: Mapping[str, str]) -> list[str]:
    """Applies the steps that `connection` lacks, in order; returns their names. Idempotent."""
    migrations = Migrations(migration_set)
    for name, sql in steps.items():
        migrations(name=name)(_step(sql))
    database = sqlite_utils.Database(connection)
    pending = [migration.name for migration in migrations.pending(database)]
    migrations.apply(database)
    return pending


def migrate_node(path: Path) -> list[str]:
    """Makes or upgrades node.db. No other process may have it open for writing. Raises StoreError kinds."""
    connection = db.open_writer(path)
    try:
        return migrate(connection, schema.MIGRATION_SET, schema.STEPS)
    except sqlite3.Error as error:
        raise StoreError("migrate", path, str(error)) from error
    finally:
        connection.close()


class _Step:
    def __init__(self, sql: str) -> None:
        self.__name__ = "step"
        self._statements = list(_statements(sql))

    def __call__(self, database: sqlite_utils.Database, /) -> None:
        for statement in self._statements:
            database.conn.execute(statement)


def _step(sql: str) -> _Step:
    return _Step(sql)


def _statements(sql: str) -> list[str]:
    """The single statements of `sql`: executescript would commit the migration's transaction."""
    statements: list[str] = []
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    if pending.strip():
        raise ValueError(f"unfinished statement: {pending[:80]!r}")
    return statements


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: the database is at this version's schema; 1: it is not, and stderr says why."""
    parser = argparse.ArgumentParser(prog="python -m store.migrations")
    parser.add_argument("kind", choices=["node"])
    parser.add_argument("path", type=Path)
    options = parser.parse_args(arguments)
    try:
        applied = migrate_node(options.path)
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    for name in applied:
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
