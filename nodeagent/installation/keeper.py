"""Keeps the agent up where there is no service manager: starts it, waits, starts it again. Standard library only.

`outstation-keeper PREFIX` runs until SIGTERM, which it passes on. A second one ends at once, so that a line in a
crontab and a hand at the node do no harm together.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nodeagent.installation.layout import Layout
from store import durable, errors

PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 30.0
STEADY_S = 60.0
STOP_S = 30.0
LOG_BYTES_MAX = 1 << 20
EXIT_RUNS_ALREADY = 0


class Keeper:
    """One agent's keeper. `sleep` and `now_s` are arguments."""

    def __init__(
        self,
        layout: Layout,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._layout, self._now_s, self._sleep = layout, now_s, sleep
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """Runs until it is told to stop. Exit status 0."""
        lock = take_lock(self._layout.keeper_lock)
        if lock is None:
            return EXIT_RUNS_ALREADY
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        pause_s = PAUSE_S_MIN
        while not self._stopping:
            started_s = self._now_s()
            status = self._once(lock)
            if self._stopping:
                break
            pause_s = PAUSE_S_MIN if self._now_s() - started_s >= STEADY_S else min(pause_s * 2, PAUSE_S_MAX)
            self._log(f"the agent ended with {status}; again in {pause_s:g} s\n".encode())
            self._pause(pause_s)
        os.close(lock)
        return 0

    def _once(self, lock: int) -> int:
        log = self._open_log()
        try:
            self._child = subprocess.Popen(
                [str(self._layout.agent()), "run", "--state", str(self._layout.state)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        except OSError as error:
            self._log(f"the agent does not start: {error}\n".encode())
            return 127
        finally:
            os.close(log)
        _write_pids(lock, os.getpid(), self._child.pid)
        if self._stopping:
            self._child.terminate()
        status = self._child.wait()
        self._child = None
        _write_pids(lock, os.getpid())
        return status

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.terminate()

    def _pause(self, seconds: float) -> None:
        until_s = self._now_s() + seconds
        while not self._stopping and self._now_s() < until_s:
            self._sleep(0.2)

    def _open_log(self) -> int:
        """The log, emptied when it grew too large: the agent keeps its own; this one is for what ends it."""
        path = self._layout.keeper_log
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
            if os.fstat(descriptor).st_size > LOG_BYTES_MAX:
                os.ftruncate(descriptor, 0)
            return descriptor
        except OSError:
            # A full or read-only disk must not stop the plant; the agent tells of it itself.
            return os.open(os.devnull, os.O_WRONLY)

    def _log(self, data: bytes) -> None:
        try:
            durable.append(self._layout.keeper_log, data, sync=False)
        except errors.StoreError as error:
            print(f"keeper: {error}", file=sys.stderr)


def take_lock(path: Path) -> int | None:
    """The lock that one keeper holds, with our process id in it. None: another one holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    _write_pids(descriptor, os.getpid())
    return descriptor


def _write_pids(descriptor: int, *pids: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, " ".join(map(str, pids)).encode(), 0)


def pids_of(path: Path) -> list[int]:
    """Process ids of a living keeper and its agent; none where no keeper lives."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return []
    except BlockingIOError:
        return [int(word) for word in os.pread(descriptor, 100, 0).split()]
    finally:
        os.close(descriptor)


def stop(path: Path, *, wait_s: float = STOP_S) -> bool:
    """Ends the keeper and its agent, by force after `wait_s`. False: none lived."""
    found = pids_of(path)
    if not found:
        return False
    _signal(found[:1], signal.SIGTERM)
    until_s = time.monotonic() + wait_s
    while pids_of(path) and time.monotonic() < until_s:
        time.sleep(0.1)
    _signal(pids_of(path), signal.SIGKILL)
    return True


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def main(arguments: list[str]) -> int:
    """`outstation-keeper`: the folder is the one above the version that runs this; the state, the agent's own."""
    prefix = Path(arguments[0])
    return Keeper(Layout(prefix, Path(os.environ["OUTSTATION_STATE"]))).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
