"""A disk without a free byte, a quota of file size, and a disk that only reads. Real ones where the machine lets us.

As root a tmpfs of the needed size is mounted; otherwise the same faults come from RLIMIT_FSIZE and from folders
without write permission, in a child process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store import db, durable, errors, ledger, migrations
from store.blobs import Blobs
from store.ledger import Stamp
from store.node import deployments, revisions

STAMP = Stamp("boot-1", 0, 0, "alice")
MINUTE_US = 60_000_000


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path | None]:
    """A tmpfs of `size`; None where this process may not mount one."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, check=False
    )
    if made.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def in_child(act: Callable[[], None], *, as_nobody: bool = False) -> None:
    """Runs `act` in a process of its own, which root gives to nobody where asked; what it raises is raised here."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read)
            if as_nobody and os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65_534)
                os.setuid(65_534)
            act()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the parent raises it
            os.write(write, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(code)
    os.close(write)
    with open(read, "rb") as pipe:
        told = pipe.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, told


def fill(folder: Path) -> None:
    """Takes every free byte of the disk."""
    with (folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4_096)):
            pass


def in_trial(folder: Path) -> None:
    """A node.db with one committed bundle and one in its trial, closed without a checkpoint, as a kill leaves it."""
    migrations.migrate_node(folder / "node.db")
    connection = db.open_writer(folder / "node.db")
    for number in (1, 2):
        id_ = f"d{number}"
        deployments.stage(
            connection,
            STAMP,
            id_=id_,
            bundle="b",
            version="1",
            digest="x",
            epoch=1,
            sequence=number,
            window_us=MINUTE_US,
        )
        deployments.set_staged(connection, STAMP, id_, signer="s")
        deployments.set_preflight_ok(connection, STAMP, id_, {}, binding_revision=0)
        deployments.begin_trial(connection, STAMP, id_, window_us=MINUTE_US)
        if number == 1:
            deployments.commit(connection, STAMP, id_, reachability="proved")
    copies = [(folder / f"node.db{suffix}") for suffix in ("", "-wal")]
    kept = [path.read_bytes() for path in copies]
    connection.close()
    for path, data in zip(copies, kept, strict=True):
        path.write_bytes(data)


def roll_back_with_ballast(folder: Path) -> None:
    connection = db.open_writer(folder / "node.db", ballast=durable.Ballast(folder / "ballast", 1 << 20))
    row = deployments.roll_back(connection, STAMP._replace(boot_id="boot-2"), "d2", "INTERRUPTED")
    assert row.state == "ROLLED_BACK"
    active = revisions.active(connection, "b")
    assert active is not None
    assert active.revision == 1
    connection.close()


def test_i9_going_back_works_on_a_disk_without_a_free_byte(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        if disk is None:
            pytest.fail("NOT RUN: a full disk needs the right to mount a tmpfs; as root this works in a container too")
        durable.Ballast(disk / "ballast", 1 << 20).create()
        in_trial(disk)
        fill(disk)
        with pytest.raises(errors.DiskFull):
            db.open_writer(disk / "node.db")
        roll_back_with_ballast(disk)
        assert not (disk / "ballast").exists()


def test_i9_a_full_disk_still_tells_the_truth(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        if disk is None:
            pytest.fail("NOT RUN: a full disk needs the right to mount a tmpfs")
        in_trial(disk)
        fill(disk)
        reader = db.open_reader(disk / "node.db")
        trial = deployments.trial(reader)
        assert trial is not None
        assert trial.id == "d2"
        reader.close()
        with pytest.raises(errors.DiskFull):
            durable.write_file(disk / "a", b"x" * 10_000)
        blobs = Blobs(disk)
        blobs.create()
        with pytest.raises(errors.DiskFull):
            blobs.put(b"y" * 10_000)
        assert not list(disk.rglob("*.tmp"))


def test_i9_a_disk_that_fills_up_within_a_transaction_loses_that_transaction_and_no_other(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        if disk is None:
            pytest.fail("NOT RUN: a full disk needs the right to mount a tmpfs")
        in_trial(disk)
        connection = db.open_writer(disk / "node.db")
        written = _until_refused(
            lambda: ledger.note(connection, STAMP, "fill", "x", {"text": "y" * 60_000}), connection
        )
        connection.close()
        (disk / "node.db-shm").unlink(missing_ok=True)
        reader = db.open_reader(disk / "node.db")
        assert ledger.head(reader).seq == written
        assert ledger.verify(reader) is None
        reader.close()


def test_i9_a_file_size_limit_takes_no_acknowledged_row_and_is_a_full_disk_for_files(tmp_path: Path) -> None:
    def act() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        migrations.migrate_node(tmp_path / "a.db")
        connection = db.open_writer(tmp_path / "a.db")
        resource.setrlimit(resource.RLIMIT_FSIZE, (192 << 10, 192 << 10))
        written = _until_refused(lambda: ledger.note(connection, STAMP, "a", "x", {"t": "y" * 9_000}), connection)
        connection.close()
        reader = db.open_reader(tmp_path / "a.db")
        assert ledger.head(reader).seq == written > 0
        assert ledger.verify(reader) is None
        reader.close()
        try:
            durable.write_file(tmp_path / "b", bytes(300 << 10))
        except errors.DiskFull:
            assert not (tmp_path / "b").exists()
            return
        raise AssertionError("300 KiB went into a limit of 192")

    in_child(act)


def test_i9_a_read_only_disk_tells_the_truth_and_refuses_changes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        if disk is None:
            pytest.fail("NOT RUN: a read-only disk needs the right to mount a tmpfs")
        in_trial(disk)
        assert (disk / "node.db-wal").stat().st_size > 0
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        _reads_and_cannot_write(disk)


def test_i9_a_folder_without_write_permission_tells_the_truth_and_refuses_changes() -> None:
    # Not below pytest's own folders, which nobody else may enter.
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder)
        in_trial(disk)
        for path in disk.iterdir():
            os.chmod(path, 0o444)
        os.chmod(disk, 0o555)
        in_child(lambda: _reads_and_cannot_write(disk), as_nobody=True)
        os.chmod(disk, 0o755)


def _reads_and_cannot_write(disk: Path) -> None:
    reader = db.open_reader(disk / "node.db")
    trial = deployments.trial(reader)
    assert trial is not None
    assert (trial.id, ledger.verify(reader)) == ("d2", None)
    assert ledger.head(reader).seq == 9
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM deployments")
    reader.close()
    for act in (
        lambda: db.open_writer(disk / "node.db"),
        lambda: durable.write_file(disk / "a", b"x"),
        lambda: durable.append(disk / "b", b"x"),
        lambda: durable.make_dir(disk / "c"),
        lambda: durable.unlink(disk / "node.db"),
        lambda: durable.Ballast(disk / "ballast").create(),
    ):
        with pytest.raises(errors.ReadOnly):
            act()


def _until_refused(write: Callable[[], object], connection: sqlite3.Connection) -> int:
    """Writes until the disk is full; how many ledger entries there were before."""
    for _ in range(1_000):
        written = ledger.head(connection).seq
        try:
            with db.transaction(connection):
                write()
        except errors.StoreError:
            return written
    raise AssertionError("the disk never filled up")
