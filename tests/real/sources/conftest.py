"""Servers that are not ours for the sources: started on free loopback ports, ended by their pid."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodeagent.clock import SystemClock
from nodeagent.frame import Frame
from nodeagent.sources.source import Source, SourceContext
from nodeagent.sources.supervise import Supervisor

WAIT_S = 25.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process that answers on `port`; may be killed, frozen and started again on the same port."""

    def __init__(self, *command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self._command, self._cwd, self._env = command, cwd, env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        words = [word.replace("{port}", str(self.port)) for word in (*self._command, *more)]
        self._process = subprocess.Popen(
            words,
            cwd=self._cwd,
            env=os.environ | (self._env or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Watch:
    """A supervised source and its frames; `until` waits for one that says what it should."""

    def __init__(self, source: Source) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.supervisor = Supervisor(source, self.frames.put_nowait, SystemClock(), jitter=lambda: 0.0)

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self.supervisor.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def until(self, holds: Callable[[Frame], bool]) -> Frame:
        async with asyncio.timeout(WAIT_S):
            while not holds(frame := await self.frames.get()):
                pass
            return frame


@pytest.fixture
def watch() -> Callable[[Source], Watch]:
    return Watch


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    work = tmp_path / "work"
    work.mkdir()
    return SourceContext(clock=SystemClock(), work_dir=work)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """A mosquitto that is not started yet."""
    config = tmp_path / "mosquitto.conf"
    server = Server(shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(config))
    config.write_text(f"listener {server.port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    yield server
    server.kill()


@pytest.fixture(scope="session")
def server() -> type[Server]:
    """Makes servers of other programs; who makes one ends it."""
    return Server
