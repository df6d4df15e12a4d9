from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from store import db, migrations
from store.errors import StoreError
from store.node import schema


def _schema(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def test_a_new_database_lacks_every_step_and_a_migrated_one_none(tmp_path: Path) -> None:
    connection = db.open_writer(tmp_path / "node.db")
    assert schema.missing_steps(connection) == list(schema.STEPS)
    connection.close()
    assert migrations.migrate_node(tmp_path / "node.db") == list(schema.STEPS)
    assert migrations.migrate_node(tmp_path / "node.db") == []
    connection = db.open_writer(tmp_path / "node.db")
    assert schema.missing_steps(connection) == []
    connection.close()


def test_it_runs_as_a_process_of_its_own_and_says_what_it_did(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "store.migrations", "node", str(tmp_path / "node.db")]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.stdout.split() == list(schema.STEPS)
    (tmp_path / "node.db").write_bytes(b"spoilt" * 1_000)
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "node.db" in second.stderr


def test_i14_every_step_only_adds() -> None:
    adding = re.compile(r"\s*(CREATE (UNIQUE )?(TABLE|INDEX|TRIGGER)|ALTER TABLE \w+ ADD COLUMN)\b")
    for name, sql in schema.STEPS.items():
        for statement in migrations._statements(sql):
            assert adding.match(statement), f"{name}: {statement[:60]}"


def test_i14_a_step_changes_nothing_that_the_steps_before_it_made() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    before: dict[str, str] = {}
    for count in range(1, len(schema.STEPS) + 1):
        migrations.migrate(connection, "node", dict(list(schema.STEPS.items())[:count]))
        now = _schema(connection)
        # A column that was added shows at the end of its table's text; everything else must stand as it was.
        assert all(now[name].startswith(sql.rstrip(") ")) for name, sql in before.items())
        before = now
    connection.close()


def test_i14_steps_of_a_later_agent_are_no_obstacle(tmp_path: Path) -> None:
    migrations.migrate_node(tmp_path / "node.db")
    connection = db.open_writer(tmp_path / "node.db")
    later = {**schema.STEPS, "9999_later": "CREATE TABLE later (x);\nALTER TABLE alerts ADD COLUMN colour TEXT;\n"}
    migrations.migrate(connection, schema.MIGRATION_SET, later)
    assert schema.missing_steps(connection) == []
    connection.close()
    assert migrations.migrate_node(tmp_path / "node.db") == []


def test_a_step_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    connection = db.open_writer(tmp_path / "a.db")
    with pytest.raises(sqlite3.OperationalError):
        migrations.migrate(connection, "s", {"1": "CREATE TABLE a (x);\nCREATE TABLE a (x);\n"})
    assert "a" not in _schema(connection)
    assert migrations.migrate(connection, "s", {"1": "CREATE TABLE a (x);\n"}) == ["1"]
    connection.close()


def test_an_unfinished_statement_is_refused_before_anything_runs() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(ValueError, match="unfinished"):
        migrations.migrate(connection, "s", {"1": "CREATE TABLE a (x"})
    connection.close()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        migrations.migrate_node(tmp_path / "nowhere" / "node.db")


def test_reading_and_writing_node_db_loads_neither_the_migration_library_nor_cryptography() -> None:
    code = (
        "import sys\n"
        "from store import blobs, bundle, db, ledger\n"
        "from store.node import alerts, bindings, deployments, identity, labels\n"
        "from store.node import lease, revisions, schema, standing, trend\n"
        "print([name for name in ('sqlite_utils', 'cryptography', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
