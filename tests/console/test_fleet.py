"""The live fleet over real SSH inside this process: states, losses, resumption, identity, clocks, logs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from console.fleet.view import LinkState, NodeView
from console.link.errors import LinkError
from console.seat.prompts import Nobody
from console.terminal.pace import BootClock, ClockOffset, Pace, with_value


def is_up(view: NodeView) -> bool:
    return view.link is LinkState.UP


def test_a_node_comes_up_with_status_telemetry_round_trip_and_trend(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        async with plant.running():
            view = await plant.until("press-07", lambda v: is_up(v) and len(v.rate_trend) > 3 and v.rtt_ms is not None)
            assert view.status is not None
            assert view.status.node_id == "id-press-07"
            assert view.telemetry is not None
            assert set(view.rate_trend) == {10.0}
            assert view.link_mode == "streamlocal"
            assert view.rtt_ms is not None
            assert 0 < view.rtt_ms < 300

    in_plant(body)


def test_views_change_only_by_new_ones_and_the_version_tells_which(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        await plant.node("press-08")
        fleet = plant.open()
        before, version = fleet.views()["press-07"], fleet.version
        assert fleet.changed_since(0) == {"press-07", "press-08"}
        async with plant.running() as fleet:
            await plant.until("press-07", is_up)
            assert fleet.views()["press-07"] is not before
            assert before.link is LinkState.CONNECTING
            assert "press-07" in fleet.changed_since(version)
            await fleet.remove("press-08")
            assert "press-08" in fleet.changed_since(fleet.version - 1)
            assert "press-08" not in fleet.views()

    in_plant(body)


@pytest.mark.parametrize(("missed", "gaps"), [(0, 0), (50, 1)])
def test_after_a_pulled_cable_the_stream_goes_on_at_its_cursor_and_only_lines_that_are_gone_are_a_gap(
    in_plant: Any, missed: int, gaps: int
) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        async with plant.running():
            await plant.until("press-07", lambda v: is_up(v) and v.telemetry is not None and v.telemetry.cursor > 2)
            await plant.servers["press-07"].unplug()
            down = await plant.until("press-07", lambda v: v.link is LinkState.DOWN)
            assert down.telemetry is not None
            assert down.rate_trend[-1] is None
            cursor = down.telemetry.cursor
            plant.agents["press-07"].cursor += missed
            await plant.servers["press-07"].start()
            view = await plant.until(
                "press-07", lambda v: is_up(v) and v.telemetry is not None and v.telemetry.cursor > cursor + missed + 1
            )
            assert plant.agents["press-07"].resumed_at[-1] == f"after={cursor}&started_us=1"
            assert view.rate_trend.count(None) == gaps

    in_plant(body)


def test_an_agent_that_hangs_turns_stale_then_down_while_ssh_stands(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        async with plant.running():
            await plant.until("press-07", is_up)
            plant.agents["press-07"].hung.set()
            await plant.until("press-07", lambda v: v.link is LinkState.STALE)
            view = await plant.until("press-07", lambda v: v.link not in (LinkState.STALE, LinkState.UP))
            assert view.link in (LinkState.DOWN, LinkState.NO_AGENT)
            assert view.link_error
            assert view.link_hint

    in_plant(body)


def test_telemetry_that_stops_is_stale_though_the_agent_still_answers(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        agent = plant.agents["press-07"]
        async with plant.running():
            await plant.until("press-07", is_up)
            agent.period_s, quick = 1_000.0, agent.telemetry()
            agent.telemetry = lambda: replace_cursor(quick, agent.cursor)
            view = await plant.until("press-07", lambda v: v.link is LinkState.STALE)
            assert "no telemetry" in view.link_error

    in_plant(body)


def replace_cursor(telemetry: Any, cursor: int) -> Any:
    return msgspec.structs.replace(telemetry, cursor=cursor, period_s=0.05)


def test_no_agent_behind_a_working_login_is_its_own_state_and_costs_no_new_login(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        await plant.http["press-07"].__aexit__()
        async with plant.running():
            view = await plant.until("press-07", lambda v: v.link is LinkState.NO_AGENT)
            assert "agent is not reached" in view.link_error
            logins = len(plant.servers["press-07"]._open)
            plant.http["press-07"] = await plant.http["press-07"].__aenter__()
            assert logins == 1
            await plant.until("press-07", is_up)
            assert len(plant.servers["press-07"]._open) == 1
            await plant.http["press-07"].__aexit__()
            view = await plant.until("press-07", lambda v: v.link is LinkState.NO_AGENT)
            assert not view.is_known(0.0)

    in_plant(body)


def test_an_agent_that_restarts_under_a_live_login_is_no_agent_and_comes_up_again(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        async with plant.running() as fleet:
            await plant.until("press-07", is_up)
            plant.agents["press-07"].handle["GET", "/status"] = lambda query, body: (503, b"")
            plant.http["press-07"].cut()
            view = await plant.until("press-07", lambda v: v.link not in (LinkState.UP, LinkState.STALE))
            assert view.link is LinkState.NO_AGENT
            plant.agents["press-07"].handle.clear()
            fleet.retry("press-07")
            await plant.until("press-07", is_up)

    in_plant(body)


def test_another_protocol_is_its_own_state(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        plant.agents["press-07"].major = 99
        async with plant.running():
            view = await plant.until("press-07", lambda v: v.link is LinkState.WRONG_PROTOCOL)
            assert "speaks protocol 99.0" in view.link_error
            assert view.link_hint == "update the console"

    in_plant(body)


def test_a_changed_node_id_refuses_the_node_with_both_ids(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        address = await plant.node("press-07")
        plant.addresses[:] = [replace(address, node_id="id-before")]
        async with plant.running():
            view = await plant.until("press-07", lambda v: v.link is LinkState.REFUSED)
            assert "pinned id-before" in view.link_error
            assert "shown id-press-07" in view.link_error

    in_plant(body)


def test_a_doubled_node_id_refuses_the_second_and_names_both(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        first = await plant.node("press-07", node_id="same")
        await plant.node("press-08", node_id="same")
        plant.addresses[0] = replace(first, node_id="same")
        async with plant.running():
            view = await plant.until("press-08", lambda v: v.link is LinkState.REFUSED)
            assert "press-08 and press-07 both answer as same" in view.link_error

    in_plant(body)


def test_an_unknown_host_key_refuses_the_node_when_nobody_accepts_it(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        async with plant.running(person=Nobody()):
            view = await plant.until("press-07", lambda v: v.link is LinkState.REFUSED)
            assert "SHA256:" in view.link_error
            assert plant.http["press-07"].accepted == 0

    in_plant(body)


def test_the_clock_offset_of_a_node_is_measured(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        plant.agents["press-07"].wall_ahead_s = -3_600.0
        async with plant.running():
            view = await plant.until("press-07", lambda v: is_up(v) and v.rtt_ms is not None and len(v.rate_trend) > 5)
            assert view.clock_offset_s is not None
            assert abs(view.clock_offset_s + 3_600.0) < 0.5

    in_plant(body)


def test_logs_are_followed_over_a_loss_with_nothing_missing_and_nothing_twice(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        agent = plant.agents["press-07"]
        agent.log("one")
        agent.log("two")
        got: list[str] = []
        async with plant.running() as fleet, asyncio.timeout(15):
            await plant.until("press-07", is_up)
            async with aclosing(fleet.follow_logs("press-07", 0)) as lines:
                async for line in lines:
                    got.append(line.text)
                    if line.text == "two":
                        await plant.servers["press-07"].unplug()
                        agent.log("three")
                        await plant.servers["press-07"].start()
                        agent.log("four")
                    if line.text == "four":
                        break
        assert got == ["one", "two", "three", "four"]

    in_plant(body)


def test_a_node_added_while_it_runs_is_watched_and_a_doubled_name_is_refused(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        async with plant.running() as fleet:
            address = await plant.node("press-08")
            fleet.add(address)
            await plant.until("press-08", is_up)
            with pytest.raises(ValueError, match="already"):
                fleet.add(address)

    in_plant(body)


def test_clients_work_without_the_watch_and_a_lanes_fresh_one_is_a_login_of_its_own(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        await plant.node("press-07")
        fleet = plant.open()
        assert (await fleet.client("press-07").status()).name == "press-07"
        live = len(plant.servers["press-07"]._open)
        async with fleet.operate() as lane:
            assert await lane.client("press-07").identify() == "id-press-07"
            async with lane.fresh_client("press-07") as fresh, lane.bulk_client("press-07") as bulk:
                assert await fresh.identify() == await bulk.identify() == "id-press-07"
                assert len(plant.servers["press-07"]._open) == live + 3
        await fleet.aclose()

    in_plant(body)


def test_nothing_of_a_fleet_is_left_when_it_stops(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        for index in range(5):
            await plant.node(f"press-{index}")
        before = asyncio.all_tasks()
        async with plant.running():
            for index in range(5):
                await plant.until(f"press-{index}", is_up)
        await asyncio.sleep(0.2)
        left = {task for task in asyncio.all_tasks() - before if "watch" in task.get_name()}
        assert left == set()
        for http in plant.http.values():
            assert not http.open
        await plant.servers["press-0"].unplug()
        with pytest.raises(LinkError):
            await plant.fleet.client("press-0").status()

    in_plant(body)


def test_backoff_doubles_to_its_cap_half_by_chance_and_is_long_where_a_person_is_needed() -> None:
    pace = Pace()
    waits = [pace.backoff_s(n, LinkState.DOWN, 1.0) for n in range(1, 8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert pace.backoff_s(1, LinkState.DOWN, 0.0) == 0.5
    assert pace.backoff_s(10_000, LinkState.DOWN, 1.0) == 30
    assert pace.backoff_s(1, LinkState.REFUSED, 1.0) == 60


def test_the_clock_offset_is_that_of_the_least_delayed_line_and_follows_a_set_clock() -> None:
    offset = ClockOffset()
    for delay_s in (0.5, 0.01, 0.9):
        told = offset.add(1_000_000_000, 1_000.0 - 20.0 + delay_s, None)
    assert told == pytest.approx(19.99)
    for _ in range(15):
        told = offset.add(1_000_000_000, 1_000.0, 0.0)
    assert told == 0.0


def test_a_line_that_was_delayed_is_as_old_as_the_nodes_own_clock_says() -> None:
    boot = BootClock()
    assert boot.made_at(1_000_000, 100.25) == 100.25
    assert boot.made_at(2_000_000, 101.0) == 101.0
    assert boot.made_at(3_000_000, 140.0) == 102.0
    boot.clear()
    assert boot.made_at(4_000_000, 140.0) == 140.0


def test_a_trend_holds_the_last_sixty_values() -> None:
    trend: tuple[float | None, ...] = ()
    for index in range(100):
        trend = with_value(trend, float(index))
    assert trend == tuple(float(index) for index in range(40, 100))
