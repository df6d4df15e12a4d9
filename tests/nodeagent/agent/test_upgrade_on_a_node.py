"""Another version of the agent on trial: models go on, and without a confirm the version before is back by itself."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
OLD, NEW, BROKEN = "0.1.0-aaaaaaaaaaaa", "0.2.0-bbbbbbbbbbbb", "0.3.0-cccccccccccc"
# What a later agent does to the database: it only adds.
STEP = '\nSTEPS["9000_later"] = "CREATE TABLE later (a INTEGER);"\n'


def put(folder: Path, version: str, *, later: bool = False, supervisor: str = "") -> None:
    """A version as bootstrap leaves it: its packages, its interpreter's name, its own number."""
    site = folder / version / "site"
    for package in ("nodeagent", "store"):
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    (site / f"outstation-{version.partition('-')[0]}.dist-info").mkdir()
    (folder / version / "installed.json").write_text(json.dumps({"version": version, "python": sys.executable}))
    if later:
        with (site / "store/node/schema.py").open("a") as file:
            file.write(STEP)
    if supervisor:
        (site / "nodeagent/supervisor.py").write_text(supervisor)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix") / "versions"
    put(folder, OLD)
    put(folder, NEW, later=True)
    put(folder, BROKEN, supervisor="raise SystemExit('no such library')")
    return folder


@pytest.fixture(scope="module")
def node(make_agents: Any, versions: Path, workshop: Any) -> Any:
    """A node that runs the old version, with a model that answers; each test but the last leaves it so."""
    agent = make_agents()
    agent.program = [sys.executable, "-P"]
    own = {"PYTHONPATH": str(versions / OLD / "site"), "PYTHONSAFEPATH": "1"}
    agent.environment = own
    agent.start()
    assert agent.commit(workshop.bundle(2), "base")["state"] == "COMMITTED"
    return agent


def version(agent: Any) -> str:
    return str(agent.get("/status")["agent_version"])


def runs(agent: Any, wanted: str) -> None:
    agent.eventually(lambda: version(agent) == wanted, f"agent {wanted}; {agent.words()}")


def told(agent: Any) -> list[tuple[str, str]]:
    """What the ledger says of the agent's own versions."""
    entries = agent.get("/ledger?after=0&limit=1000")["entries"]
    own = [entry for entry in entries if entry["action"].startswith("agent.")]
    return [(entry["action"], entry["detail"].get("reason", "")) for entry in own]


def says(agent: Any) -> float:
    """What the model answers on its own socket, where no supervisor is in between."""
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
    return float(agent.ask("POST", "/v2/models/press/infer", request, where="m-press.sock")["outputs"][0]["data"][0])


def upgrade(agent: Any, wanted: str, id_: str, window_s: float = 60.0) -> Any:
    return agent.change("/upgrade", {"id": id_, "version": wanted, "window_s": window_s})


def test_without_a_confirm_the_version_before_is_back_and_opens_the_same_database(node: Any) -> None:
    workers = [worker.pid for worker in node.workers]
    upgrade(node, NEW, "u1", window_s=5.0)
    runs(node, "0.2.0")
    assert node.database().execute("SELECT count(*) FROM later").fetchone() == (0,)
    runs(node, "0.1.0")
    shown = node.get("/upgrade")
    assert (shown["phase"], shown["reason"], shown["running"]) == ("rolled_back", "UNCONFIRMED", OLD)
    assert told(node)[-2:] == [("agent.upgrade", ""), ("agent.rollback", "UNCONFIRMED")]
    assert [worker.pid for worker in node.workers] == workers
    with pytest.raises(node.refusal) as raised:
        node.change("/upgrade/confirm", {"id": "u1"})
    assert raised.value.code == "UPGRADE.ENDED"


def test_a_launcher_that_dies_in_the_trial_comes_back_with_the_version_before(node: Any) -> None:
    upgrade(node, NEW, "u2")
    runs(node, "0.2.0")
    node.kill_all()
    node.start()
    runs(node, "0.1.0")
    assert told(node)[-1] == ("agent.rollback", "INTERRUPTED")
    assert node.eventually(lambda: says(node) == 2.0, "the model to answer")


def test_a_version_that_does_not_come_up_is_given_up_before_its_time(node: Any) -> None:
    upgrade(node, BROKEN, "u3", window_s=600.0)
    node.eventually(lambda: node.get("/upgrade")["phase"] == "rolled_back", node.words())
    shown = node.get("/upgrade")
    assert (shown["reason"], shown["running"]) == ("FAILED", OLD)
    assert says(node) == 2.0


def test_a_person_takes_the_version_before_and_what_is_not_there_is_refused(node: Any) -> None:
    for wanted in ("0.9.9-dddddddddddd", OLD, "../../etc"):
        with pytest.raises(node.refusal) as raised:
            upgrade(node, wanted, "u4")
        assert raised.value.code == "UPGRADE.NOT_INSTALLED"
    upgrade(node, NEW, "u4")
    runs(node, "0.2.0")
    node.change("/upgrade/rollback", {"id": "u4"})
    runs(node, "0.1.0")
    assert told(node)[-1] == ("agent.rollback", "REVERTED")


def test_a_confirmed_version_stays_over_restarts_and_the_models_never_stopped(node: Any) -> None:
    workers = [worker.pid for worker in node.workers]
    begun = upgrade(node, NEW, "u5")
    assert (begun["phase"], begun["previous"]) == ("trial", OLD)
    assert says(node) == 2.0
    runs(node, "0.2.0")
    assert upgrade(node, NEW, "u5")["phase"] == "trial"
    with pytest.raises(node.refusal) as raised:
        node.change("/bindings", {"base_revision": 0, "set": {}}, "PUT")
    assert raised.value.code == "UPGRADE.RUNNING"
    done = node.change("/upgrade/confirm", {"id": "u5"})
    assert (done["phase"], done["running"]) == ("committed", NEW)
    assert node.change("/upgrade/confirm", {"id": "u5"})["phase"] == "committed"
    assert [worker.pid for worker in node.workers] == workers
    assert says(node) == 2.0
    node.kill(node.supervisor)
    runs(node, "0.2.0")
    assert told(node)[-3:] == [("agent.upgrade", ""), ("agent.confirm", ""), ("agent.commit", "")]
    node.kill_all()
    node.start()
    runs(node, "0.2.0")
    with pytest.raises(node.refusal) as raised:
        node.change("/upgrade/rollback", {"id": "u5"})
    assert raised.value.code == "UPGRADE.ENDED"
