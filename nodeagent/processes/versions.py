"""Which version of the agent runs under this launcher, and the trial of another one. Standard library only.

The launcher stays; supervisor and new workers are started from the folder of the version that counts, and running
workers go on. A trial is written down in STATE/upgrade.json before anything is switched. Without a confirm in time, or
after a restart or a reboot, the version before is back: nothing but the launcher is needed for that. It is the only
writer of that file and has one thread, so confirm and deadline never meet.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nodeagent.clock import Clock

FILE_NAME = "upgrade.json"
PLACED = "installed.json"
EXITS_MAX = 2
WINDOW_S_MIN, WINDOW_S_MAX = 5.0, 3_600.0
Phase = Literal["trial", "committed", "rolled_back"]
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,127}")


@dataclass(frozen=True)
class Upgrade:
    """One upgrade. `base`: the launcher's own version, for which alone it counts; the times are on CLOCK_BOOTTIME."""

    id: str
    base: str
    version: str
    previous: str
    phase: Phase
    boot_id: str
    started_us: int
    deadline_us: int
    actor: str = ""
    reason: str = ""
    text: str = ""

    @property
    def running(self) -> str:
        return self.previous if self.phase == "rolled_back" else self.version

    def back(self, reason: str, text: str) -> Upgrade:
        """Over without a commit."""
        return replace(self, phase="rolled_back", reason=reason, text=text)


@dataclass(frozen=True)
class Installed:
    """The folder of versions that bootstrap made, and the one of them that this process was started from."""

    folder: Path
    own: str

    @classmethod
    def here(cls) -> Installed | None:
        """None where the agent was not put here by bootstrap."""
        version = Path(__file__).absolute().parents[3]
        return cls(version.parent, version.name) if (version / PLACED).is_file() else None

    def has(self, version: str) -> bool:
        return _VERSION.fullmatch(version) is not None and (self.folder / version / PLACED).is_file()

    def versions(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if self.has(path.name))

    def python(self, version: str) -> str:
        """The interpreter that runs it. Raises OSError, ValueError."""
        facts = json.loads((self.folder / version / PLACED).read_bytes())
        return str(facts["python"])


class Versions:
    """The launcher's view. `installed` None: there is one version, which cannot be changed from afar."""

    def __init__(self, state: Path, clock: Clock, installed: Installed | None) -> None:
        self._path, self._clock, self._installed = state / FILE_NAME, clock, installed
        self._exits = 0
        self.upgrade = self._load()
        if self.upgrade is not None and self.upgrade.phase == "trial":
            self._end("INTERRUPTED", "the agent was started anew before it was confirmed")

    @property
    def running(self) -> str:
        """The version that supervisor and new workers are started from; empty where there is one alone."""
        if self._installed is None:
            return ""
        wanted = self.upgrade.running if self.upgrade is not None else self._installed.own
        return wanted if self._installed.has(wanted) else self._installed.own

    def command(self, command: list[str]) -> list[str]:
        """The same command for the version that runs."""
        if self._installed is None or self.running == self._installed.own:
            return command
        return [self._installed.python(self.running), "-P", *command[1:]]

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The same environment for the version that runs."""
        if self._installed is None:
            return dict(environment)
        return {**environment, "PYTHONPATH": str(self._installed.folder / self.running / "site")}

    def show(self) -> dict[str, Any]:
        """For the supervisor: what there is and where an upgrade stands."""
        if self._installed is None:
            return {"running": "", "launcher": "", "installed": []}
        told: dict[str, Any] = {
            "running": self.running,
            "launcher": self._installed.own,
            "installed": self._installed.versions(),
        }
        return told if self.upgrade is None else {**told, "upgrade": asdict(self.upgrade)}

    def begin(self, order: Mapping[str, Any]) -> bool:
        """Writes the trial down. False: this very one is under way or over. Raises ValueError, OSError."""
        id_, version, window_s = str(order["upgrade"]), str(order["version"]), float(order["window_s"])
        known = self.upgrade
        if known is not None and known.id == id_:
            return False
        if known is not None and known.phase == "trial":
            raise ValueError(f"the trial of {known.version} runs")
        if self._installed is None or not self._installed.has(version):
            raise ValueError(f"version {version[:80]} is not installed here")
        if version == self.running:
            raise ValueError(f"version {version} runs already")
        if not WINDOW_S_MIN <= window_s <= WINDOW_S_MAX:
            raise ValueError(f"a window has {WINDOW_S_MIN:.0f} to {WINDOW_S_MAX:.0f} s")
        self._installed.python(version)
        now_us = self._clock.boottime_us()
        begun = Upgrade(
            id=id_,
            base=self._installed.own,
            version=version,
            previous=self.running,
            phase="trial",
            boot_id=self._clock.boot_id(),
            started_us=now_us,
            deadline_us=now_us + round(window_s * 1e6),
            actor=str(order["actor"]),
        )
        self._write(begun)
        self.upgrade, self._exits = begun, 0
        return True

    def confirm(self, id_: str) -> None:
        """Keeps it; the same again changes nothing. Raises ValueError where it is over, OSError."""
        known = self._trial(id_)
        if known.phase == "trial":
            if self.is_due():
                raise ValueError("its time was over")
            kept = replace(known, phase="committed")
            self._write(kept)
            self.upgrade = kept
        elif known.phase == "rolled_back":
            raise ValueError(f"it went back: {known.reason} {known.text}".strip())

    def back(self, id_: str) -> bool:
        """A person wants the version before. False: it is back already. Raises ValueError after a commit."""
        known = self._trial(id_)
        if known.phase == "committed":
            raise ValueError("it was confirmed: upgrade to the version before instead")
        if known.phase == "rolled_back":
            return False
        self._end("REVERTED", "")
        return True

    def is_due(self) -> bool:
        """Whether a trial is over by the clock that never steps."""
        known = self.upgrade
        return known is not None and known.phase == "trial" and self._clock.boottime_us() >= known.deadline_us

    def expire(self) -> None:
        """Ends a trial whose time is over."""
        self._end("UNCONFIRMED", "nobody confirmed it in time")

    def exited(self, text: str) -> bool:
        """A supervisor ended by itself. True: that ended the trial."""
        known = self.upgrade
        if known is None or known.phase != "trial":
            return False
        self._exits += 1
        if self._exits <= EXITS_MAX:
            return False
        self._end("FAILED", f"its supervisor ended {self._exits} times: {text}")
        return True

    def _trial(self, id_: str) -> Upgrade:
        if self.upgrade is None or self.upgrade.id != id_:
            raise ValueError(f"there is no upgrade {id_[:80]}")
        return self.upgrade

    def _end(self, reason: str, text: str) -> None:
        """In memory first: on a disk that takes nothing the version before is back all the same, and stays so, since
        a trial that is found after a restart ends there.
        """
        assert self.upgrade is not None
        self.upgrade = self.upgrade.back(reason, text)
        try:
            self._write(self.upgrade)
        except OSError as error:
            print(f"launcher: {error}", file=sys.stderr, flush=True)

    def _write(self, upgrade: Upgrade) -> None:
        """Raises OSError. The store is loaded with the first upgrade and not before: a launcher is small."""
        from store import durable
        from store.errors import StoreError

        try:
            durable.write_file(self._path, json.dumps(asdict(upgrade), indent=1).encode() + b"\n", 0o644)
        except StoreError as error:
            raise OSError(str(error)) from error

    def _load(self) -> Upgrade | None:
        """What was written down for this launcher's own version; another launcher's is nothing to us."""
        try:
            found = Upgrade(**json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            print(f"launcher: {self._path} is not used: {error}", file=sys.stderr, flush=True)
            return None
        if self._installed is None or found.base != self._installed.own:
            return None
        return found
