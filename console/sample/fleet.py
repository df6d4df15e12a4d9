"""A fleet in memory at a clock that stands still: what the gallery, the pictures and the screen tests are made of.

`python -m console.sample.fleet` opens the app on it (the sample plant is described in console/sample/plant.py);
`--nodes 1000 --change 0.1` makes it a live fleet of that size, of which a tenth changes its figures each second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from console.fleet.view import LinkState, NodeView
from console.sample.plant import NOW_S, WALL_S, many, plant
from console.seat.opening import Opened
from console.terminal.terminal import LINKS, Colours, Terminal
from nodeagent.protocol import LogLine

if TYPE_CHECKING:
    from console.seat.keymap import Keymap
    from console.seat.seat import Seat

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
        self._round = 0

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

    def step(self, share: float, clock: StillClock) -> None:
        """A second passes: every node sends telemetry, `share` of them with other figures."""
        clock.pass_s(1.0)
        self._round = (self._round + 1) % 997
        every = max(1, round(1 / share)) if share > 0 else 0
        changed = []
        for i, view in enumerate(self._views.values()):
            if view.telemetry is None or view.link is not LinkState.UP:
                continue
            telemetry = view.telemetry
            if every and ((i * 2_654_435_761 >> 7) + self._round) % every == 0:
                wave = 1 + 0.01 * ((self._round * 7 + i) % 11)
                bundles = [
                    msgspec.structs.replace(b, inferences_per_s=400 * wave, latency_ms_p95=1.8 * wave)
                    for b in telemetry.bundles
                ]
                host = msgspec.structs.replace(telemetry.host, cpu_percent=20.0 + (self._round + i) % 30)
                telemetry = msgspec.structs.replace(telemetry, bundles=bundles, host=host)
            changed.append(replace(view, telemetry=telemetry, telemetry_at_s=clock.now_s - 0.4))
        self.put(*changed)

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


def sample_seat(
    fleet: SampleFleet | None = None,
    *,
    colours: Colours = "many",
    ascii: bool = False,  # noqa: A002
    clip_file: Path = Path("clip.txt"),
    operate: bool = False,
    look: str = "",
    clock: StillClock | None = None,
    keymap: Keymap | None = None,
) -> Seat:
    """The app on a sample fleet, without a terminal of its own: for pictures and tests (`seat.run_test(...)`)."""
    from console.sample.operations import SampleOperations
    from console.seat.seat import Seat

    shown = SampleFleet() if fleet is None else fleet
    terminal = Terminal("xterm-256color", colours, ascii, not ascii, LINKS["lan"])
    return Seat(
        Opened(shown, SampleOperations(shown)),
        operator="alice",
        terminal=terminal,
        clock=clock or StillClock(),
        clip_file=clip_file,
        operate=operate,
        look=look,
        keymap=keymap,
    )


def main(argv: list[str]) -> int:
    """Opens the app on a sample fleet."""
    from console.sample.operations import SampleOperations
    from console.seat.app import run

    parser = argparse.ArgumentParser(prog="python -m console.sample.fleet", description=__doc__)
    parser.add_argument("--nodes", type=int, default=0, help="so many nodes instead of the sample plant")
    parser.add_argument("--change", type=float, default=-1.0, help="share of nodes with other figures each second")
    parser.add_argument("--operate", action="store_true")
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--look", default="")
    parser.add_argument("--link", choices=("lan", "ssh", "thin"), default=None)
    parser.add_argument("--whole-regions", action="store_true", help="send what Textual sends, for comparison")
    parser.add_argument("--record", default="", help="a file for what the screen shows")
    options = parser.parse_args(argv)
    fleet, clock = SampleFleet(many(options.nodes) if options.nodes else None), StillClock()

    async def live() -> None:
        while options.change >= 0:
            await asyncio.sleep(1.0)
            fleet.step(options.change, clock)

    return run(
        Opened(fleet, SampleOperations(fleet), background=(live,)),
        operator="alice",
        operate=options.operate,
        ascii=options.ascii,
        link=options.link,
        look=options.look,
        thin=not options.whole_regions,
        clock=clock,
        record=options.record,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
