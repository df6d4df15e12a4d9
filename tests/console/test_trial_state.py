"""A node on trial is never called OK: it goes back by itself unless somebody confirms."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from console.cli.fleet import condition
from console.fleet.board import NodeState, judge, survey
from console.fleet.query import order
from console.fleet.rows import node_row, state_of
from console.sample.plant import NOW_S, WALL_S, plant
from nodeagent.protocol import Status, Telemetry
from widgets.look import grey
from widgets.status import ALARM, OK, TRIAL, word

VIEWS = plant()


def changed(name: str, **changes: object) -> NodeState:
    view = VIEWS[name]
    assert view.telemetry is not None
    return judge(replace(view, telemetry=msgspec.structs.replace(view.telemetry, **changes)), NOW_S)


def test_the_state_of_a_node_on_trial_is_trial_with_what_is_left_beside_it() -> None:
    row = node_row(judge(VIEWS["mill-11"], NOW_S), NOW_S, grey())
    assert row.cells["state"] == ("TRIAL", "strong")
    assert row.cells["model"][0] == "bearing trial 3:12"
    assert word(TRIAL, grey(ascii=True))[0] == "TRIAL"


def test_what_is_worse_than_a_trial_is_shown_instead() -> None:
    alerts = VIEWS["press-07"].telemetry.alerts  # type: ignore[union-attr]
    assert state_of(changed("mill-11", alerts=alerts)) is ALARM
    assert state_of(changed("mill-13")) is OK


def test_trials_stand_above_what_is_well() -> None:
    board = survey(VIEWS, NOW_S, WALL_S)
    names = [s.view.name for s in order(board.nodes.values())]
    well = [name for name in names if state_of(board.nodes[name]) is OK]
    assert names.index("mill-11") < min(names.index(name) for name in well)


@pytest.mark.parametrize(("node", "said"), [("mill-11", "TRIAL 3:12"), ("mill-13", "OK"), ("press-07", "ALRM")])
def test_the_command_line_says_the_same(node: str, said: str) -> None:
    telemetry = VIEWS[node].telemetry
    assert isinstance(telemetry, Telemetry)
    status = VIEWS[node].status
    assert isinstance(status, Status)
    assert condition(msgspec.structs.replace(status, telemetry=telemetry)) == said
