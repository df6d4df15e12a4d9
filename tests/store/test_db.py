from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from store import db, errors


def test_the_writer_syncs_every_commit_and_keeps_the_file_to_its_owner(tmp_path: Path) -> None:
    connection = db.open_writer(tmp_path / "a.db")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o600
    connection.close()


def test_a_shared_database_syncs_the_removal_of_its_journal(tmp_path: Path) -> None:
    connection = db.open_shared(tmp_path / "a.db")
    assert connection.execute("PRAGMA synchronous").fetchone() == (3,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    connection = _with_table(tmp_path)
    with pytest.raises(RuntimeError):
        _insert_and_raise(connection, 1)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    connection.close()


def test_a_part_that_raises_is_undone_alone_and_the_rest_is_kept(tmp_path: Path) -> None:
    connection = _with_table(tmp_path)
    with db.transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(RuntimeError):
            _insert_and_raise(connection, 2)
    assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
    connection.close()


def test_a_reader_sees_what_the_writer_committed_and_can_write_nothing(tmp_path: Path) -> None:
    writer = _with_table(tmp_path)
    reader = db.open_reader(tmp_path / "a.db")
    writer.execute("INSERT INTO t VALUES (1)")
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("INSERT INTO t VALUES (2)")
    reader.close()
    writer.close()


def test_a_statement_past_the_readers_deadline_ends(tmp_path: Path) -> None:
    _with_table(tmp_path).close()
    reader = db.open_reader(tmp_path / "a.db", deadline_s=0.05)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(sqlite3.OperationalError) as caught:
        reader.execute(endless)
    assert isinstance(errors.from_sqlite(caught.value, "read", "a.db"), errors.Busy)
    reader.close()


def test_what_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database" * 500)
    for opener in (db.open_writer, db.open_reader):
        with pytest.raises(errors.Corrupt):
            opener(tmp_path / "a.db")


def test_a_missing_database_is_made_by_the_writer_only(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreError) as caught:
        db.open_reader(tmp_path / "a.db")
    assert type(caught.value) is errors.StoreError
    assert not (tmp_path / "a.db").exists()


def test_a_database_that_another_holds_is_busy_and_not_broken(tmp_path: Path) -> None:
    holder = _with_table(tmp_path)
    other = db.open_writer(tmp_path / "a.db", busy_timeout_s=0.05)
    with db.transaction(holder), pytest.raises(errors.Busy), db.transaction(other):
        raise AssertionError("two writers in one database")
    other.close()
    holder.close()


def test_what_the_schema_refuses_is_told_as_that_and_not_as_a_fault_of_the_disk(tmp_path: Path) -> None:
    connection = db.open_writer(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (x INTEGER CHECK (x > 0))")
    with pytest.raises(sqlite3.IntegrityError), db.transaction(connection):
        connection.execute("INSERT INTO t VALUES (0)")
    connection.close()


def test_the_writer_may_move_between_threads(tmp_path: Path) -> None:
    connection = _with_table(tmp_path)
    thread = threading.Thread(target=lambda: connection.execute("INSERT INTO t VALUES (1)"))
    thread.start()
    thread.join()
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
    connection.close()


def test_damage_in_a_page_is_found(tmp_path: Path) -> None:
    connection = _with_table(tmp_path)
    with db.transaction(connection):
        connection.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(5_000)))
    assert db.is_sound(connection)
    connection.close()
    data = bytearray((tmp_path / "a.db").read_bytes())
    data[4096:8192] = b"\xff" * 4096
    (tmp_path / "a.db").write_bytes(data)
    connection = db.open_writer(tmp_path / "a.db")
    assert not db.is_sound(connection)
    connection.close()


def test_one_file_of_the_packages_opens_sqlite() -> None:
    root = Path(__file__).parents[2]
    found = [
        str(path.relative_to(root))
        for package in ("store", "nodeagent", "console", "widgets")
        for path in sorted((root / package).rglob("*.py"))
        if "sqlite3.connect" in path.read_text()
    ]
    # The launcher reads one row where no supervisor is left to; it loads nothing but its own files.
    assert [path for path in found if path != "nodeagent/processes/deadline_row.py"] == ["store/db.py"]


def _insert_and_raise(connection: sqlite3.Connection, value: int) -> None:
    with db.transaction(connection):
        connection.execute("INSERT INTO t VALUES (?)", (value,))
        raise RuntimeError


def _with_table(folder: Path) -> sqlite3.Connection:
    connection = db.open_writer(folder / "a.db")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER)")
    return connection
