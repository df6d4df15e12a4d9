"""Line by line: what changed is told in words, worst first, and the verbs are those of the table of commands."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from console.fleet.news import LINES_MAX
from console.fleet.view import LinkState
from console.sample.fleet import SampleFleet, StillClock
from console.sample.plant import many
from console.seat.commands import COMMANDS
from console.seat.plain import Told, help_lines
from console.seat.verbs import verb_of


def told(fleet: SampleFleet) -> Told:
    began = Told(fleet, StillClock())
    began.look()
    return began


def test_the_fleet_is_told_in_a_sentence_and_then_only_what_changes() -> None:
    began = Told(SampleFleet(), StillClock())
    assert began.look() == ["12 nodes: 1 ALRM, 1 WARN, 2 UNKN, 1 MMNT, 6 OK, 1 TRIAL; 4 alerts wait to be acknowledged"]
    assert began.look() == []


def test_a_node_that_is_lost_is_told_once_with_its_reason() -> None:
    fleet = SampleFleet()
    began = told(fleet)
    fleet.put(replace(fleet.views()["mill-11"], link=LinkState.DOWN, link_error="timed out"))
    (line,) = began.look()
    assert "mill-11 UNKN: unknown since" in line
    assert "timed out" in line
    assert "(was TRIAL)" in line
    assert began.look() == []


def test_an_alert_is_told_with_its_number_and_what_to_do_and_so_is_its_end() -> None:
    fleet = SampleFleet()
    began = told(fleet)
    view = fleet.views()["press-07"]
    assert view.telemetry is not None
    one = msgspec.structs.replace(view.telemetry.alerts[0], id=99, message="disk nearly full", advice="free some")
    fleet.put(replace(view, telemetry=msgspec.structs.replace(view.telemetry, alerts=[*view.telemetry.alerts, one])))
    (line,) = began.look()
    assert line.split(" ", 1)[1].startswith("press-07 alert 99, priority ")
    assert line.endswith("disk nearly full. Next: free some")
    fleet.put(view)
    (line,) = began.look()
    assert line.endswith("press-07 alert over: disk nearly full")


def test_a_whole_plant_lost_is_a_few_lines_and_how_many_more() -> None:
    fleet = SampleFleet(many(200))
    began = told(fleet)
    fleet.put(*(replace(view, link=LinkState.DOWN, link_error="x") for view in fleet.views().values()))
    lines = began.look()
    assert len(lines) == LINES_MAX + 1
    assert "more: `status` and `alerts` tell all" in lines[-1]


def test_nodes_that_are_still_being_asked_are_waited_for() -> None:
    clock = StillClock()
    views = {n: replace(v, link=LinkState.CONNECTING, telemetry=None) for n, v in SampleFleet().views().items()}
    began = Told(SampleFleet(views), clock)
    assert began.look() == []
    clock.pass_s(9.0)
    assert began.look()[0].startswith("12 nodes: 12 UNKN")


def test_help_has_every_verb_that_a_command_has_and_finds_by_word() -> None:
    text = "\n".join(help_lines())
    for command in COMMANDS:
        assert verb_of(command) in text
    assert all("hold" in line.casefold() for line in help_lines("hold"))
    assert help_lines("nonsense") == ["nothing is called nonsense"]
