"""A node's database and the moments of its life, for tests of what is stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store import db, migrations
from store.ledger import Stamp


@pytest.fixture
def node(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The writer of a new node.db with the schema of this version."""
    migrations.migrate_node(tmp_path / "node.db")
    connection = db.open_writer(tmp_path / "node.db")
    yield connection
    connection.close()


@pytest.fixture
def at() -> Callable[..., Stamp]:
    """A moment: seconds on the boot's clock, which boot, who acts. The wall clock stands still: nothing may use it."""

    def stamp(seconds: float, *, boot: str = "boot-1", actor: str = "alice") -> Stamp:
        return Stamp(boot, round(seconds * 1e6), 1_000_000, actor)

    return stamp
