"""The power is cut at points of a node's life on real file systems: a loop mount each of ext4 and XFS.

A life is lived on the mount under disklog.c, which shuts the file system down right before the chosen call: what was
not synced is gone. Then it is unmounted, mounted again, which replays its journal, recovered twice and checked. What
the outside world was told lies outside of the disk. `python -m tests.faults.mounts STATE BUG` lives one life.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.faults import power
from tests.faults.planted import LIVES

CUT, CANNOT_CUT = 75, 76
PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Kind(NamedTuple):
    """How a file system is made, in a file of so many bytes."""

    image_bytes: int
    make: tuple[str, ...]


# 300 MB is the least that mkfs.xfs makes.
KINDS: Final = {
    "ext4": Kind(64 << 20, ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0")),
    "xfs": Kind(304 << 20, ("mkfs.xfs", "-q", "-f")),
}
# Bugs that a real file system shows too: a commit that is not synced, and these files. That a name is not synced none
# of them shows, which is why power.py has its own model of a disk.
BUGS: Final = {"SynchronousNormal": "", "BlobsNotSynced": "/uploads/"}


class NotRun(Exception):
    """This machine cannot do it, and why."""


class Mount:
    """One file system in a file, mounted at `at` by a loop device of its own."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.at, self._image = folder / kind, folder / f"{kind}.img"
        self._kind, self._device, self._mounted = kind, "", False

    def __enter__(self) -> Mount:
        self.at.mkdir()
        with self._image.open("wb") as file:
            file.truncate(KINDS[self._kind].image_bytes)
        try:
            _run(*KINDS[self._kind].make, str(self._image))
            self._device = _run("losetup", "--find", "--show", str(self._image)).strip()
            self.mount()
        except NotRun:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._mounted:
                self.unmount()
        finally:
            if self._device:
                _run("losetup", "--detach", self._device)
            self._image.unlink()

    def mount(self) -> None:
        _run("mount", "-t", self._kind, self._device, str(self.at))
        self._mounted = True

    def unmount(self) -> None:
        try:
            _run("umount", str(self.at))
        except NotRun:  # something still stands on it: it goes with that
            _run("umount", "--lazy", str(self.at))
        self._mounted = False

    def sync(self) -> None:
        """What is written so far stays."""
        _run("sync", "--file-system", str(self.at))

    def power_on(self) -> None:
        """What a boot does after a power cut: the journal is replayed."""
        self.unmount()
        self.mount()


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, env=os.environ | {"PATH": PATH}, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NotRun(f"{command[0]} is not installed; as root: scripts/setup-servers") from error
    if done.returncode:
        raise NotRun(f"{' '.join(command)}: {done.stderr.strip()}; root and loop devices are needed")
    return done.stdout


class Bench:
    """One mounted file system on which lives are lived, a folder each."""

    def __init__(self, mount: Mount, folder: Path, library: Path) -> None:
        self.mount, self._folder, self._library = mount, folder, library
        self._base, self._number = folder / f"base-{mount.at.name}", 0
        power.make_node(self._base)

    def calls(self, bug: str = "Correct") -> int:
        """How many calls of one life change the disk."""
        done = self._live(self._new(), bug if bug in LIVES else "Correct", 0, BUGS.get(bug, ""))
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def cut(self, at: int, bug: str = "Correct") -> list[str]:
        """Cuts the power right before the `at`-th call of a life; what does not hold afterwards."""
        state = self._new()
        done = self._live(state, bug if bug in LIVES else "Correct", at, BUGS.get(bug, ""))
        if done.returncode == CANNOT_CUT:
            raise NotRun(f"{self.mount.at.name} cannot be shut down: FS_IOC_SHUTDOWN failed")
        assert done.returncode == CUT, f"status {done.returncode} before call {at}: {done.stderr}"
        self.mount.power_on()
        lines = self._told(state).read_text().splitlines() if self._told(state).exists() else []
        told = [json.loads(line) for line in lines]
        wrong = power.recovered(state, told, LIVES["Correct"].recover, rebooted=True)
        shutil.rmtree(state)
        return [f"{self.mount.at.name}, cut before call {at}: {text}" for text in wrong]

    def _told(self, state: Path) -> Path:
        return self._folder / f"told-{state.name}"

    def _new(self) -> Path:
        """An empty node that is wholly on the disk."""
        self._number += 1
        state = self.mount.at / f"{self.mount.at.name}-{self._number}"
        shutil.copytree(self._base, state)
        (state / "told").symlink_to(self._told(state))
        self.mount.sync()
        return state

    def _live(self, state: Path, life: str, at: int, no_sync: str = "") -> subprocess.CompletedProcess[str]:
        more = {"LD_PRELOAD": str(self._library), "DISKLOG_ROOT": str(state)}
        more |= {"DISKLOG_CUT_AT": str(at)} if at else {}
        more |= {"DISKLOG_NO_SYNC": no_sync} if no_sync else {}
        command = [sys.executable, "-m", "tests.faults.mounts", str(state), life]
        return subprocess.run(
            command, env=os.environ | more, cwd=power.ROOT, capture_output=True, text=True, check=False
        )


@contextlib.contextmanager
def bench(folder: Path, kind: str, library: Path) -> Iterator[Bench]:
    """A file system to cut the power of. Raises NotRun."""
    with Mount(folder, kind) as mount:
        yield Bench(mount, folder, library)


def points(calls: int, count: int) -> list[int]:
    """`count` of the calls, over the whole life; each part of it gives one."""
    source, share = random.Random(5), calls / count
    return sorted({min(calls, 1 + int(number * share + source.random() * share)) for number in range(count)})


def run(folder: Path, library: Path, count: int) -> tuple[int, int, list[str]]:
    """Points tried on each file system, bugs found there, and what does not hold. Raises NotRun."""
    tried, found, wrong = 0, 0, list[str]()
    for kind in KINDS:
        with bench(folder, kind, library) as made:
            chosen = points(made.calls(), count)
            for at in chosen:
                wrong += made.cut(at)
            tried += len(chosen)
            for bug in BUGS:
                places = points(made.calls(bug), count)
                hit = next((text for at in places if (text := made.cut(at, bug))), [])
                print(f"{kind} {bug}: {hit[0] if hit else 'NOT FOUND'}", flush=True)
                found += bool(hit)
                wrong += [] if hit else [f"{bug} was not found on {kind}"]
    return tried, found, wrong


def main() -> None:
    """The command line: one life, then how many calls it made."""
    life = LIVES[sys.argv[2]](Path(sys.argv[1]))
    life.live()
    life.close()
    seen = ctypes.CDLL(None).disklog_seen
    seen.restype = ctypes.c_long
    print(seen())


if __name__ == "__main__":
    main()
