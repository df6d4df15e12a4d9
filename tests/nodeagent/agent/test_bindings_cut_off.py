"""A change of bindings that a kill cuts off: the revision and its trials are there together or not at all."""

from __future__ import annotations

import contextlib
import http.client
import threading
from pathlib import Path
from typing import Any

import pytest

PIPELINE = """
schema = 1
name = "NAME"
asset = "hall/NAME"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
seed = "${seed}"
poll = "50ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1000.0
[[sink]]
type = "record"
"""


@pytest.fixture(scope="module")
def crash_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crash") / "at"


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any, crash_at: Path) -> Any:
    """`press` and `lathe`, both of them bound to one seed."""
    agent = make_agents()
    agent.environment["OUTSTATION_CRASH_AT"] = str(crash_at)
    (agent.state / "bindings.toml").write_text("seed = 7\n")
    agent.start()
    agent.eventually(lambda: agent.get("/bindings")["revision"] == 1, "the bindings to be taken in")
    for name in ("press", "lathe"):
        bundle = workshop.bundle(2, name=name, pipeline=PIPELINE.replace("NAME", name))
        assert agent.commit(bundle, f"base-{name}")["state"] == "COMMITTED"
    return agent


def bind(node: Any, seed: int) -> Any:
    base = node.get("/bindings")["revision"]
    return node.change("/bindings", {"base_revision": base, "set": {"seed": seed}, "window_s": 60}, "PUT")


def killed_at(node: Any, crash_at: Path, point: str, seed: int) -> None:
    """Binds, and the supervisor is killed at `point` and comes back."""

    def asks() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            bind(node, seed)

    crash_at.write_text(point)
    console = threading.Thread(target=asks)
    console.start()
    hit = crash_at.with_name("at.hit")
    node.eventually(hit.exists, f"{point} to be reached")
    hit.unlink()
    restarted(node)
    console.join()


def restarted(node: Any) -> None:
    before = node.supervisor
    node.kill(before)
    node.eventually(lambda: node.supervisor.pid != before.pid and node.get("/status"), "a new supervisor")


def in_use(node: Any) -> dict[str, int]:
    """By bundle, the binding revision that it runs with."""
    return {row["bundle"]: row["binding_revision"] for row in node.get("/revisions") if row["active"]}


@pytest.mark.parametrize(("point", "changes"), [("before:BOUND", 0), ("after:BOUND", 2)])
def test_a_kill_around_the_change_leaves_the_old_bindings_and_no_half_of_it(
    node: Any, crash_at: Path, point: str, changes: int
) -> None:
    before, runs = node.get("/bindings"), in_use(node)
    killed_at(node, crash_at, point, seed=8)
    now = node.get("/bindings")
    assert (now["values"], now["revision"]) == (before["values"], before["revision"] + changes)
    tries = [node.show(f"bind-{before['revision'] + 1}-{name}")["state"] for name in runs if changes]
    assert tries == ["REFUSED"] * changes
    assert in_use(node) == runs
    text = f"# Revision {now['revision']}."
    node.eventually(lambda: (node.state / "bindings.toml").read_text().startswith(text), "bindings.toml to be current")
    assert [alert for alert in node.get("/alerts") if alert["code"] == "BINDINGS.EDITED"] == []


def test_a_trial_that_goes_back_after_a_restart_takes_the_bindings_back_too(node: Any) -> None:
    before = node.get("/bindings")
    first, second = bind(node, 9)["deployments"]
    restarted(node)
    assert node.show(second)["state"] == "REFUSED"
    assert node.show(first)["state"] == "TRIAL"
    node.change(f"/deployments/{first}/rollback")
    node.eventually(lambda: node.get("/bindings")["values"] == before["values"], "the bindings to go back")


def test_a_bundle_whose_trial_a_restart_took_is_tried_when_the_same_is_bound_again(node: Any) -> None:
    answer = bind(node, 11)
    first, second = answer["deployments"]
    restarted(node)
    assert node.change(f"/deployments/{first}/confirm")["state"] == "COMMITTED"
    assert node.get("/bindings")["values"]["seed"] == 11
    (again,) = bind(node, 11)["deployments"]
    assert node.show(again)["bundle"] == node.show(second)["bundle"]
    assert node.change(f"/deployments/{again}/confirm")["state"] == "COMMITTED"
    assert bind(node, 11)["deployments"] == []
