"""A supervised source that is watched, and the broker for those that need one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeagent.clock import SystemClock
from nodeagent.frame import Frame
from nodeagent.sources.source import Source, SourceContext
from nodeagent.sources.supervise import Supervisor

WAIT_S = 25.0


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
def broker(tmp_path: Path, server: Any) -> Iterator[Any]:
    """A mosquitto that is not started yet."""
    config = tmp_path / "mosquitto.conf"
    made = server(shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(config))
    config.write_text(f"listener {made.port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    yield made
    made.kill()
