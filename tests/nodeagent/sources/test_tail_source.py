"""A file that another program appends to, with what log rotation does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodeagent.clock import SystemClock
from nodeagent.frame import BAD, GOOD, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources.source import SourceContext
from nodeagent.sources.tail import Tail, TailOptions


class Reading:
    """A running tail; `values` waits until so many frames are there."""

    def __init__(self, folder: Path, **options: Any) -> None:
        words: dict[str, Any] = {"path": "log.csv", "tags": ("a", "b"), "poll": Seconds(0.01), "start": "begin"}
        self.tail = Tail("t", TailOptions(**(words | options)), SourceContext(clock=SystemClock(), work_dir=folder))
        self.frames: list[Frame] = []

    async def __aenter__(self) -> Reading:
        self._task = asyncio.create_task(self.tail.run(self.frames.append))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 - what is asked is a list, and it rings no bell
                await asyncio.sleep(0.005)

    async def values(self, count: int) -> list[list[float]]:
        await self.until(lambda: len(self.frames) >= count)
        return [frame.values.tolist() for frame in self.frames]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_line_is_taken_when_its_newline_is_there(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"

    async def scenario() -> list[list[float]]:
        append(log, "a,b\n1,2\n3,")
        async with Reading(tmp_path) as reading:
            assert await reading.values(1) == [[1, 2]]
            append(log, "4\n")
            return await reading.values(2)

    assert asyncio.run(scenario()) == [[1, 2], [3, 4]]


def test_a_file_renamed_away_is_read_to_its_end_and_the_new_one_begun(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"

    async def scenario() -> list[list[float]]:
        append(log, "a,b\n1,2\n")
        async with Reading(tmp_path) as reading:
            await reading.values(1)
            append(log, "3,4\n")
            log.rename(tmp_path / "log.csv.1")
            append(log, "b,a\n6,5\n")
            return await reading.values(3)

    assert asyncio.run(scenario()) == [[1, 2], [3, 4], [5, 6]]


def test_a_file_cut_short_is_begun_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"

    async def scenario() -> list[list[float]]:
        append(log, "a,b\n1,2\n3,4\n")
        async with Reading(tmp_path) as reading:
            await reading.values(2)
            log.write_text("a,b\n5,6\n")
            return await reading.values(3)

    assert asyncio.run(scenario()) == [[1, 2], [3, 4], [5, 6]]


def test_a_restart_neither_loses_nor_repeats_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"

    async def scenario() -> list[list[float]]:
        append(log, "a,b\n1,2\n")
        async with Reading(tmp_path) as first:
            await first.values(1)
            await first.until((tmp_path / "tail-t.json").exists)
        append(log, "3,4\n")
        async with Reading(tmp_path) as second:
            return await second.values(1)

    assert asyncio.run(scenario()) == [[3, 4]]


def test_from_the_end_only_what_comes_later_is_taken_under_the_files_own_header(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"

    async def scenario() -> list[list[float]]:
        append(log, "b,a\n2,1\n4,")
        async with Reading(tmp_path, start="end") as reading:
            await asyncio.sleep(0.05)
            append(log, "3\n6,5\n")
            return await reading.values(2)

    assert asyncio.run(scenario()) == [[3, 4], [5, 6]]


def test_a_cell_that_is_no_number_is_bad_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> list[Frame]:
        append(tmp_path / "log.csv", "a,c\n1,2\nn/a,\n1,2,3\n4,4\n")
        async with Reading(tmp_path) as reading:
            await reading.values(4)
            return reading.frames

    frames = asyncio.run(scenario())
    assert frames[0].quality.tolist() == [GOOD, BAD]
    assert frames[0].reasons == {1: "no column 'b'"}
    assert frames[1].reasons[0] == "not a number: 'n/a'"
    assert frames[2].reasons[0] == "a line of 3 columns and not 2"


def test_json_lines_by_path_with_the_writers_time(tmp_path: Path) -> None:
    async def scenario() -> Frame:
        append(tmp_path / "log.csv", '{"at":"2026-01-01T00:00:00Z","p":{"a":1.5},"b":true}\n')
        async with Reading(tmp_path, format="json", tags=("p.a", "b"), time="at") as reading:
            await reading.values(1)
            return reading.frames[0]

    frame = asyncio.run(scenario())
    assert frame.values.tolist() == [1.5, 1.0]
    assert frame.source_us == 1_767_225_600_000_000


def test_a_file_that_is_not_there_is_listed_until_it_comes(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        async with Reading(tmp_path) as reading:
            await reading.until(lambda: bool(reading.tail.bad_items))
            listed = reading.tail.bad_items
            append(tmp_path / "log.csv", "a,b\n1,2\n")
            await reading.values(1)
            assert reading.tail.bad_items == []
            return listed

    assert asyncio.run(scenario()) == ["log.csv is not there"]


@pytest.mark.parametrize("wrong", [{"tags": ()}, {"poll": Seconds(0)}, {"separator": ",,"}, {"columns": ("a",)}])
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        TailOptions(**({"path": "x", "tags": ("a", "b")} | wrong))
