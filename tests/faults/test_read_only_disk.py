"""A node whose disk stops taking writes while it runs, as ext4 does to itself after an error of the disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from nodeagent.protocol import TRIAL_WINDOW_S_MIN
from tests.faults import mounts

TOML = "[disk]\nbytes_free_min = 4194304\nballast_bytes = 2097152\n"


class Failing:
    """A node in its trial, its state on a file system of its own."""

    def __init__(self, agent: Any, mount: mounts.Mount) -> None:
        self.agent, self.mount = agent, mount

    def fail(self) -> None:
        """What an error of the disk leads to: from here on the file system only reads."""
        subprocess.run(["mount", "-o", "remount,abort", self.mount.at], check=True, capture_output=True)
        with pytest.raises(OSError, match="Read-only"):
            (self.mount.at / "written").touch()

    def repair(self) -> None:
        """The node is taken down, its disk mounted anew, the node started."""
        self.agent.kill_all()
        self.mount.power_on()
        self.agent.start()


@pytest.fixture
def node(make_agents: Any, workshop: Any) -> Iterator[Failing]:
    """`press` 1.1 committed, 1.2 in the shortest trial there is."""
    agent = make_agents(toml=TOML)
    kept = agent.state
    try:
        with mounts.Mount(kept.parent, "ext4") as mount:
            agent.state = mount.at / "n"
            subprocess.run(["cp", "-a", kept, agent.state], check=True)
            mount.sync()
            try:
                agent.start().commit(workshop.bundle(1), "d1")
                agent.deploy(workshop.bundle(2), "d2", TRIAL_WINDOW_S_MIN)
                yield Failing(agent, mount)
            finally:
                agent.stop()
                agent.state = kept
    except mounts.NotRun as error:
        pytest.fail(f"NOT RUN: a disk that becomes read-only: {error}")


def refused(node: Failing, path: str, body: dict[str, Any] | None = None) -> str:
    with pytest.raises(node.agent.refusal) as raised:
        node.agent.change(path, body)
    return str(raised.value)


def test_i3_i9_a_disk_that_becomes_read_only_serves_refuses_deployments_and_its_trial_still_goes_back(
    node: Failing,
) -> None:
    agent = node.agent
    workers = {worker.pid for worker in agent.workers}
    node.fail()
    assert agent.answer() == 2.0
    for path in ("/deployments", "/deployments/d2/confirm", "/deployments/d2/rollback"):
        said = refused(node, path)
        assert "DEPLOYMENT.READ_ONLY" in said
        assert "read-only" in said
    agent.eventually(lambda: agent.answer() == 1.0, "the way back at the deadline")
    assert {worker.pid for worker in agent.workers} <= workers
    lines = agent.get("/logs?level=error")["lines"]
    assert any("deadline passed, and the row cannot be written" in line["text"] for line in lines)
    supervisor = agent.supervisor.pid
    agent.sleep_on_boottime(3.0)  # past the time after which the launcher takes a supervisor for stuck
    assert (agent.supervisor.pid, agent.answer()) == (supervisor, 1.0)
    node.repair()
    assert (agent.show("d2")["state"], agent.show("d2")["reason"]) == ("ROLLED_BACK", "UNCONFIRMED")
    assert agent.serving(1)
