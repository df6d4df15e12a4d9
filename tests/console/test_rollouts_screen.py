"""The Rollouts screen over the sample plant: lanes, gate, causes, and the five verbs behind a second step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual.pilot import Pilot

from console.sample.fleet import sample_seat
from console.sample.operations import SampleOperations
from console.sample.rollouts import sample_reports
from console.screens.rolloutlines import CELLS, report_lines
from console.seat.seat import Seat
from widgets.cells import spans_width
from widgets.look import grey

SIZES = ((80, 24), (100, 30), (140, 40))


def play(*keys: str, size: tuple[int, int] = (100, 30), ascii: bool = False) -> tuple[str, SampleOperations]:  # noqa: A002
    """The screen's text after these keys, and what was asked of the plant."""

    async def run() -> tuple[str, SampleOperations]:
        seat = sample_seat(ascii=ascii)
        async with seat.run_test(size=size) as pilot:
            await walked(seat, pilot, keys)
            assert isinstance(seat.operations, SampleOperations)
            return seat.screen_text(), seat.operations

    return asyncio.run(run())


async def walked(seat: Seat, pilot: Pilot[Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
        for worker in [w for w in seat.workers if w.group.startswith("work-")]:
            await worker.wait()
        await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_the_list_and_the_lanes_of_the_first_are_there_at_every_size(size: tuple[int, int]) -> None:
    text, _ = play("3", size=size)
    for word in ("bearing-2.2", "running", "bearing-2.1", "done", "canary", "25%", "100%", "goes back by itself in"):
        assert word in text
    assert all(len(line) <= size[0] for line in text.splitlines())


def test_what_stopped_a_rollout_is_told_with_its_cause_and_what_to_do() -> None:
    text, _ = play("3", "down", "down", size=(140, 40))
    assert "wave 1 stopped at its gate" in text
    assert "2 x gate: press-01, press-02" in text
    assert "retry if they had another reason, else abort" in text


def test_every_state_of_a_node_has_a_sign_of_its_own_role_and_ascii_has_no_other() -> None:
    assert all(plain.isascii() and len(sign) == len(plain) == 1 for sign, plain, _ in CELLS.values())
    text, _ = play("3", ascii=True)
    assert text.isascii()


def test_no_line_is_wider_than_the_terminal() -> None:
    for report in sample_reports():
        for line in report_lines(report, grey(), 80):
            assert spans_width(line) <= 80, line


@pytest.mark.parametrize("key", ["c", "z", "t", "K", "V"])
def test_in_monitor_no_verb_does_anything(key: str) -> None:
    text, operations = play("3", key)
    assert "MONITOR: nothing on a line can be changed here" in text
    assert operations.ordered == []


@pytest.mark.parametrize(("key", "order"), [("c", "go"), ("t", "retry"), ("K", "keep"), ("V", "revert")])
def test_a_verb_is_ordered_only_after_the_end_of_the_id_was_typed(key: str, order: str) -> None:
    id_ = sample_reports()[0].id
    _, operations = play("3", "o", key, "enter")
    assert operations.ordered == []
    _, operations = play("3", "o", key, *id_[-6:], "enter")
    assert operations.ordered == [(id_, order)]


def test_a_pause_takes_one_key_more_because_it_harms_nobody() -> None:
    _, operations = play("3", "o", "z", "enter")
    assert operations.ordered == [(sample_reports()[0].id, "pause")]
