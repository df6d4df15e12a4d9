"""What a person reads of a link that failed and of a trial that ended."""

from __future__ import annotations

import msgspec
import pytest

from console.fleet.board import survey
from console.fleet.view import LinkState
from console.fleet.watch import explain
from console.link.errors import ChannelRefused
from console.sample.plant import NOW_S, WALL_S, plant
from console.screens.panes import DeploymentsPane
from console.screens.watch import outcome
from nodeagent.protocol import Deployment, DeploymentState, Error, RollbackReason
from widgets.look import LOOKS

REFUSED = "channel refused: [Errno 111] Connect call failed "


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (f"{REFUSED}('127.0.0.1', 38153)", "connection refused by 127.0.0.1:38153"),
        (f"{REFUSED}('::1', 38153, 0, 0)", "connection refused by [::1]:38153"),
        ("channel refused: administratively prohibited", "channel refused: administratively prohibited"),
    ],
)
def test_a_refused_connection_is_told_without_a_tuple_or_a_number_of_an_error(said: str, read: str) -> None:
    assert explain(ChannelRefused(LinkState.DOWN, "press-07", said)) == read


def test_a_trial_that_ended_says_why_and_what_runs_again() -> None:
    state = survey(plant(), NOW_S, WALL_S, {}).nodes["press-07"]
    runs = state.bundles[0]
    ended = Deployment(
        id="d",
        bundle=runs.bundle,
        version="9.9",
        digest="sha256:0",
        state=DeploymentState.ROLLED_BACK,
        reason=RollbackReason.FAILED,
        error=Error(code="x", message="50 errors in 50 predictions"),
        revision=runs.revision + 1,
        previous_revision=runs.revision,
    )
    back = f"{runs.bundle} {runs.version} r{runs.revision}"
    assert outcome(ended, state) == (
        f"{runs.bundle} 9.9 went back to {back}: {RollbackReason.FAILED.value}: 50 errors in 50 predictions"
    )
    assert outcome(None, state) == ""


def test_a_commit_names_who_confirmed_and_who_deployed() -> None:
    state = survey(plant(), NOW_S, WALL_S, {}).nodes["press-07"]
    done = Deployment(
        id="d", bundle="pump", version="2", digest="sha256:0", state=DeploymentState.COMMITTED, revision=3, actor="bob"
    )
    assert outcome(done, state) == "pump 2 r3 COMMITTED, deployed by bob"
    confirmed = msgspec.structs.replace(done, ended_by="carol")
    assert outcome(confirmed, state) == "pump 2 r3 COMMITTED by carol, deployed by bob"
    pane = DeploymentsPane(LOOKS["grey"]())
    pane.deployments = {"d": confirmed}
    cells = pane._deployment_row("d").cells
    assert (cells["state"][0], cells["actor"][0]) == ("COMMITTED by carol", "bob")


def test_the_history_of_a_node_says_the_reason_first_and_its_code_last() -> None:
    error = Error(code="golden_mismatch", message="3 of 8 outputs differ")
    pane = DeploymentsPane(LOOKS["grey"]())
    pane.deployments = {
        "d": Deployment(
            id="d", bundle="pump", version="2", digest="sha256:0", state=DeploymentState.REFUSED, error=error
        )
    }
    assert pane._deployment_row("d").cells["error"][0] == "3 of 8 outputs differ (golden_mismatch)"
