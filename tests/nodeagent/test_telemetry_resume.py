"""Telemetry after a loss: what the ring holds comes again in order, nothing twice; what it lost shows in cursors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodeagent.clock import SystemClock
from nodeagent.health.host import HostMonitor
from nodeagent.health.telemeter import Telemeter
from nodeagent.health.telemetry_ring import LINES_MAX, TelemetryRing
from nodeagent.protocol import Telemetry


class Nothing:
    """Neither orders nor alerts."""

    hold = out_of_service = lease = None
    standing: tuple[()] = ()


@pytest.fixture
def telemeter(tmp_path: Path) -> Telemeter:
    plain: dict[str, Any] = {"standing": Nothing(), "board": Nothing()}
    return Telemeter(
        node_id="n", clock=SystemClock(), host=HostMonitor(tmp_path), bundles=list, trial=lambda _: None,
        is_safe=lambda: False, **plain,
    )  # fmt: skip


async def tell(telemeter: Telemeter, count: int) -> None:
    """`count` readings, published as the loop does it and without waiting for its period."""
    for _ in range(count):
        telemeter.latest = telemeter._read()
        telemeter._publish(telemeter.latest)
        await asyncio.sleep(0)


async def cursors(lines: AsyncGenerator[bytes, None], count: int) -> list[int]:
    found = []
    async with asyncio.timeout(5):
        async for line in lines:
            found.append(msgspec.json.decode(line, type=Telemetry).cursor)
            if len(found) == count:
                break
    await lines.aclose()
    return found


def test_a_listener_who_comes_back_gets_every_line_that_it_missed_and_none_twice(telemeter: Telemeter) -> None:
    async def run() -> None:
        await tell(telemeter, 50)
        newest, started = telemeter.latest.cursor, telemeter.latest.started_us
        resumed = telemeter.follow(1.0, after=newest - 20, started_us=started)
        assert await cursors(resumed, 20) == list(range(newest - 19, newest + 1))

    asyncio.run(run())


def test_lines_that_come_while_the_missed_ones_are_told_follow_them(telemeter: Telemeter) -> None:
    async def run() -> None:
        await tell(telemeter, 10)
        newest = telemeter.latest.cursor
        found = []
        async with asyncio.timeout(5):
            async for line in telemeter.follow(1.0, after=newest - 5, started_us=None):
                found.append(msgspec.json.decode(line, type=Telemetry).cursor)
                await tell(telemeter, 1 if len(found) < 10 else 0)
                if len(found) == 14:
                    break
        assert found == list(range(newest - 4, newest + 10))

    asyncio.run(run())


def test_without_a_cursor_and_with_one_of_another_run_it_begins_at_the_latest(telemeter: Telemeter) -> None:
    async def run() -> None:
        await tell(telemeter, 10)
        newest, started = telemeter.latest.cursor, telemeter.latest.started_us
        for resumed in (
            telemeter.follow(1.0),
            telemeter.follow(1.0, after=3, started_us=started - 1),
            telemeter.follow(1.0, after=newest + 100, started_us=started),
        ):
            assert await cursors(resumed, 1) == [newest]

    asyncio.run(run())


def test_past_the_ring_it_goes_on_at_the_oldest_line_that_is_left(telemeter: Telemeter) -> None:
    async def run() -> None:
        await tell(telemeter, LINES_MAX + 30)
        newest = telemeter.latest.cursor
        resumed = telemeter.follow(1.0, after=5, started_us=telemeter.latest.started_us)
        assert await cursors(resumed, LINES_MAX) == list(range(newest - LINES_MAX + 1, newest + 1))

    asyncio.run(run())


def test_a_longer_period_gives_every_nth_line_also_of_the_missed_ones(telemeter: Telemeter) -> None:
    async def run() -> None:
        await tell(telemeter, 40)
        resumed = telemeter.follow(5.0, after=10, started_us=telemeter.latest.started_us)
        assert await cursors(resumed, 5) == [15, 20, 25, 30, 35]

    asyncio.run(run())


def test_the_ring_is_bounded_in_bytes_and_keeps_the_newest_whatever_its_size() -> None:
    ring = TelemetryRing(lines_max=10, bytes_max=100)
    for cursor in range(1, 30):
        ring.add(cursor, b"x" * 30)
    assert repr(ring) == "TelemetryRing(27..29, 90 bytes)"
    ring.add(30, b"y" * 1_000)
    assert repr(ring) == "TelemetryRing(30..30, 1000 bytes)"
    assert ring.following(0, 1) == (30, b"y" * 1_000)
    assert ring.following(30, 1) is None
    many = TelemetryRing(lines_max=3, bytes_max=1_000)
    for cursor in range(1, 10):
        many.add(cursor, b"x")
    assert repr(many) == "TelemetryRing(7..9, 3 bytes)"
