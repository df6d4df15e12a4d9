"""Restarts, reboots, stopped processes and broken disks under a deployment, on a real node."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def refused(agent: Any, act: Any) -> str:
    with pytest.raises(agent.refusal) as raised:
        act()
    return str(raised.value.code)


@pytest.fixture
def node(make_agent: Any, workshop: Any) -> Any:
    """`press` 1.1 committed, 1.2 in its trial."""
    agent = make_agent().start()
    assert agent.commit(workshop.bundle(1), "d1")["state"] == "COMMITTED"
    assert agent.deploy(workshop.bundle(2), "d2")["state"] == "TRIAL"
    return agent


def deadline(agent: Any) -> tuple[int, int]:
    with agent.database() as connection:
        row = connection.execute("SELECT deadline_us, tries FROM deployments WHERE id = 'd2'").fetchone()
    connection.close()
    return int(row[0]), int(row[1])


def test_i3_an_agent_that_dies_resumes_its_trial_twice_with_the_same_deadline_and_then_goes_back(node: Any) -> None:
    """I3."""
    first, _ = deadline(node)
    for tries in (1, 2):
        node.kill(node.supervisor)
        node.eventually(lambda: deadline(node)[1], "the resume")
        node.eventually(lambda tries=tries: deadline(node) == (first, tries), "the same deadline")
        assert node.serving(2)
        assert node.show("d2")["state"] == "TRIAL"
    node.kill(node.supervisor)
    node.eventually(lambda: node.show("d2")["reason"] == "INTERRUPTED", "the third to be too often")
    assert node.serving(1)
    assert node.answer() == 1.0


def test_a_reboot_in_a_trial_is_an_interruption_and_the_old_revision_serves(node: Any) -> None:
    node.kill_all()
    node.start(OUTSTATION_BOOT_ID="another-boot")
    done = node.show("d2")
    assert (done["state"], done["reason"]) == ("ROLLED_BACK", "INTERRUPTED")
    assert node.serving(1)
    assert node.answer() == 1.0
    node.stop()
    node.start(OUTSTATION_BOOT_ID="another-boot")
    assert node.show("d2") == done
    assert node.serving(1)


def test_i3_a_supervisor_that_slept_past_the_deadline_refuses_the_confirm(make_agent: Any, workshop: Any) -> None:
    """The deadline is judged on waking, before anything else."""
    agent = make_agent().start()
    agent.commit(workshop.bundle(1), "d1")
    agent.deploy(workshop.bundle(2), "d2", window_s=5)
    agent.take_lease()
    stopped = [agent.launcher, agent.supervisor]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    agent.sleep_on_boottime(5.5)
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    assert refused(agent, lambda: agent.change("/deployments/d2/confirm")) == "DEPLOYMENT.ALREADY_ROLLED_BACK"
    assert agent.show("d2")["reason"] == "UNCONFIRMED"
    assert agent.serving(1)


def test_a_committed_bundle_comes_back_after_a_stop_with_its_hold(make_agent: Any, workshop: Any) -> None:
    agent = make_agent().start()
    agent.commit(workshop.bundle(3), "d1")
    agent.post("/hold", {"reason": "smoke"})
    cursor = agent.get("/logs?limit=1")["next"]
    agent.stop()
    agent.start()
    assert agent.serving(1)
    assert agent.answer() == 3.0
    assert agent.get("/status")["telemetry"]["hold"]["reason"] == "smoke"
    later = agent.get(f"/logs?after={cursor}&limit=1000")
    assert later["lines"]
    assert later["lost"] == 0
    assert all(line["cursor"] > cursor for line in later["lines"])


def test_a_first_deployment_that_goes_back_is_stopped(make_agent: Any, workshop: Any) -> None:
    agent = make_agent().start()
    agent.deploy(workshop.bundle(1), "d1")
    assert agent.change("/deployments/d1/rollback")["reason"] == "REVERTED"
    assert refused(agent, agent.answer) in ("MODEL.UNKNOWN", "MODEL.UNAVAILABLE", "?")
    agent.stop()
    agent.start()
    assert agent.bundle() is None or agent.bundle()["state"] == "stopped"


def test_i1_a_damaged_blob_is_found_at_start_and_the_earlier_revision_serves(make_agent: Any, workshop: Any) -> None:
    agent = make_agent().start()
    agent.commit(workshop.bundle(1), "d1")
    agent.commit(workshop.bundle(2), "d2")
    agent.stop()
    model = max((agent.state / "blobs" / "sha256").glob("*/*"), key=lambda path: b"factor" in path.read_bytes())
    models = [path for path in (agent.state / "blobs" / "sha256").glob("*/*") if b"multiply" in path.read_bytes()]
    assert model in models
    damaged = next(path for path in models if b"\x00\x00\x00\x40" in path.read_bytes())
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes().replace(b"\x00\x00\x00\x40", b"\x00\x00\x20\x41"))
    agent.start()
    assert agent.serving(1)
    assert agent.answer() == 1.0
    codes = agent.eventually(lambda: [alert["code"] for alert in agent.get("/alerts")], "the alert")
    assert codes == ["BLOB.DAMAGED"]


def test_a_damaged_database_leaves_a_node_that_serves_what_was_good(make_agent: Any, workshop: Any) -> None:
    agent = make_agent().start()
    agent.commit(workshop.bundle(4), "d1")
    agent.stop()
    for path in agent.state.glob("node.db*"):
        path.write_bytes(b"\xde\xad" * 8_192)
    agent.start()
    status = agent.get("/status")
    assert (status["node_id"], status["telemetry"]["mode"]) == (agent.node_id, "safe")
    assert agent.serving(1)
    assert agent.answer() == 4.0
    assert refused(agent, agent.take_lease) == "NODE.SAFE"
    assert refused(agent, lambda: agent.get("/deployments")) == "NODE.SAFE"
    assert agent.post("/hold", {"reason": "unsure"})["reason"] == "unsure"
    assert [check["verdict"] for check in agent.get("/checks") if check["name"] == "database"] == ["bad"]
    assert (agent.state / "quarantine" / "node.db").exists()


def test_access_monitor_refuses_every_write_but_a_hold(make_agent: Any) -> None:
    agent = make_agent()
    toml = (agent.state / "node.toml").read_text().replace("[node]", '[node]\naccess = "monitor"')
    (agent.state / "node.toml").write_text(toml)
    agent.start()
    assert agent.get("/status")["access"] == "monitor"
    assert refused(agent, agent.take_lease) == "ACCESS.MONITOR_ONLY"
    assert agent.post("/hold", {"reason": "smoke"})["reason"] == "smoke"
    far = "OUTSTATION-AS alice operate\n"
    assert refused(agent, lambda: agent.post("/hold/release", preface=far)) == "ACCESS.MONITOR_ONLY"
    assert agent.post("/hold/release")["telemetry"]["hold"] is None


def test_without_signers_every_deployment_is_refused(make_agent: Any, workshop: Any) -> None:
    agent = make_agent()
    (agent.state / "allowed_signers").write_text("")
    agent.start()
    assert agent.get("/status")["signers"] == 0
    assert refused(agent, lambda: agent.stage(workshop.bundle(1), "d1")) == "TRUST.NO_SIGNERS"


@pytest.fixture
def small_disk(make_agent: Any, tmp_path: Path) -> Iterator[Any]:
    """A node whose state folder is a disk of its own, 48 MB."""
    agent = make_agent(toml="[disk]\nbytes_free_min = 4194304\nballast_bytes = 2097152\n")
    disk = agent.state.parent / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(disk)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.fail("NOT RUN: this machine may not mount a tmpfs, which this test needs")
    moved = disk / "n"
    subprocess.run(["cp", "-a", str(agent.state), str(moved)], check=True)
    agent.state = moved
    try:
        yield agent.start()
    finally:
        agent.stop()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes every byte there is."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    return path


def test_i9_a_full_disk_serves_refuses_deployments_and_still_goes_back(small_disk: Any, workshop: Any) -> None:
    """I9: without a free byte SQLite cannot even open; the ballast makes room for the row that goes back."""
    agent = small_disk
    agent.commit(workshop.bundle(1), "d1")
    agent.eventually(lambda: (agent.state / "ballast").exists(), "the ballast")
    agent.deploy(workshop.bundle(2), "d2")
    agent.kill_all()
    for path in agent.state.glob("node.db-shm"):
        path.unlink()
    filler = fill(agent.state)
    agent.start(OUTSTATION_BOOT_ID="another-boot")
    assert agent.show("d2")["reason"] == "INTERRUPTED"
    assert not (agent.state / "ballast").exists()
    assert agent.serving(1)
    assert agent.answer() == 1.0
    code = refused(agent, lambda: agent.stage(workshop.bundle(3), "d3"))
    assert code == "DEPLOYMENT.DISK_FULL"
    filler.unlink()
    agent.eventually(lambda: agent.stage(workshop.bundle(3), "d3")["state"] == "STAGED", "room again")
