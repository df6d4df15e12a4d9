"""Three waves over the demo's plant: real agents, real SSH, the real command line; its console killed in the middle."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from console.demo.aside import aside
from console.demo.plan import BARE, UNPLUGGED_NODE
from console.demo.running import running_demo
from console.fleet.fleet import LiveFleet
from console.home import Home, address_of
from console.link.ready import make_pool
from console.rollout.report import Report
from console.seat.live import LiveOperations
from console.seat.prompts import Nobody
from store.rollouts import Rollouts

ROOT = Path(__file__).parents[2]
WAIT_S = 120.0
pytestmark = pytest.mark.timeout(300)
POLICY = f"""
name = "pumps"
[select]
nodes = ["pump-*"]
exclude = ["{UNPLUGGED_NODE}", "{BARE.name}"]
[waves]
canary = ["pump-01"]
steps = [2, 3]
soak = "2s"
[trial]
window = "40s"
soak = "2s"
[failures]
unreachable = "20s"
[gate]
predictions_min = 1
latency_ms_p95_ratio_max = 100.0
rate_ratio_min = 0.1
quality_share_drop_max = 1.0
rejects_share_rise_max = 1.0
[recorder]
rows = 200
rows_min = 10
agreement_min = 0.1
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = ROOT / "build" / f"r{tmp_path_factory.mktemp('rollout').name[-4:]}"
    shutil.rmtree(folder, ignore_errors=True)
    with aside(running_demo(folder, print)) as found:
        yield found


def outstation(home: Path, *words: str) -> tuple[int, Any, str]:
    """One verb with --json: exit code, answer, what was told."""
    command = [sys.executable, "-m", "console", "--home", str(home), "--operator", "ada", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


@contextmanager
def carried_out(home: Path, id_: str) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "console",
        "--home",
        str(home),
        "--operator",
        "ada",
        "rollout",
        "start",
        id_,
        "--yes",
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until_in_trial(home: Path, id_: str, wave: int) -> str:
    """The node of that wave that is in its trial."""
    deadline_s = time.monotonic() + WAIT_S
    with Rollouts(home / "catalog.db") as rows:
        while time.monotonic() < deadline_s:
            found = [target.node for target in rows.targets(id_) if target.wave == wave and target.state == "trial"]
            if found:
                return found[0]
            time.sleep(0.05)
    raise AssertionError(f"no node of wave {wave} came into its trial")


def deployments(state: str, version: str = "2.0") -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(f"file:{state}/node.db?mode=ro", uri=True)) as connection:
        query = "SELECT id, version, state FROM deployments WHERE version = ?"
        return connection.execute(query, (version,)).fetchall()


async def carried_out_by_the_app(home: Home, id_: str) -> Report:
    """As the Rollouts screen does it: over the live operations, in OPERATE."""
    with home.open_catalog() as catalog:
        addresses = [address_of(row) for row in catalog.nodes()]
    fleet = LiveFleet(addresses, make_pool(home, Nobody()), operator="ada")
    operations = LiveOperations(fleet, home.catalog, operator="ada")
    try:
        await operations.enter_operate()
        found = await operations.order_rollout(id_, "go", on_step=lambda _: None)
        assert found is not None
        assert next(report.id for report in await operations.rollouts()) == id_
        return found
    finally:
        await fleet.aclose()
        operations.close()


def test_a_canary_that_the_node_refuses_stops_the_rollout_of_the_app_and_no_other_node_is_switched(
    demo: Any, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    code, made, told = outstation(demo.home.path, "rollout", "plan", str(policy), "pump-2.2")
    assert code == 0, told
    found = asyncio.run(carried_out_by_the_app(demo.home, made["id"]))
    assert (found.state, found.success, found.counts) == ("paused", False, {"failed": 1, "staged": 2})
    assert "wave 1 stopped at its gate: pump-01" in found.why
    assert [cause.nodes for cause in found.causes] == [("pump-01",)]
    nodes = {line["name"]: line["state"] for line in demo.plant.nodes}
    states = {name: [state for _, _, state in deployments(nodes[name], "2.2")] for name in ("pump-01", "pump-02")}
    assert states == {"pump-01": ["REFUSED"], "pump-02": ["STAGED"]}
    code, ended, told = outstation(demo.home.path, "rollout", "abort", made["id"], "--keep", "--yes")
    assert code == 0, told
    assert (ended["state"], ended["counts"]) == ("aborted", {"failed": 1, "skipped": 2})
    assert [state for _, _, state in deployments(nodes["pump-02"], "2.2")] == ["REFUSED"]


def test_a_rollout_whose_console_is_killed_in_its_second_wave_is_finished_by_the_next(
    demo: Any, tmp_path: Path
) -> None:
    home, policy = demo.home.path, tmp_path / "policy.toml"
    policy.write_text(POLICY)
    code, made, told = outstation(home, "rollout", "plan", str(policy), "pump-2.0")
    assert code == 0, told
    assert [wave["nodes"] for wave in made["plan"]["waves"]] == [["pump-01"], ["pump-02"], ["pump-03"]]
    assert [(out["name"], out["reason"]) for out in made["plan"]["left_out"]] == [
        (name, "the policy excludes it") for name in (UNPLUGGED_NODE, BARE.name)
    ]
    with carried_out(home, made["id"]) as process:
        node = until_in_trial(home, made["id"], 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert node == "pump-02"
    _, shown, _ = outstation(home, "rollout", "show", made["id"])
    assert (shown["state"], shown["success"], shown["orphan"]) == ("running", False, True)
    code, ended, told = outstation(home, "rollout", "resume", made["id"], "--yes")
    assert code == 0, told + json.dumps(ended, indent=2)
    assert (ended["state"], ended["counts"]) == ("done", {"ok": 3})
    assert [wave["verdict"]["says"] for wave in ended["waves"]] == ["pass"] * 3
    told = [node for wave in ended["waves"] for node in wave["nodes"]]
    assert [node["gate"]["verdict"] for node in told] == ["passed"] * 3
    nodes = {line["name"]: line["state"] for line in demo.plant.nodes}
    for name in ("pump-01", "pump-02", "pump-03"):
        assert [state for _, _, state in deployments(nodes[name])] == ["COMMITTED"], name
    with Rollouts(home / "catalog.db") as rows:
        asked = [(op.node, op.op, op.outcome) for op in reversed(rows.operations(made["id"]))]
    assert [row[:2] for row in asked if row[1] == "activate"] == [(f"pump-0{n}", "activate") for n in (1, 2, 3)]
    assert all(outcome for _, _, outcome in asked)
