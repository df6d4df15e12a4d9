"""Nothing that a node is called or says reaches the terminal as anything but text (I18)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Start = Callable[..., Any]

# A fleet whose names, sites, reasons and log lines carry what must not get through. The ingest sanitiser is left
# out on purpose: what is tested is the last hop alone.
HOSTILE = r"""
import asyncio, sys
from dataclasses import replace
import msgspec
from console.seat.app import run
from console.seat.opening import Opened
from console.sample.fleet import SampleFleet, StillClock
from console.sample.operations import SampleOperations
from console.sample.plant import WALL_S, plant
from nodeagent.protocol import LogLine, LogsPage
MORE
EVIL = ("\x1b]52;c;cHduZWQ=\x07\x1b[2J\x1b]0;pwned\x07\x9b31m\x9d0;t\x9c\x07\x1b[?1000h\u202e"
        "[/nope][@click=app.quit]x[/]\r\n")
LINES = [LogLine(cursor=i, boottime_us=i, wall_us=int(WALL_S * 1e6), level="info", source=EVIL, text="seen" + EVIL)
         for i in range(1, 40)]

class Fleet(SampleFleet):
    async def follow_logs(self, name, after=None):
        for line in LINES:
            yield line
        await asyncio.Event().wait()

class Operations(SampleOperations):
    async def logs(self, node, *, after, limit):
        return LogsPage(lines=LINES, next=40)

views = plant()
for name in list(views)[:6]:
    view = views.pop(name)
    telemetry = view.telemetry
    if telemetry is not None:
        bundles = [msgspec.structs.replace(b, bundle=b.bundle + EVIL, version="9" + EVIL) for b in telemetry.bundles]
        alerts = [msgspec.structs.replace(a, message=EVIL + "hot", advice=EVIL) for a in telemetry.alerts]
        telemetry = msgspec.structs.replace(telemetry, bundles=bundles, alerts=alerts)
    address = replace(view.address, name="a" + EVIL + name, site=EVIL, line=EVIL)
    views[address.name] = replace(view, address=address, telemetry=telemetry, link_error=EVIL)
fleet = Fleet(views)
opened = Opened(fleet, Operations(fleet))
sys.exit(run(opened, operator="alice", thin="--whole-regions" not in sys.argv, clock=StillClock()))
"""

KEYS = ("j", "j", "\r", "\t", "\t", "\t", "\t", "\x1b", "2", "5", "1", "h", "\x1b", "b")
FORBIDDEN = (b"\x1b]", b"\x1b[2J", b"\x07", "\x9b".encode(), "\u202e".encode(), b"\r")
OURS = re.compile(
    rb"\x1b\[(?:[0-9;]*m|[0-9;]*[HC]|\?(?:7|25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048)[hl]"
    rb"|\?(?:2026|2048)\$p|>[0-9]+u|<u)"
)


def _walk(start: Start, script: str, *options: str) -> bytes:
    with start(*options, script=script) as rig:
        rig.until_text("? help")
        for key in KEYS:
            rig.press(key)
            rig.until_quiet(0.3)
        return bytes(rig.raw)


def test_i18_only_our_own_sequences_leave_whatever_nodes_are_called(sample_app: Start) -> None:
    raw = _walk(sample_app, HOSTILE.replace("MORE", ""))
    rest = OURS.sub(b"", raw)
    assert not [bad for bad in FORBIDDEN if bad in rest]
    assert b"\x1b" not in rest
    assert raw.count(b"\x1b[?1000h") == 2  # Textual's own, at the start
    assert b"pwned" in rest


def test_whole_regions_are_filtered_too(sample_app: Start) -> None:
    rest = OURS.sub(b"", _walk(sample_app, HOSTILE.replace("MORE", ""), "--whole-regions"))
    assert b"\x1b" not in rest
    assert b"\x07" not in rest


def test_without_the_filters_the_same_fleet_does_drive_the_terminal(sample_app: Start) -> None:
    """The negative control: were the filters gone, the tests above would see it."""
    off = (
        "from console.terminal import driver as d, output as o\no._plain = lambda t: t\nd.filter_bytes = lambda s: s\n"
    )
    raw = _walk(sample_app, HOSTILE.replace("MORE", off))
    assert b"\x1b]52;c;" in raw
    assert b"\x1b[2J" in raw


def test_what_the_operator_copies_is_the_only_clipboard_write(sample_app: Start, tmp_path: Any) -> None:
    with sample_app(environ={"HOME": str(tmp_path)}) as rig:
        rig.until_text("? help")
        rig.press("y")
        rig.until_text("copied to clipboard")
        assert rig.raw.count(b"\x1b]52;c;") == 1
    kept = tmp_path / ".local" / "state" / "outstation" / "clip.txt"
    assert "press-07" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
