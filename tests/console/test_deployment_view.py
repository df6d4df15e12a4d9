"""One deployment, whole."""

from __future__ import annotations

import msgspec
import pytest

from console.delivery.gate import GateOrder
from console.sample.verdict import sample_verdict
from console.screens.deployment import deployment_lines
from nodeagent.protocol import Deployment, DeploymentState, Error, RollbackReason

GATE = msgspec.to_builtins(sample_verdict("3.0", GateOrder()))
LONG = "p95 of the candidate was 41.2 ms over 5,000 sweeps and the guard of this node allows 20 ms at the most; " * 3
DONE = Deployment(
    id="dep-1", bundle="bearing", version="2.1", digest="sha256:" + "7" * 64, state=DeploymentState.ROLLED_BACK,
    reason=RollbackReason.FAILED,
    error=Error(code="DEPLOYMENT.GUARD", message=LONG, hint="look at the log", owner="bundle"),
    revision=15, previous_revision=14, actor="bob", ended_by="node", created_us=1_773_324_000_000_000,
    changed_us=1_773_324_300_000_000, preflight={"seconds": 3.25, "gate": GATE},
)  # fmt: skip


def text(deployment: Deployment, width: int) -> str:
    return "\n".join("".join(part for part, _ in line) for line in deployment_lines(deployment, width))


@pytest.mark.parametrize("width", [40, 80, 140])
def test_nothing_of_it_is_cut(width: int) -> None:
    shown = text(DONE, width)
    assert all(len(line) <= width for line in shown.splitlines())
    words = " ".join(shown.split())
    assert " ".join(LONG.split()) in words
    assert "DEPLOYMENT.GUARD" in words
    assert "look at the log" in words
    assert "".join(shown.split()).count("7" * 64) == 1


def test_it_names_who_deployed_and_who_ended_it_and_every_row_of_the_gate() -> None:
    shown = text(DONE, 100)
    assert "deployed by bob" in shown
    assert "by node" in shown
    assert "ROLLED BACK FAILED" in shown
    assert "recorder gate: failed" in shown
    assert shown.count("ok > alarm") == len(GATE["worst"])


def test_what_was_not_asked_or_not_made_is_said() -> None:
    bare = msgspec.structs.replace(DONE, state=DeploymentState.REFUSED, reason=None, revision=None, preflight={})
    shown = text(bare, 100)
    assert "recorder gate: it was not asked" in shown
    assert "none was made; before it r14" in shown
    assert "no switch was made" in shown
