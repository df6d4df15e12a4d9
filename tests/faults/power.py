"""The power is cut at every point of a node's life, and the process killed there; what is left is recovered.

The life is lived once, its writes, syncs and renames logged in order (disklog.c, preloaded). The log is played into a
pessimistic model of a disk. At every point three disks are made: nothing but what was synced; everything, as after a
kill; and a random part of what was not synced, torn writes included. Each is recovered, and recovered once more.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from store import db, migrations
from store.blobs import Blobs
from store.errors import StoreError
from store.node.deployments import WrongState
from tests.faults import invariants, life
from tests.faults.disk import MEMORY, Disk, Event, read_events
from tests.faults.planted import BUGS, LIVES, UNSYNCED

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
Bytes = dict[str, bytes | None]


def build(folder: Path) -> Path:
    """The library that logs, and fails, what a process does to its files."""
    path = folder / "disklog.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", path, HERE / "disklog.c", "-ldl"], check=True)
    return path


@dataclass(frozen=True)
class Run:
    """One life: the node before it, where it was lived, and what was done to the disk, in order.

    `told`: what was told before; `rebooted`: it is lived in another boot than the node's trial began in.
    """

    base: Path
    root: str
    events: list[Event]
    recover: Callable[[Path, bool], None]
    told: bytes = b""
    rebooted: bool = False


def make_node(base: Path) -> None:
    """An empty node."""
    base.mkdir()
    Blobs(base).create()
    migrations.migrate_node(base / "node.db")


def live(folder: Path, library: Path, bug: str = "Correct") -> Run:
    """Lives one life on a fresh node and reads what it did to the disk."""
    base, state, log = folder / f"base-{bug}", folder / f"state-{bug}", folder / f"log-{bug}"
    make_node(base)
    shutil.copytree(base, state)
    environment = os.environ | {"LD_PRELOAD": str(library), "DISKLOG_ROOT": str(state), "DISKLOG_OUT": str(log)}
    command = [sys.executable, "-m", "tests.faults.planted", str(state), bug]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    # A bug may end its life early; what it did until then is in the log.
    assert bug != "Correct" or done.returncode == 0, done.stderr
    return Run(base, str(state), list(read_events(log.read_bytes())), LIVES[bug].recover)


def violations(
    run: Run,
    *,
    ignore: Callable[[Event, str], bool] = lambda event, path: False,
    stop: bool = False,
    step: int = 1,
    judge: Callable[..., list[str]] | None = None,
) -> tuple[int, list[str]]:
    """How many different disks were made and recovered, and what was wrong with which. `stop`: at the first one.

    `ignore`: events left out. `step`: only every so many points are looked at. `judge`: instead of `check`.
    """
    look = judge or check
    disk, told, source = Disk(run.base), bytearray(run.told), random.Random(3)
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
        disk.play(event, run.root)
        if number % step:
            continue
        for kind, content in (
            ("power", disk.after_power_cut()), ("kill", disk.after_kill()), ("torn", disk.after_torn_power_cut(source))
        ):  # fmt: skip
            key = hash((bytes(told), kind == "kill", tuple(sorted(content.items(), key=lambda item: item[0]))))
            if key not in seen:
                seen.add(key)
                promises = [json.loads(line) for line in told.splitlines()]
                found = look(content, promises, run.recover, rebooted=run.rebooted or kind != "kill")
                wrong += [f"{kind} after event {number} ({event.letter}): {text}" for text in found]
        if stop and wrong:
            break
    return len(seen), wrong


def check(
    content: Bytes, told: list[invariants.Told], recover: Callable[[Path, bool], None], *, rebooted: bool
) -> list[str]:
    """Recovers a disk twice and says what is wrong with it."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        make(Path(folder), content)
        return recovered(Path(folder), told, recover, rebooted=rebooted)


def make(state: Path, content: Bytes) -> None:
    """The files and folders of a disk."""
    for name, data in sorted(content.items()):
        if data is None:
            (state / name).mkdir(exist_ok=True)
        else:
            (state / name).write_bytes(data)


def recovered(
    state: Path, told: list[invariants.Told], recover: Callable[[Path, bool], None], *, rebooted: bool
) -> list[str]:
    """Recovers a node twice and says what is wrong with it."""
    try:
        recover(state, rebooted)
        first = _dump(state)
        recover(state, rebooted)
        wrong = [] if _dump(state) == first else ["I6: recovering again changed something"]
        wrong += invariants.check(state, told, named=_named)
        return wrong + life.half_made(state, told, rebooted)
    except (StoreError, OSError, ValueError, WrongState, sqlite3.Error) as error:
        return [f"I1: {type(error).__name__}: {error}"]


def double(run: Run, folder: Path, library: Path, samples: int) -> tuple[int, list[str]]:
    """The same for recovery itself: at `samples` points of a life a first fault, then a second one at every call of
    what recovers from it. How many pairs of faults were tried, and what was wrong after which."""
    disk, told, source, pairs, wrong = Disk(run.base), bytearray(), random.Random(4), 0, []
    chosen = set(source.sample(range(len(run.events)), samples))
    paths: dict[int, str] = {}
    for number, event in enumerate(run.events):
        if event.letter == "O":
            paths[event.inode] = event.path
        if paths.get(event.inode, "").endswith("/told"):
            told += event.first if event.letter == "W" else b""
            continue
        disk.play(event, run.root)
        if number in chosen:
            rebooted = bool(source.getrandbits(1))
            content = disk.after_torn_power_cut(source) if rebooted else disk.after_kill()
            second = _recovery(content, bytes(told), folder / f"{number}", library, rebooted)
            count, found = violations(second)
            pairs += count
            wrong += [f"{'power' if rebooted else 'kill'} at {number}, then {text}" for text in found]
    return pairs, wrong


def _recovery(content: Bytes, told: bytes, folder: Path, library: Path, rebooted: bool) -> Run:
    """A recovery as a life: what it does to a disk."""
    base, state, log = folder / "base", folder / "state", folder / "log"
    base.mkdir(parents=True)
    make(base, content)
    shutil.copytree(base, state)
    environment = os.environ | {"LD_PRELOAD": str(library), "DISKLOG_ROOT": str(state), "DISKLOG_OUT": str(log)}
    command = [sys.executable, "-m", "tests.faults.life", str(state), *(["rebooted"] if rebooted else [])]
    subprocess.run(command, env=environment, cwd=ROOT, check=True)
    return Run(base, str(state), list(read_events(log.read_bytes())), life.Life.recover, told, rebooted)


def planted(folder: Path, library: Path) -> Iterable[tuple[str, list[str]]]:
    """Every bug with what the check found in it first; an empty list is a bug that was not found."""
    for bug in BUGS:
        yield bug, violations(live(folder, library, bug), stop=True)[1]
    run = live(folder, library)
    for bug, ignore in UNSYNCED.items():
        yield bug, violations(run, ignore=ignore, stop=True)[1]


def _named(manifest: bytes) -> Iterable[str]:
    names: list[str] = json.loads(manifest)
    return names


def _dump(state: Path) -> list[str]:
    with contextlib.closing(db.open_reader(state / "node.db")) as connection:
        files = [str(path) for path in sorted(state.rglob("*")) if not path.name.startswith("node.db-")]
        return [*connection.iterdump(), *files]
