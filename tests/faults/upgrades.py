"""Upgrades of the agent as the launcher writes them down: a power cut or a kill at every call, then the next launcher.

`python -m tests.faults.upgrades STATE [BUG]` lives one life: trials that are confirmed, taken back, run out, fail, are
interrupted. After each thing that the outside world is told, a line goes to STATE/told, which no power cut takes back.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nodeagent.processes.versions import FILE_NAME, PLACED, Installed, Upgrade, Versions
from tests.faults import power
from tests.faults.disk import MEMORY, read_events
from tests.faults.power import Bytes, Run

OLD: Final = "0.1.0-a"
VERSIONS: Final = (OLD, "0.2.0-b", "0.3.0-c", "0.4.0-d")
WINDOW_S: Final = 60.0
ROUNDS: Final = 3


class Still:
    """A boot's clock that is moved by hand."""

    now_us = 1_000_000

    def boottime_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return 0

    def boot_id(self) -> str:
        return "one"


class Life:
    """One launcher after the other on one state folder."""

    def __init__(self, state: Path) -> None:
        self.state, self.clock, self.number = state, Still(), 0
        self.versions = self.launcher()
        self._told = os.open(state / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def launcher(self) -> Versions:
        return Versions(self.state, self.clock, Installed(self.state / "versions", OLD))

    def tell(self) -> None:
        """What a console would have been answered."""
        known = self.versions.upgrade
        assert known is not None
        line = {name: getattr(known, name) for name in ("id", "version", "previous", "phase")}
        os.write(self._told, (json.dumps({**line, "running": self.versions.running}) + "\n").encode())

    def begin(self) -> str:
        self.number += 1
        id_, others = f"u{self.number}", [version for version in VERSIONS if version != self.versions.running]
        order = {"upgrade": id_, "version": others[self.number % len(others)], "window_s": WINDOW_S, "actor": "alice"}
        assert self.versions.begin(order)
        self.tell()
        return id_

    def confirm(self) -> None:
        self.versions.confirm(self.begin())
        self.tell()

    def take_back(self) -> None:
        assert self.versions.back(self.begin())
        self.tell()

    def run_out(self) -> None:
        self.begin()
        self.clock.now_us += round(WINDOW_S * 1e6)
        assert self.versions.is_due()
        self.versions.expire()
        self.tell()

    def fail(self) -> None:
        self.begin()
        while not self.versions.exited("it ended"):
            pass
        self.tell()

    def interrupt(self) -> None:
        self.begin()
        self.versions = self.launcher()
        self.tell()

    def live(self) -> None:
        """Each way to end, each after each."""
        for _ in range(ROUNDS):
            for step in (self.confirm, self.take_back, self.confirm, self.run_out, self.fail, self.interrupt):
                step()


class ToldFirst(Life):
    """Wrong: the console hears of a confirm that no disk holds yet."""

    def confirm(self) -> None:
        id_ = self.begin()
        held, self.versions._write = self.versions._write, lambda upgrade: None  # type: ignore[method-assign]
        self.versions.confirm(id_)
        self.tell()
        self.versions._write = held  # type: ignore[method-assign]
        assert self.versions.upgrade is not None
        self.versions._write(self.versions.upgrade)


class InPlace(Life):
    """Wrong: the file is written where it lies."""

    def launcher(self) -> Versions:
        made = super().launcher()

        def write(upgrade: Upgrade) -> None:
            with (self.state / FILE_NAME).open("wb", buffering=0) as file:
                file.write(json.dumps(upgrade.__dict__).encode())
                os.fsync(file.fileno())

        made._write = write  # type: ignore[method-assign]
        return made


BUGS: Final[dict[str, type[Life]]] = {"ToldFirst": ToldFirst, "InPlace": InPlace}
UNSYNCED: Final[dict[str, Callable[[Any, str], bool]]] = {
    "FileNotSynced": lambda event, path: event.letter == "S" and FILE_NAME in path,
    "NameNotSynced": lambda event, path: event.letter == "D",
}


def live(folder: Path, library: Path, bug: str = "") -> Run:
    """Lives one life on a fresh folder of versions and reads what it did to the disk."""
    base, state, log = folder / f"base-{bug}", folder / f"state-{bug}", folder / f"log-{bug}"
    for version in VERSIONS:
        (base / "versions" / version).mkdir(parents=True)
        (base / "versions" / version / PLACED).write_text(json.dumps({"python": "/usr/bin/python3"}))
    shutil.copytree(base, state)
    environment = os.environ | {"LD_PRELOAD": str(library), "DISKLOG_ROOT": str(state), "DISKLOG_OUT": str(log)}
    command = [sys.executable, "-m", "tests.faults.upgrades", str(state), *([bug] if bug else [])]
    subprocess.run(command, env=environment, cwd=power.ROOT, check=True)
    return Run(base, str(state), list(read_events(log.read_bytes())), lambda state, rebooted: None)


def check(
    content: Bytes, told: list[dict[str, Any]], _recover: Callable[[Path, bool], None], *, rebooted: bool
) -> list[str]:
    """Starts the next launcher twice and says what does not hold."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        power.make(Path(folder), content)
        return recovered(Path(folder), told)


def recovered(state: Path, told: list[dict[str, Any]]) -> list[str]:
    """I1: exactly one version runs, and it is there. I3: no trial is left. I5: what was told of an end stands. I6."""
    first, again = (Versions(state, Still(), Installed(state / "versions", OLD)) for _ in range(2))
    wrong = [] if first.running in VERSIONS else [f"I1: {first.running!r} runs"]
    if (first.running, first.upgrade) != (again.running, again.upgrade):
        wrong.append("I6: the next launcher found something else")
    if first.upgrade is not None and first.upgrade.phase == "trial":
        wrong.append("I3: a trial is left that nobody ends")
    last = told[-1] if told else {"phase": "", "running": OLD}
    may = {last["previous"], last["version"]} if last["phase"] == "trial" else {last["running"]}
    if first.running not in may:
        wrong.append(f"I5: {first.running} runs after {last}")
    if last["phase"] == "trial" and first.running == last["version"] and _phase(first) != "committed":
        wrong.append(f"I3: {first.running} runs and was never confirmed")
    return wrong


def _phase(versions: Versions) -> str:
    return versions.upgrade.phase if versions.upgrade is not None else ""


def violations(run: Run, **more: Any) -> tuple[int, list[str]]:
    """How many disks were made, and what was wrong with which."""
    return power.violations(run, judge=check, **more)


def main() -> None:
    """The command line."""
    life = BUGS.get("".join(sys.argv[2:3]), Life)(Path(sys.argv[1]))
    life.live()


if __name__ == "__main__":
    main()
