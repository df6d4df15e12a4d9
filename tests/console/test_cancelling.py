"""Work that runs can be cancelled after a second step, and a trial is not extended without one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from console.sample.fleet import SampleFleet, sample_seat
from console.seat.operations import Step
from console.seat.seat import Seat
from console.seat.work import Work


async def forever(on_step: Any) -> None:
    """An upload over a link that stands still."""
    on_step(Step("upload", "press-07", 450, 1_000))
    await asyncio.Event().wait()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def ended(seat: Seat, pilot: Pilot[Any], work: Work) -> None:
    for worker in [w for w in seat.workers if w.group == f"work-{work.number}"]:
        with pytest.raises(WorkerCancelled):
            await worker.wait()
    await pilot.pause()


def test_an_upload_is_cancelled_after_a_second_step_and_not_before() -> None:
    async def run() -> None:
        seat = sample_seat()
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await press(pilot, "X")
            assert "nothing is running that could be cancelled" in seat.screen_text()
            work = seat.begin("deploy", "deploy pump 2.0", "press-07", forever)
            await press(pilot, "X")
            asked = seat.screen_text()
            assert "Cancel deploy pump 2.0 on press-07" in asked
            assert "upload, 45 % sent" in asked
            assert "at the byte where it stopped" in asked
            await press(pilot, "escape")
            assert work.running
            await press(pilot, "W", "X", "enter")
            await ended(seat, pilot, work)
            assert work.state == "cancelled"
            assert "cancelled" in seat.screen_text()
            assert seat.works.running == 0

    asyncio.run(run())


def test_of_several_the_one_that_is_chosen_is_cancelled() -> None:
    async def run() -> None:
        seat = sample_seat()
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            first = seat.begin("deploy", "deploy pump 2.0", "press-07", forever)
            second = seat.begin("deploy", "deploy pump 2.0", "press-01", forever)
            await press(pilot, "X")
            assert "Cancel what" in seat.screen_text()
            await press(pilot, "down", "enter")
            assert "Cancel deploy pump 2.0 on press-07" in seat.screen_text()
            await press(pilot, "enter")
            await ended(seat, pilot, first)
            assert (first.state, second.state) == ("cancelled", "running")

    asyncio.run(run())


def test_extending_a_trial_says_first_what_it_does_and_takes_a_second_key() -> None:
    fleet = SampleFleet()

    def left_s() -> float:
        trial = fleet.views()["mill-11"].telemetry.bundles[0].trial  # type: ignore[union-attr]
        assert trial is not None
        return trial.seconds_left

    async def run() -> None:
        seat = sample_seat(fleet)
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            seat.operating = True
            seat.go("watch", "mill-11")
            await press(pilot, "e")
            assert "it has 10:00 from now instead of 3:12" in seat.screen_text()
            assert left_s() == 192.0
            await press(pilot, "enter")
            for worker in [w for w in seat.workers if w.group.startswith("work-")]:
                await worker.wait()
            await pilot.pause()
            assert left_s() == 600.0

    asyncio.run(run())
