"""A fleet in memory at a clock that stands still: what the gallery, the pictures and the screen tests are made of.

`python -m console.sample` opens the app on it (the sample plant is described in console/sample_plant.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Literal

from console.sample_plant import NOW_S, WALL_S, plant
from console.view import LinkState, NodeView
from nodeagent.protocol import LogLine

_LOG: tuple[tuple[Literal["debug", "info", "warning", "error"], str, str], ...] = (
    ("info", "worker", "worker of bearing r14 is serving after 212 ms"),
    ("info", "deployer", "deployment dep-2: PREFLIGHT_OK"),
    ("debug", "recorder", "segment rec-000100.db opened"),
    ("warning", "plc", "register 4x0012: no reply in 500 ms, asked again"),
    ("info", "health", "cpu 31 %, memory 48 %, disk 61 %"),
    ("error", "plc", "connection lost after 3 tries; a new client in 0.2 s"),
    ("info", "plc", "connected again, 4 registers, 0 bad items"),
    ("info", "mqtt", "outbox empty: 112 messages delivered"),
)


class StillClock:
    """A clock that is moved by hand."""

    def __init__(self, now_s: float = NOW_S, wall_s: float = WALL_S) -> None:
        self.now_s, self.wall_s = now_s, wall_s

    def monotonic_s(self) -> float:
        return self.now_s

    def epoch_s(self) -> float:
        return self.wall_s

    def pass_s(self, seconds: float) -> None:
        """Lets time go by."""
        self.now_s += seconds
        self.wall_s += seconds


class SampleFleet:
    """A fleet in memory. `put` changes one view, `drop` takes a node away."""

    def __init__(self, views: Mapping[str, NodeView] | None = None) -> None:
        self._views = dict(plant() if views is None else views)
        self._changed: dict[str, int] = dict.fromkeys(self._views, 1)
        self._version = 1

    @property
    def version(self) -> int:
        return self._version

    def views(self) -> Mapping[str, NodeView]:
        return self._views

    def changed_since(self, version: int) -> frozenset[str]:
        return frozenset(name for name, at in self._changed.items() if at > version)

    def put(self, *views: NodeView) -> None:
        """The newest view of one or more nodes."""
        self._version += 1
        for changed in views:
            self._views[changed.name] = changed
            self._changed[changed.name] = self._version

    def drop(self, name: str) -> None:
        """The node is no longer in the fleet."""
        self._version += 1
        del self._views[name]
        self._changed[name] = self._version

    async def follow_logs(self, name: str, after: int | None = None) -> AsyncIterator[LogLine]:
        """Forty lines, then silence."""
        for line in log_lines(name):
            if after is None or line.cursor > after:
                yield line
        await asyncio.Event().wait()


def log_lines(name: str) -> list[LogLine]:
    """What a node logged in the last minutes."""
    lines = []
    for i in range(40):
        level, source, text = _LOG[i % len(_LOG)]
        wall_us = int((WALL_S - 400 + 10 * i + len(name) % 7) * 1e6)
        lines.append(LogLine(cursor=i + 1, boottime_us=i, wall_us=wall_us, level=level, source=source, text=text))
    return lines


def unplugged() -> SampleFleet:
    """The same plant when its uplink is gone: nothing is known of any node."""
    gone = {"link": LinkState.DOWN, "link_since_wall_s": WALL_S - 300, "link_error": "timed out"}
    return SampleFleet({name: replace(one, **gone) for name, one in plant().items()})  # type: ignore[arg-type]
