"""A clock that moves only when something sleeps on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nodeagent.sources.source import SourceContext


class SleepClock:
    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.slept: list[float] = []

    def boottime_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return self.now_us + 1_000_000_000_000

    def boot_id(self) -> str:
        return "boot"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_us += round(seconds * 1e6)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> SleepClock:
    return SleepClock()


@pytest.fixture
def context(clock: SleepClock, tmp_path: Path) -> SourceContext:
    work = tmp_path / "work"
    work.mkdir()
    return SourceContext(clock=clock, work_dir=work)
