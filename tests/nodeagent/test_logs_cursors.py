"""The agent's log: pages, cursors over restarts, the cap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nodeagent.state import logs
from nodeagent.state.logs import Log


class Clock:
    def __init__(self) -> None:
        self.now_us = 0

    def boottime_us(self) -> int:
        self.now_us += 1
        return self.now_us

    def wall_us(self) -> int:
        return self.now_us

    def boot_id(self) -> str:
        return "boot-1"


def new(folder: Path, bytes_max: int = 1 << 20) -> Log:
    return Log(folder, Clock(), bytes_max=bytes_max)


def test_a_page_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    log = new(tmp_path)
    for number in range(10):
        log.add("info", "test", str(number))
    first = log.page(after=0, limit=4)
    second = log.page(after=first.next, limit=100)
    assert [line.text for line in (*first.lines, *second.lines)] == [str(number) for number in range(10)]
    assert log.page(after=second.next, limit=100).lines == []


def test_without_a_cursor_the_newest_lines_come(tmp_path: Path) -> None:
    log = new(tmp_path)
    for number in range(10):
        log.add("info", "test", str(number))
    page = log.page(after=None, limit=3)
    assert [line.text for line in page.lines] == ["7", "8", "9"]
    assert page.next == page.lines[-1].cursor


def test_cursors_rise_over_restarts_and_old_lines_are_still_there(tmp_path: Path) -> None:
    log = new(tmp_path)
    old = [log.add("info", "test", str(number)).cursor for number in range(5)]
    again = new(tmp_path)
    line = again.add("warning", "test", "again")
    assert line.cursor > max(old) + 1
    page = again.page(after=old[1], limit=100)
    assert [each.text for each in page.lines] == ["2", "3", "4", "again"]
    assert page.lost == 0


def test_a_line_that_was_cut_short_is_left_out_and_its_cursor_not_given_again(tmp_path: Path) -> None:
    log = new(tmp_path)
    last = log.add("info", "test", "whole").cursor
    (segment,) = tmp_path.glob("log-*.ndjson")
    with segment.open("ab") as file:
        file.write(b'{"cursor":2,"bootti')
    again = new(tmp_path)
    assert again.add("info", "test", "next").cursor > last + 1
    assert [line.text for line in again.page(after=0, limit=10).lines] == ["whole", "next"]


def test_the_cap_drops_the_oldest_lines_and_says_how_many(tmp_path: Path) -> None:
    log = new(tmp_path, bytes_max=8 * 4096)
    for number in range(2_000):
        log.add("info", "test", f"{number:0100d}")
    log._ring.clear()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 12 * 4096
    page = log.page(after=1, limit=5)
    assert page.lost == page.lines[0].cursor - 2
    assert page.lost > 1_000


def test_lines_older_than_memory_come_from_the_disk_in_order(tmp_path: Path) -> None:
    log = new(tmp_path)
    for number in range(500):
        log.add("info", "test", str(number))
    for _ in range(490):
        log._ring.popleft()
    page = log.page(after=0, limit=1_000)
    assert [line.text for line in page.lines] == [str(number) for number in range(500)]
    before = log.page_before(101, limit=3, keep=logs.at_least("debug"))
    assert [line.text for line in before.lines] == ["97", "98", "99"]


def test_a_disk_that_refuses_costs_lines_on_the_disk_and_counts_them(tmp_path: Path) -> None:
    log = new(tmp_path / "gone")
    log.add("info", "test", "in memory")
    assert log.unwritten_total == 1
    assert [line.text for line in log.page(after=0, limit=10).lines] == ["in memory"]


def test_a_level_keeps_worse_ones_too(tmp_path: Path) -> None:
    log = new(tmp_path)
    for level in logs.LEVELS:
        log.add(level, "test", level)
    page = log.page(after=0, limit=10, keep=logs.at_least("warning"))
    assert [line.text for line in page.lines] == ["warning", "error"]
    with pytest.raises(ValueError, match="not in tuple"):
        logs.at_least("loud")


async def follow(log: Log, count: int) -> list[str]:
    found: list[str] = []
    async for line in log.follow(0, logs.at_least("info")):
        found.append(line.text)
        if len(found) == 1:
            log.add("debug", "test", "not this one")
            log.add("info", "test", "live")
        if len(found) == count:
            break
    return found


def test_following_gives_what_was_and_then_what_comes(tmp_path: Path) -> None:
    async def run() -> list[str]:
        log = new(tmp_path)
        log.add("info", "test", "before")
        async with asyncio.timeout(10):
            return await follow(log, 2)

    assert asyncio.run(run()) == ["before", "live"]
