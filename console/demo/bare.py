"""The demo's seventh machine: an account behind an SSH server, with a shell and no agent. For the demo alone.

It is a folder that plays a machine: commands run with it as their home, its crontab is a file in it, and `id` names an
ordinary account, so that whatever is put on this machine stays in the folder and ends with the demo.
`python -m console.demo.bare FOLDER` waits for SIGTERM, then ends every process that names the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from console.demo import processes
from console.demo.plan import USER
from console.demo.sshd import SshServer

END_S = 6.0
POLL_S = 0.1
PREFIX = ".outstation"
_CRONTAB = """#!/bin/sh
# The crontab of this account is one file, so that the table of whoever runs the demo is left alone.
case $1 in
-l) cat "$HOME/crontab" 2>/dev/null || { echo "no crontab" >&2; exit 1; } ;;
-r) rm -f "$HOME/crontab" ;;
-) cat > "$HOME/crontab" ;;
esac
"""
_ID = f"""#!/bin/sh
# An ordinary account, whoever runs the demo.
case $1 in
-u) echo 1000 ;;
*) echo {USER} ;;
esac
"""


class BareMachine:
    """One folder as a machine. `log`: of the process that clears it up."""

    def __init__(self, folder: Path, *, host_key: Path, client_key: Path, log: Path) -> None:
        self.folder, self._log = folder, log
        self.server = SshServer(
            host_key=host_key, client_key=client_key, account=folder, environment=self._environment()
        )
        self._clearing: asyncio.subprocess.Process | None = None

    @property
    def state(self) -> Path:
        """Where the state of an agent will be that is put here as usual."""
        return self.folder / PREFIX / "state"

    @property
    def agent(self) -> Path:
        """Its command."""
        return self.folder / PREFIX / "current" / "outstation-agent"

    async def start(self) -> None:
        """Makes the account and lets its SSH server listen."""
        for name in ("bin", "tmp"):
            (self.folder / name).mkdir(mode=0o700, parents=True)
        for name, text in (("crontab", _CRONTAB), ("id", _ID)):
            program = self.folder / "bin" / name
            program.write_text(text)
            program.chmod(0o700)
        (self.folder / "bin" / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
        self._clearing = await processes.start(["console.demo.bare", str(self.folder)], log=self._log)
        await self.server.start()

    async def stop(self) -> None:
        """Takes the server down and ends all that was started on the machine."""
        await self.server.unplug()
        if self._clearing is not None:
            await processes.stop([self._clearing])

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join((str(self.folder / "bin"), "/usr/bin", "/bin"))
        return {
            "HOME": str(self.folder),
            "PATH": path,
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "LANG": "C.UTF-8",
        }


def _clear(folder: Path) -> None:
    until_s = time.monotonic() + END_S
    while (found := _processes_of(folder)) and time.monotonic() < until_s:
        _signal(found, signal.SIGTERM)
        time.sleep(POLL_S)
    _signal(_processes_of(folder), signal.SIGKILL)


def _processes_of(folder: Path) -> list[int]:
    mark = f"{folder}/".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.sigwait({signal.SIGTERM})
    _clear(Path(sys.argv[1]))
