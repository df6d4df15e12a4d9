"""How a node is judged: unknown is never ok (I19), and the alert that matters most comes first."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from console.fleet.board import judge, survey
from console.fleet.view import Condition, LinkState, NodeView
from console.sample.plant import NOW_S, WALL_S, alert, plant
from nodeagent.protocol import Hold, OutOfService, WorkerState


def well() -> NodeView:
    return plant()["press-01"]


def with_telemetry(view: NodeView, **changes: object) -> NodeView:
    assert view.telemetry is not None
    return replace(view, telemetry=msgspec.structs.replace(view.telemetry, **changes))


def test_the_sample_plant_is_judged_as_it_is_described() -> None:
    board = survey(plant(), NOW_S, WALL_S)
    assert dict(board.counts) == {
        Condition.ALARM: 1,
        Condition.WARN: 1,
        Condition.UNKNOWN: 2,
        Condition.MAINTENANCE: 1,
        Condition.OK: 7,
    }


@pytest.mark.parametrize("link", [state for state in LinkState if state not in (LinkState.UP, LinkState.STALE)])
def test_i19_a_link_that_is_not_up_is_unknown_however_good_the_last_state_was(link: LinkState) -> None:
    assert judge(replace(well(), link=link), NOW_S).condition is Condition.UNKNOWN


def test_alerts_of_a_node_out_of_service_are_suppressed_by_design_and_no_longer_than_to_the_end_that_was_named() -> (
    None
):
    view = with_telemetry(well(), alerts=[alert(1, "MODEL.ALARM", 1, "bearing is hot", "look", 5.0)])
    assert view.telemetry is not None
    out = OutOfService(by="bob", reason="belt", since_us=1, until_us=view.telemetry.wall_us + 1, owner="maria")
    board = survey({"press-01": with_telemetry(view, out_of_service=out)}, NOW_S, WALL_S)
    (found,) = board.alerts
    assert (board.nodes["press-01"].condition, board.waiting) == (Condition.MAINTENANCE, ())
    assert (found.suppressed, found.waits, found.active) == ("out of service by bob", False, False)
    past = OutOfService(by="bob", reason="belt", since_us=1, until_us=view.telemetry.wall_us - 1)
    board = survey({"press-01": with_telemetry(view, out_of_service=past)}, NOW_S, WALL_S)
    assert (board.nodes["press-01"].condition, len(board.waiting)) == (Condition.ALARM, 1)


def test_values_dim_after_three_periods_and_are_unknown_after_ten_seconds() -> None:
    view = well()
    assert view.telemetry_at_s is not None
    at_s = view.telemetry_at_s
    assert (judge(view, at_s + 3.0).stale, judge(view, at_s + 3.0).condition) == (False, Condition.OK)
    assert (judge(view, at_s + 3.1).stale, judge(view, at_s + 3.1).condition) == (True, Condition.OK)
    assert judge(view, at_s + 10.1).condition is Condition.UNKNOWN


def test_with_slow_telemetry_five_periods_count() -> None:
    view = with_telemetry(well(), period_s=60.0)
    assert view.telemetry_at_s is not None
    assert judge(view, view.telemetry_at_s + 299).condition is Condition.OK
    assert judge(view, view.telemetry_at_s + 301).condition is Condition.UNKNOWN


def test_i19_a_node_that_never_answered_is_unknown() -> None:
    assert judge(NodeView(address=well().address), NOW_S).condition is Condition.UNKNOWN


def test_a_worker_that_is_not_serving_is_never_ok() -> None:
    assert well().telemetry is not None
    for state in WorkerState:
        bundle = msgspec.structs.replace(well().telemetry.bundles[0], state=state)  # type: ignore[union-attr]
        found = judge(with_telemetry(well(), bundles=[bundle]), NOW_S).condition
        assert (found is Condition.OK) == (state is WorkerState.SERVING)


def test_safe_mode_is_an_alarm_and_a_hold_a_warning() -> None:
    assert judge(with_telemetry(well(), mode="safe"), NOW_S).condition is Condition.ALARM
    held = Hold(by="bob", reason="jam", since_us=0)
    assert judge(with_telemetry(well(), hold=held), NOW_S).condition is Condition.WARN


def test_a_shelved_or_cleared_alert_does_not_colour_the_node() -> None:
    for state in ("shelved", "cleared"):
        raised = alert(1, "X.Y", 1, "hot", "cool it", 5, state=state)
        assert judge(with_telemetry(well(), alerts=[raised]), NOW_S).condition is Condition.OK


def test_alerts_come_by_priority_and_then_the_newest() -> None:
    low_new, high_old, high_new = (
        alert(i, "X.Y", priority, name, "do", since)
        for i, (priority, name, since) in enumerate([(3, "low", 1), (1, "old", 90), (1, "new", 10)], 1)
    )
    views = {"press-01": with_telemetry(well(), alerts=[low_new, high_old, high_new])}
    assert [a.message for a in survey(views, NOW_S, WALL_S).waiting] == ["new", "old", "low"]


def test_nodes_behind_a_lost_jump_host_are_one_alert() -> None:
    lost = {n: replace(v, link=LinkState.DOWN) for n, v in plant().items() if v.address.jumps}
    assert [a.message for a in survey(lost, NOW_S, WALL_S).alerts] == ["5 nodes behind ops@jump.graz:22 do not answer"]


def test_while_one_node_behind_the_jump_answers_the_others_are_alerts_of_their_own() -> None:
    views = {n: v for n, v in plant().items() if v.address.jumps}
    views |= {n: replace(views[n], link=LinkState.DOWN) for n in ("press-01", "press-02")}
    found = [a.node for a in survey(views, NOW_S, WALL_S).alerts if a.code == "LINK.DOWN"]
    assert sorted(found) == ["press-01", "press-02"]


def test_an_alert_about_a_link_is_acknowledged_on_this_console() -> None:
    board = survey(plant(), NOW_S, WALL_S)
    key = next(a.key for a in board.alerts if a.node == "cast-05")
    again = survey(plant(), NOW_S, WALL_S, {key: "alice"})
    assert next(a for a in again.alerts if a.key == key).acknowledged_by == "alice"
    assert key not in {a.key for a in again.waiting}
