"""A flood of alerts is one line; nothing that is alone, late or acknowledged is hidden in it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from console.fleet import alertbook
from console.fleet.board import BoardAlert, survey
from console.fleet.floods import FLOOD_MIN, FLOOD_S, group
from console.sample.fleet import SampleFleet, sample_seat
from console.sample.plant import NOW_S, WALL_S, alert, many, view
from nodeagent.protocol import AlertState


def silent(nodes: int, *, every_s: float = 1.0, **changes: Any) -> list[BoardAlert]:
    one = BoardAlert("", 1, "SOURCE.SILENT", 2, AlertState.RAISED, "plc", "plc has sent nothing", "look", 0.0)
    return [replace(one, node=f"press-{i:02}", since_s=WALL_S + i * every_s, **changes) for i in range(nodes)]


BOARD = survey(
    {f"press-{i:02}": view(f"press-{i:02}", "graz", "L1", "bearing", i % 12) for i in range(40)}, NOW_S, WALL_S
)


def test_the_same_code_at_one_site_within_minutes_is_one_line_that_names_what_came_first() -> None:
    (line,) = group(silent(12), BOARD.nodes)
    assert line.is_flood
    assert line.first.node == "press-00"
    assert line.message == "12 nodes at graz: plc has sent nothing (press-00, press-01, press-02 and 9 more)"


def test_few_alerts_and_those_far_apart_stay_by_themselves() -> None:
    assert len(group(silent(FLOOD_MIN - 1), BOARD.nodes)) == FLOOD_MIN - 1
    assert len(group(silent(FLOOD_MIN, every_s=FLOOD_S + 1), BOARD.nodes)) == FLOOD_MIN


def test_alerts_of_one_node_are_no_flood_however_many() -> None:
    alerts = [replace(one, node="press-01", id=i) for i, one in enumerate(silent(20))]
    assert len(group(alerts, BOARD.nodes)) == 20


def test_what_is_acknowledged_or_of_another_code_is_not_hidden_in_a_flood() -> None:
    seen = silent(1, acknowledged_by="alice", state=AlertState.ACKNOWLEDGED)
    other = silent(1, code="DISK.LOW")
    lines = group([*silent(10)[1:], *seen, *other], BOARD.nodes)
    assert [len(line.alerts) for line in lines] == [9, 1, 1]


def test_a_flood_is_one_line_on_every_screen_and_opens_into_its_alerts() -> None:
    views = many(30)
    for name, one in list(views.items()):
        assert one.telemetry is not None
        raised = [alert(1, "SOURCE.SILENT", 2, "plc has sent nothing", "look", 30.0)]
        address = replace(one.address, site="graz")
        telemetry = type(one.telemetry)(**{f: getattr(one.telemetry, f) for f in one.telemetry.__struct_fields__} | {
            "alerts": raised})  # fmt: skip
        views[name] = replace(one, address=address, telemetry=telemetry)

    async def run() -> None:
        seat = sample_seat(SampleFleet(views))
        async with seat.run_test(size=(100, 40)) as pilot:
            await pilot.pause()
            assert "30 alerts 30 nodes at graz: plc has sent nothing" in seat.screen_text().splitlines()[1]
            await pilot.press("2")
            await pilot.pause()
            assert "+30 alerts" in seat.screen_text()
            assert len(seat.screen.table.keys) == 1  # type: ignore[attr-defined]
            await pilot.press("enter")
            await pilot.pause()
            assert len(seat.screen.table.keys) == 31  # type: ignore[attr-defined]
            await pilot.press("a")
            await pilot.pause()
            assert "Acknowledge 30 alerts" in seat.screen_text()
            await pilot.press("enter")
            await pilot.pause()
            for worker in [w for w in seat.workers if w.group.startswith("work-")]:
                await worker.wait()
            await pilot.pause()
            assert not seat.board.waiting

    asyncio.run(run())


def test_every_kind_of_alert_says_what_it_means_and_what_to_do() -> None:
    for kind in (*alertbook.KINDS, *alertbook.LINKS):
        assert kind.means
        assert kind.do
        assert alertbook.kind_of(kind.code) is kind
