"""The power is cut at every point of two deployments, and the process killed there; what is left is recovered.

The child runs once, its writes, syncs and renames logged in order (disklog.c, preloaded). The log is played into a
pessimistic model of a disk: only synced content and synced names survive. At every point three disks are made: nothing
but what was synced; everything, as after a kill; and a random part of what was not synced, torn writes included.
Figures and the reasons: a power cut with `synchronous=NORMAL` loses acknowledged rows that no kill ever loses.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from store import db, durable, ledger, migrations
from store.blobs import Blobs, digest_of
from store.errors import StoreError
from store.ledger import Stamp
from store.node import deployments, revisions

HERE = Path(__file__).parent
RANK = {"RECEIVING": 0, "STAGED": 1, "PREFLIGHT_OK": 2, "TRIAL": 3, "COMMITTED": 4, "ROLLED_BACK": 4}
_HEAD = struct.Struct("5Q")


@dataclass(frozen=True)
class Event:
    letter: str
    inode: int
    offset: int
    first: bytes
    second: bytes

    @property
    def path(self) -> str:
        return self.first.decode()


@dataclass
class File:
    """Content as the kernel shows it, as the disk holds it, and the writes between the two."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)


class Disk:
    """Names and contents, each as shown and as synced. A folder is a name without a file."""

    def __init__(self, base: Path) -> None:
        self.names: dict[str, File | None] = {}
        for path in sorted(base.rglob("*")):
            data = path.read_bytes() if path.is_file() else None
            self.names[str(path.relative_to(base))] = None if data is None else File(bytearray(data), data)
        self.synced = dict(self.names)
        self.pending: list[list[tuple[str, File | None, bool]]] = []
        self.numbers: dict[int, File] = {}

    def play(self, event: Event, root: str) -> None:
        def relative(path: bytes) -> str:
            return os.path.relpath(path.decode(), root)

        if event.letter == "O":
            name = relative(event.first)
            if name not in self.names:
                self._name([(name, File(), True)])
            found = self.names[name]
            assert found is not None
            self.numbers[event.inode] = found
        elif event.letter in "WT":
            self._write(self.numbers[event.inode], event)
        elif event.letter == "S":
            found = self.numbers[event.inode]
            found.synced, found.pending = bytes(found.data), []
        elif event.letter == "D":
            self._sync_folder(relative(event.first))
        elif event.letter == "R":
            old, new = relative(event.first), relative(event.second)
            self._name([(new, self.names[old], True), (old, None, False)])
        elif event.letter == "U":
            self._name([(relative(event.first), None, False)])
        elif event.letter == "M":
            self._name([(relative(event.first), None, True)])

    def _name(self, changes: list[tuple[str, File | None, bool]]) -> None:
        """One rename within a folder is one change; across folders each folder has its own."""
        folders = {os.path.dirname(name) for name, _, _ in changes}
        for folder in folders:
            self.pending.append([change for change in changes if os.path.dirname(change[0]) == folder])
        for change in changes:
            _apply(self.names, change)

    def _sync_folder(self, folder: str) -> None:
        folder = "" if folder == "." else folder
        for group in self.pending:
            if os.path.dirname(group[0][0]) == folder:
                for change in group:
                    _apply(self.synced, change)
        self.pending = [group for group in self.pending if os.path.dirname(group[0][0]) != folder]

    @staticmethod
    def _write(file: File, event: Event) -> None:
        if event.letter == "T":
            del file.data[event.offset :]
            file.data.extend(bytes(event.offset - len(file.data)))
            # A cut that was not synced may or may not have happened: the model keeps the old content.
            return
        if len(file.data) < event.offset:
            file.data.extend(bytes(event.offset - len(file.data)))
        file.data[event.offset : event.offset + len(event.first)] = event.first
        file.pending.append((event.offset, event.first))

    def after_power_cut(self) -> dict[str, bytes | None]:
        return _reachable({name: None if file is None else file.synced for name, file in self.synced.items()})

    def after_kill(self) -> dict[str, bytes | None]:
        return {name: None if file is None else bytes(file.data) for name, file in self.names.items()}

    def after_torn_power_cut(self, source: random.Random) -> dict[str, bytes | None]:
        names = dict(self.synced)
        for group in self.pending[: source.randint(0, len(self.pending))]:
            for change in group:
                _apply(names, change)
        return _reachable({name: None if file is None else _torn(file, source) for name, file in names.items()})


def _apply(names: dict[str, File | None], change: tuple[str, File | None, bool]) -> None:
    name, file, present = change
    if present:
        names[name] = file
    else:
        names.pop(name, None)


def _reachable(names: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """Without what lies in a folder that is gone."""
    return {
        name: data
        for name, data in names.items()
        if all(str(parent) in (*names, ".") for parent in Path(name).parents)
    }  # fmt: skip


def _torn(file: File, source: random.Random) -> bytes:
    data = bytearray(file.synced)
    for offset, content in file.pending:
        if source.random() < 0.5:
            kept = content[: source.randrange(0, len(content) + 1, 512) if source.random() < 0.3 else len(content)]
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(kept)] = kept
    return bytes(data)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disklog") / "disklog.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", path, HERE / "disklog.c", "-ldl"], check=True)
    return path


@dataclass(frozen=True)
class Run:
    base: Path
    root: str
    events: list[Event]


def run_child(folder: Path, library: Path, synchronous: str = "FULL") -> Run:
    """Runs the child on a fresh node and reads what it did to the disk."""
    base, state = folder / "base", folder / "state"
    base.mkdir()
    Blobs(base).create()
    migrations.migrate_node(base / "node.db")
    shutil.copytree(base, state)
    log = folder / "log"
    environment = os.environ | {"LD_PRELOAD": str(library), "DISKLOG_ROOT": str(state), "DISKLOG_OUT": str(log)}
    subprocess.run([sys.executable, HERE / "power_child.py", state, synchronous], env=environment, check=True)
    return Run(base, str(state), list(read_events(log.read_bytes())))


def read_events(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        letter, inode, offset, first, second = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield Event(chr(letter), inode, offset, data[at : at + first], data[at + first : at + first + second])
        at += first + second


def violations(
    run: Run, *, ignore: Callable[[Event, str], bool] = lambda event, path: False, until: tuple[str, ...] = ()
) -> tuple[int, list[str]]:
    """How many different disks were made and recovered, and what was wrong with which.

    `ignore`: events left out. `until`: ends as soon as all of these were found wrong.
    """
    disk, told, source = Disk(run.base), bytearray(), random.Random(3)
    paths: dict[int, str] = {}
    seen: set[int] = set()
    wrong: list[str] = []
    for number, event in enumerate(run.events):
        if event.letter == "O":
            paths[event.inode] = event.path
        path = paths.get(event.inode, event.path if event.letter in "DUM" else "")
        if path.endswith("/told"):
            told += event.first if event.letter == "W" else b""
            continue
        if ignore(event, path):
            continue
        if until and all(any(mark in text for text in wrong) for mark in until):
            break
        disk.play(event, run.root)
        disks = {"power": disk.after_power_cut(), "kill": disk.after_kill(), "torn": disk.after_torn_power_cut(source)}
        for kind, content in disks.items():
            key = hash((bytes(told), tuple(sorted(content.items(), key=lambda item: item[0]))))
            if key not in seen:
                seen.add(key)
                wrong += [f"{kind} after event {number} ({event.letter}): {text}" for text in check(content, told)]
    return len(seen), wrong


def check(content: dict[str, bytes | None], told: bytes) -> list[str]:
    """Recovers a disk twice and says what is wrong with it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        state = Path(folder)
        for name, data in sorted(content.items()):
            if data is None:
                (state / name).mkdir(exist_ok=True)
            else:
                (state / name).write_bytes(data)
        try:
            recover(state)
            first = dump(state)
            recover(state)
            wrong = [] if dump(state) == first else ["recovering again changed something (I6)"]
            return wrong + check_promises(state, [json.loads(line) for line in told.splitlines()])
        except (StoreError, OSError, ValueError, sqlite3.Error) as error:
            return [f"{type(error).__name__}: {error}"]


def recover(state: Path) -> None:
    """What a start after a reboot does."""
    Blobs(state).recover(rebooted=True)
    durable.remove_temporaries(state)
    with contextlib.closing(db.open_writer(state / "node.db")) as connection:
        row = deployments.trial(connection)
        if row is not None:
            deployments.roll_back(connection, Stamp("boot-2", 0, 0, "start"), row.id, "INTERRUPTED")


def dump(state: Path) -> list[str]:
    with contextlib.closing(db.open_reader(state / "node.db")) as connection:
        files = [str(path) for path in sorted(state.rglob("*")) if not path.name.startswith("node.db-")]
        return [*connection.iterdump(), *files]


def check_promises(state: Path, told: list[dict[str, object]]) -> list[str]:
    wrong = []
    with contextlib.closing(db.open_reader(state / "node.db")) as connection:
        if not db.is_sound(connection) or ledger.verify(connection) is not None:
            wrong.append("the database or the ledger is damaged (I15)")
        for promise in told:
            if "id" in promise:
                row = deployments.get(connection, str(promise["id"]))
                now, then = row.state if row else "RECEIVING", str(promise["state"])
                if RANK[now] < RANK[then] or (RANK[then] == 4 and now != then):
                    wrong.append(f"{promise} was told, and {now} is found (I5)")
            elif "seq" in promise and ledger.head(connection).seq < int(str(promise["seq"])):
                wrong.append(f"{promise} was told and is lost (I4)")
            elif "good" in promise and json.loads((state / "good.json").read_bytes())["number"] < promise["good"]:
                wrong.append(f"{promise} was told and is lost")
        wrong += check_blobs(state, connection)
    return wrong


def check_blobs(state: Path, connection: object) -> list[str]:
    blobs = Blobs(state)
    wrong = [f"{digest} is another content (I7)" for digest, _ in blobs.whole() if not blobs.scrub(digest)]
    if list(state.rglob("*.tmp")):
        wrong.append("a temporary is left (I6)")
    for active in revisions.all_active(connection):  # type: ignore[arg-type]
        if active.revision is None:
            continue
        revision = revisions.revision(connection, "b", active.revision)  # type: ignore[arg-type]
        assert revision is not None
        try:
            named = json.loads(blobs.read(revision.digest, bytes_max=1 << 20))
            for digest in named:
                with blobs.path(digest).open("rb") as file:
                    if digest_of(file) != digest:
                        wrong.append(f"{digest} of the active revision is damaged (I1)")
        except (OSError, StoreError) as error:
            wrong.append(f"the active revision cannot be loaded (I1): {error}")
    return wrong


def test_i1_i4_i5_i6_i7_i15_hold_after_a_kill_or_a_power_cut_at_every_point(tmp_path: Path, library: Path) -> None:
    run = run_child(tmp_path, library)
    disks, wrong = violations(run)
    assert wrong == []
    assert len(run.events) > 200
    assert disks > 250


def test_the_check_sees_what_synchronous_normal_loses_to_a_power_cut_and_not_to_a_kill(
    tmp_path: Path, library: Path
) -> None:
    _, wrong = violations(run_child(tmp_path, library, "NORMAL"), until=("(I4)", "(I5)"))
    assert any("(I4)" in text for text in wrong)
    assert any("(I5)" in text for text in wrong)
    assert not any(text.startswith("kill") for text in wrong)


def test_the_check_sees_blobs_that_were_not_synced(tmp_path: Path, library: Path) -> None:
    run = run_child(tmp_path, library)
    _, wrong = violations(run, ignore=lambda event, path: event.letter == "S" and "/uploads/" in path, until=("(I7)",))
    assert any("(I7)" in text for text in wrong)


def test_the_check_sees_names_that_were_not_synced(tmp_path: Path, library: Path) -> None:
    run = run_child(tmp_path, library)
    _, wrong = violations(run, ignore=lambda event, path: event.letter == "D" and "/blobs/" in path, until=("(I1)",))
    assert any("(I1)" in text for text in wrong)
