"""The seat: modes, work, the way about, and that nothing is changed by one key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.sample.fleet import SampleFleet, StillClock, sample_seat, unplugged
from console.seat.operations import OperationFailed, Step
from console.seat.seat import OPERATE_IDLE_S, Seat
from nodeagent.protocol import AlertState

Act = Callable[[Seat, Pilot[Any]], Awaitable[None]]


def in_seat(act: Act, *, fleet: SampleFleet | None = None, size: tuple[int, int] = (80, 24), **options: Any) -> None:
    """Runs `act` in an app on the sample fleet."""

    async def run() -> None:
        seat = sample_seat(fleet, **options)
        async with seat.run_test(size=size) as pilot:
            await pilot.pause()
            await act(seat, pilot)

    asyncio.run(run())


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def settled(seat: Seat, pilot: Pilot[Any]) -> None:
    """Waits until no work is running."""
    await pilot.pause()
    for worker in [w for w in seat.workers if w.group.startswith("work-")]:
        await worker.wait()
    await pilot.pause()


def test_it_starts_in_monitor_and_a_change_is_refused_there() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        for key in ("d", "r"):
            await press(pilot, key)
            assert "Press o for OPERATE" in seat.screen_text()
            assert len(seat.screen_stack) == 1

    in_seat(act)


def test_o_asks_for_operate_and_the_header_shows_it_as_a_band() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        assert seat.operating
        assert "OPERATE 15m" in seat.screen_text().splitlines()[0]
        await press(pilot, "o")
        await settled(seat, pilot)
        assert not seat.operating
        assert "MONITOR" in seat.screen_text().splitlines()[0]

    in_seat(act)


def test_operate_falls_back_after_fifteen_idle_minutes_and_any_key_keeps_it() -> None:
    clock = StillClock()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await settled(seat, pilot)
        assert seat.operating
        clock.pass_s(OPERATE_IDLE_S - 1)
        await press(pilot, "down")
        clock.pass_s(OPERATE_IDLE_S - 1)
        seat.tick()
        assert seat.operating
        clock.pass_s(2)
        seat.tick()
        assert not seat.operating

    in_seat(act, operate=True, clock=clock)


def test_the_deploy_flow_sends_nothing_before_the_name_of_the_node_is_typed() -> None:
    fleet = SampleFleet()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        version = fleet.version
        await press(pilot, "d")
        await settled(seat, pilot)
        assert "bearing 2.2" in seat.screen_text()
        await press(pilot, "enter")
        await settled(seat, pilot)
        assert "trial window  10:00" in seat.screen_text()
        await press(pilot, "left", "enter")
        text = seat.screen_text()
        for part in (
            "2.1 r14 becomes 2.2",
            "press-07, 1 node",
            "goes\n            back to 2.1 r14",
            "On trial for 5:00",
        ):
            assert part in text
        await press(pilot, *"press-08", "enter")
        assert "that is not press-07" in seat.screen_text()
        assert fleet.version == version
        await press(pilot, *"press-07", "enter")
        await settled(seat, pilot)
        assert "TRIAL 5:00" in seat.screen_text()
        assert fleet.version > version

    in_seat(act, fleet=fleet)


def test_a_candidate_that_its_recorder_gate_stops_is_told_with_figures_and_goes_past_it_only_by_name() -> None:
    fleet = SampleFleet()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        version = fleet.version
        await press(pilot, "d")
        await settled(seat, pilot)
        await press(pilot, "down", "down", "down", "enter")
        await settled(seat, pilot)
        assert "recorder gate at least 90 % of equal decisions" in seat.screen_text()
        await press(pilot, "up", "enter")
        await settled(seat, pilot)
        assert "less than 95 % of" in seat.screen_text()
        await press(pilot, *"press-07", "enter")
        await settled(seat, pilot)
        text = seat.screen_text()
        for part in (
            "recorder gate: failed; 1,000 rows",
            "290 x ok -> alarm",
            "71 %",
            "+0.41",
            "ok > alarm  0.4 > 3.2",
        ):
            assert part in text
        assert fleet.version == version
        await press(pilot, "P")
        await settled(seat, pilot)
        assert "WHATEVER the recorder gate says" in seat.screen_text()
        await press(pilot, *"press-07", "enter")
        await settled(seat, pilot)
        assert "TRIAL " in seat.screen_text()
        assert "recorder gate failed; 1,000 rows, agreement 71 %" in seat.screen_text()

    in_seat(act, fleet=fleet)


def test_a_confirm_takes_two_keys_and_those_typed_before_it_was_drawn_are_dropped() -> None:
    fleet = SampleFleet()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        seat.go("watch", "mill-11")
        await pilot.pause()
        for _ in range(3):
            await press(pilot, "C")
        assert "stays; nothing goes back by itself" in seat.screen_text()
        await press(pilot, "escape")
        trial = fleet.views()["mill-11"].telemetry.bundles[0].trial  # type: ignore[union-attr]
        assert trial is not None
        seat.changes.do_confirm()
        view = seat.screen
        view._drawn_at = None  # type: ignore[attr-defined]
        await pilot.press("enter")
        assert seat.screen is view
        view._is_drawn()  # type: ignore[attr-defined]
        await press(pilot, "enter")
        await settled(seat, pilot)
        assert fleet.views()["mill-11"].telemetry.bundles[0].trial is None  # type: ignore[union-attr]

    in_seat(act, fleet=fleet)


def test_roll_back_from_the_fleet_asks_for_the_name_and_names_what_comes_back() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        await press(pilot, "r")
        text = seat.screen_text()
        assert "type press-07 and press enter to roll back" in text
        await press(pilot, "escape")
        assert len(seat.screen_stack) == 1

    in_seat(act)


def test_hold_works_in_monitor_with_a_confirm_of_its_own() -> None:
    fleet = SampleFleet()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "h")
        assert "every output goes to its safe value" in seat.screen_text()
        await press(pilot, *"jam", "enter")
        await settled(seat, pilot)
        hold = fleet.views()["press-07"].telemetry.hold  # type: ignore[union-attr]
        assert hold is not None
        assert (hold.by, hold.reason) == ("alice", "jam")

    in_seat(act, fleet=fleet)


def test_m_takes_a_node_out_of_service_with_time_and_reason_and_m_brings_it_back() -> None:
    fleet = SampleFleet()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        await press(pilot, "m", *"4h", "enter")
        assert "nothing was changed" in seat.screen_text()
        await press(pilot, "m", *"4h", "space", *"spindle", "enter")
        await settled(seat, pilot)
        out = fleet.views()["press-07"].telemetry.out_of_service  # type: ignore[union-attr]
        assert out is not None
        assert (out.by, out.reason) == ("alice", "spindle")
        await press(pilot, "m", "enter")
        await settled(seat, pilot)
        assert fleet.views()["press-07"].telemetry.out_of_service is None  # type: ignore[union-attr]

    in_seat(act, fleet=fleet)


def test_nothing_can_be_changed_on_a_node_that_does_not_answer() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        await press(pilot, "d")
        assert "does not answer" in seat.screen_text()
        assert len(seat.screen_stack) == 1

    in_seat(act, fleet=unplugged())


def test_a_acknowledges_the_alert_that_is_shown_and_not_one_that_just_came() -> None:
    clock, fleet = StillClock(), SampleFleet()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "a")
        assert "has just changed" in seat.screen_text()
        clock.pass_s(1.0)
        await press(pilot, "a")
        await settled(seat, pilot)
        alerts = fleet.views()["press-07"].telemetry.alerts  # type: ignore[union-attr]
        assert (alerts[0].state, alerts[0].acknowledged_by) == (AlertState.ACKNOWLEDGED, "alice")

    in_seat(act, fleet=fleet, clock=clock)


def test_z_shelves_the_alert_under_the_cursor_with_its_time_and_reason_and_z_again_ends_it() -> None:
    fleet = SampleFleet()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "o")
        await settled(seat, pilot)
        await press(pilot, "2", "z", *"soon", "enter")
        assert "nothing was shelved" in seat.screen_text()
        await press(pilot, "z", *"4h", "space", *"ordered", "enter")
        await settled(seat, pilot)
        (shelved,) = [a for a in seat.board.alerts if a.shelved_s_left]
        assert (shelved.state, shelved.note, shelved.shelved_s_left) == (AlertState.SHELVED, "ordered", 14_400.0)
        assert shelved not in seat.board.waiting
        page = seat.page
        page.table.select(shelved.key)  # type: ignore[union-attr]
        await press(pilot, "z")
        await settled(seat, pilot)
        assert not [a for a in seat.board.alerts if a.state is AlertState.SHELVED and a.key == shelved.key]

    in_seat(act, fleet=fleet)


def test_r_shows_the_records_to_label_and_a_digit_labels_one_and_goes_to_the_next() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        seat.go("node", "press-07")
        await press(pilot, "R")
        await settled(seat, pilot)
        pane = seat.page.records_pane  # type: ignore[union-attr]
        first = pane.record
        assert first is not None
        assert set(pane.why.values()) == {"alarm"}
        await press(pilot, "L", "1")
        await settled(seat, pilot)
        assert pane.records[str(first.key)].label == "outer race"
        assert pane.record is not first
        assert seat.operations.labels == {first.key: "outer race"}  # type: ignore[attr-defined]
        await press(pilot, "R")
        await settled(seat, pilot)
        assert len(pane.records) > len(pane.why) == 0

    in_seat(act)


def test_work_goes_on_when_its_screen_is_left_and_is_counted() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        gate = asyncio.Event()

        async def slow(on_step: Callable[[Step], None]) -> None:
            on_step(Step("upload", "press-07", 1, 2))
            await gate.wait()

        seat.begin("deploy", "deploy bearing 2.2", "press-07", slow)
        seat.go("watch", "press-07")
        await pilot.pause()
        assert "upload" in seat.screen_text()
        await press(pilot, "1")
        assert "1 running" in seat.screen_text().splitlines()[0]
        await press(pilot, "q")
        assert "Leave while work is running" in seat.screen_text()
        await press(pilot, "escape")
        gate.set()
        await settled(seat, pilot)
        assert "running" not in seat.screen_text().splitlines()[0]

    in_seat(act)


def test_a_failure_says_what_failed_where_why_and_what_next() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        async def fails(_: object) -> None:
            raise OperationFailed("deploy refused", node="press-07", why=("the disk is full",), hint="free 20 MB")

        seat.begin("deploy", "deploy bearing 2.2", "press-07", fails)
        await settled(seat, pilot)
        text = " ".join(seat.screen_text().split())
        assert "press-07: deploy refused: the disk is full. Next: free 20 MB" in text

    in_seat(act)


def test_paused_the_picture_stands_still_and_says_so() -> None:
    fleet, clock = SampleFleet(), StillClock()

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "p")
        assert "PAUSED" in seat.screen_text().splitlines()[0]
        before = seat.screen_text()
        for _ in range(10):
            fleet.step(1.0, clock)
            seat.tick()
            await pilot.pause()
        assert seat.screen_text().splitlines()[2:] == before.splitlines()[2:]
        await press(pilot, "p")
        assert seat.screen_text().splitlines()[2:] != before.splitlines()[2:]

    in_seat(act, fleet=fleet, clock=clock)


def test_the_places_one_was_at_are_gone_back_to_and_forth() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        def shown() -> str:
            return type(seat.screen).__name__

        await press(pilot, "2", "5", "1", "enter", "enter")
        assert shown() == "ChartPage"
        for name in ("NodePage", "FleetPage", "LogsPage", "AlertsPage", "FleetPage"):
            await press(pilot, "left_square_bracket")
            assert shown() == name
        await press(pilot, "right_square_bracket")
        assert shown() == "AlertsPage"

    in_seat(act)


def test_yank_keeps_what_the_cursor_is_on_in_a_file(tmp_path: Path) -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "y")
        await pilot.pause(0.2)

    in_seat(act, clip_file=tmp_path / "state" / "clip.txt")
    assert "node=press-07" in (tmp_path / "state" / "clip.txt").read_text()


@pytest.mark.parametrize("look", ["daylight", "mono", "sixteen", "grey"])
def test_a_theme_is_set_by_the_palette(look: str) -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(pilot, "colon", *f"theme {look}".replace(" ", "_").split("_")[0], "space", *look, "enter")
        await pilot.pause()
        assert seat.look.name == look
        assert "press-07" in seat.screen_text()

    in_seat(act)
