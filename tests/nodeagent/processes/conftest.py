"""A node of real processes for these tests: started, asked, killed, and gone at the end of each test."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = Path(__file__).parent
PATIENCE_S = 30.0


def eventually(check: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """What `check` returns once it is true. An OSError or a half-written answer means: not yet."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if found := check():
                return found
        time.sleep(0.02)
    raise AssertionError(f"not within {patience_s} s: {what}")


class Node:
    """One launcher with the double supervisor; `ask` speaks to whichever supervisor lives."""

    def __init__(self, state: Path, *doubles: str) -> None:
        self.state = state
        self._command = [sys.executable, str(HERE / "double_launcher.py"), str(state), *doubles]
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, env={**os.environ, **self.environment})

    @property
    def launcher(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def ask(self, op: str, **order: Any) -> dict[str, Any]:
        """One order to the supervisor, tried again until one answers."""
        return eventually(lambda: self.ask_once(op, **order), f"an answer to {op}")

    def ask_once(self, op: str, **order: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as answers:
            sock.settimeout(20)
            sock.connect(str(self.state / "orders.sock"))
            sock.sendall(json.dumps({"op": op, **order}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(answers.readline())
        return {"answered": True, **answer}

    def end(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            children = self.launcher.children(recursive=True)
            for process in (self.launcher, *children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            eventually(lambda: not any(alive(child.pid) for child in children), "the children end")
        self.process.wait()


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="os-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def node(state: Path) -> Iterator[Node]:
    """The real launcher over doubles of supervisor and worker."""
    node = Node(state, "double_supervisor.py", "double_worker.py")
    yield node
    node.end()


@pytest.fixture
def until() -> Callable[..., Any]:
    """`eventually`: polls, with a generous deadline."""
    return eventually


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def lives() -> Callable[[int], bool]:
    return alive


@pytest.fixture
def frozen() -> Iterator[Callable[[int], None]]:
    """Stops a process with SIGSTOP; whatever still is stopped at the end goes on."""
    pids: list[int] = []

    def freeze(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        pids.append(pid)

    yield freeze
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
