"""Deployments on a real node: launcher, supervisor, intake and workers as on a plant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


def refused(agent: Any, act: Any) -> str:
    """The code with which the agent refuses."""
    with pytest.raises(agent.refusal) as raised:
        act()
    return str(raised.value.code)


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any) -> Any:
    """One node for the tests of this file that leave it as they found it: `press` 1.5 committed."""
    agent = make_agents().start()
    assert agent.commit(workshop.bundle(5), "base")["state"] == "COMMITTED"
    return agent


def test_a_signed_bundle_is_staged_tried_confirmed_and_serves(node: Any) -> None:
    done = node.show("base")
    assert (done["state"], done["revision"], done["reachability"]) == ("COMMITTED", 1, "claimed")
    assert node.answer() == 5.0
    assert node.change("/deployments/base/confirm") == done
    assert [row["active"] for row in node.get("/revisions")][-1]


def test_a_trial_serves_the_new_revision_and_a_rollback_the_old_one(node: Any, workshop: Any) -> None:
    trial = node.deploy(workshop.bundle(6), "d6")
    assert (trial["state"], trial["switch_gap_ms"] is not None) == ("TRIAL", True)
    assert 55 < trial["seconds_left"] <= 60
    assert node.answer() == 6.0
    assert node.bundle()["trial"]["deployment"] == "d6"
    back = node.change("/deployments/d6/rollback", {"reason": "too warm"})
    assert (back["state"], back["reason"]) == ("ROLLED_BACK", "REVERTED")
    assert node.answer() == 5.0
    assert node.change("/deployments/d6/rollback") == back
    assert refused(node, lambda: node.change("/deployments/d6/confirm")) == "DEPLOYMENT.ALREADY_ROLLED_BACK"


def test_i3_an_unconfirmed_trial_goes_back_by_itself_and_says_so(node: Any, workshop: Any, eventually: Any) -> None:
    """I3."""
    trial = node.deploy(workshop.bundle(7), "d7", window_s=5)
    eventually(lambda: node.show("d7")["state"] == "ROLLED_BACK", "the trial to end")
    assert node.show("d7")["reason"] == "UNCONFIRMED"
    assert node.serving(trial["previous_revision"])
    assert node.answer() == 5.0
    alert = eventually(
        lambda: next((alert for alert in node.get("/alerts") if alert["code"] == "TRIAL.ROLLED_BACK"), None),
        "its alert",
    )
    seen = node.post(f"/alerts/{alert['id']}/acknowledge", {"note": "known"})
    assert (seen["state"], bool(seen["acknowledged_by"])) == ("cleared", True)


def test_an_extended_trial_has_a_new_window(node: Any, workshop: Any) -> None:
    node.deploy(workshop.bundle(8), "d8", window_s=20)
    longer = node.change("/deployments/d8/extend", {"window_s": 300})
    assert longer["seconds_left"] > 200
    assert node.change("/deployments/d8/rollback")["state"] == "ROLLED_BACK"


def test_one_trial_at_a_time(node: Any, workshop: Any) -> None:
    node.deploy(workshop.bundle(9), "d9")
    assert node.stage(workshop.bundle(10, name="other"), "d10")["state"] == "STAGED"
    assert refused(node, lambda: node.change("/deployments/d10/preflight")) == "DEPLOYMENT.TRIAL_RUNNING"
    node.change("/deployments/d9/rollback")
    assert node.change("/deployments/d10/rollback")["state"] == "REFUSED"


def test_a_model_that_misses_its_golden_vectors_is_refused_and_the_old_one_serves(node: Any, workshop: Any) -> None:
    assert node.stage(workshop.bundle(11, golden=3.0), "d11")["state"] == "STAGED"
    done = node.change("/deployments/d11/preflight")
    assert done["state"] == "REFUSED"
    assert done["error"]["owner"] == "bundle"
    assert node.answer() == 5.0


def test_an_older_bundle_is_refused_and_leaves_no_row(node: Any, workshop: Any) -> None:
    old = workshop.bundle(4)
    assert refused(node, lambda: node.stage(old, "d4")) == "TRUST.ROLLBACK"
    far = workshop.bundle(12, sequence=20_000)
    assert refused(node, lambda: node.stage(far, "d12")) == "TRUST.FAST_FORWARD"
    ids = {row["id"] for row in node.get("/deployments")["deployments"]}
    assert ids.isdisjoint({"d4", "d12"})


def test_a_bundle_of_a_stranger_is_refused_before_its_model_is_read(node: Any, workshop: Any, tmp_path: Path) -> None:
    """I17."""
    key = tmp_path / "key"
    key.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    assert refused(node, lambda: node.stage(workshop.bundle(13, key=key), "d13")) == "TRUST.SIGNATURE"


def test_a_bundle_for_another_node_is_refused(node: Any, workshop: Any) -> None:
    elsewhere = workshop.bundle(14, target={"node_id": "node-0"})
    assert refused(node, lambda: node.stage(elsewhere, "d14")) == "TRUST.WRONG_NODE"


def test_a_blob_with_other_content_is_thrown_away(node: Any) -> None:
    digest = "sha256:" + "0" * 64
    assert refused(node, lambda: node.put(digest, b"something")) == "BLOB.MISMATCH"
    found = node.get(f"/blobs/{digest}")
    assert (found["digest"], found["received_bytes"], found["complete"]) == (digest, 0, False)


def test_an_upload_goes_on_at_its_byte(node: Any, digest_of: Any) -> None:
    data = bytes(range(256)) * 9_000
    digest = digest_of(data)
    assert node.put(digest, data[:1_000_000], total=len(data))["received_bytes"] == 1_000_000
    assert refused(node, lambda: node.put(digest, data[5:], offset=2_000_000, total=len(data))) == "REQUEST.MALFORMED"
    late = data[2_000_000:]
    assert refused(node, lambda: node.put(digest, late, offset=2_000_000, total=len(data))) == "BLOB.OFFSET"
    done = node.put(digest, data[900_000:], offset=900_000, total=len(data))
    assert (done["digest"], done["received_bytes"], done["complete"]) == (digest, len(data), True)


def test_i11_a_fenced_console_changes_nothing(node: Any, workshop: Any) -> None:
    """I11."""
    node.lease = None
    node.stage(workshop.bundle(15), "d15")
    old = node.lease
    assert refused(node, lambda: node.post("/lease", {"holder": "bob"})) == "LEASE.HELD"
    token = node.post("/lease", {"holder": "bob", "break_held": True})["token"]
    assert token > old
    for verb in ("preflight", "activate", "rollback"):
        act = {"lease": old}
        code = refused(node, lambda verb=verb, act=act: node.post(f"/deployments/d15/{verb}", act))
        assert code == ("LEASE.FENCED" if verb != "activate" else "DEPLOYMENT.STATE")
    assert node.show("d15")["state"] == "STAGED"
    node.lease = token
    assert node.change("/deployments/d15/rollback")["state"] == "REFUSED"


def test_a_worker_that_dies_twice_ends_its_trial(node: Any, workshop: Any, eventually: Any) -> None:
    before = {process.pid for process in node.workers}
    trial = node.deploy(workshop.bundle(16), "d16")
    for _ in range(2):
        new = [process for process in node.workers if process.pid not in before]
        eventually(lambda: node.bundle()["state"] == "serving", "the new worker")
        new = [process for process in node.workers if process.pid not in before]
        before |= {process.pid for process in new}
        node.kill(*new)
    eventually(lambda: node.show("d16")["state"] == "ROLLED_BACK", "the trial to end")
    done = node.show("d16")
    assert done["reason"] == "FAILED"
    assert "worker ended 2 times" in done["error"]["message"]
    assert node.serving(trial["previous_revision"])


def test_a_revert_activates_the_previous_bundle_below_the_floor(node: Any, workshop: Any) -> None:
    assert node.commit(workshop.bundle(20), "d20")["state"] == "COMMITTED"
    assert node.answer() == 20.0
    trial = node.change("/bundles/press/revert", {"id": "r1", "window_s": 60})
    assert (trial["state"], trial["version"]) == ("TRIAL", "1.5")
    assert node.answer() == 5.0
    assert node.change("/deployments/r1/confirm")["state"] == "COMMITTED"
    assert refused(node, lambda: node.stage(workshop.bundle(19), "d19")) == "TRUST.ROLLBACK"


def test_out_of_service_refuses_deployments_and_never_lifts_itself(node: Any, workshop: Any) -> None:
    node.post("/out-of-service", {"reason": "bearing change", "hours": 2})
    assert refused(node, lambda: node.stage(workshop.bundle(30), "d30")) == "DEPLOYMENT.OUT_OF_SERVICE"
    assert node.post("/out-of-service", {"reason": "done", "lift": True})["telemetry"]["out_of_service"] is None


def test_a_hold_needs_no_lease_and_stops_activations(node: Any, workshop: Any) -> None:
    node.stage(workshop.bundle(31), "d31")
    node.change("/deployments/d31/preflight")
    held = node.post("/hold", {"reason": "smoke"}, where="monitor.sock")
    assert held["reason"] == "smoke"
    assert refused(node, lambda: node.change("/deployments/d31/activate")) == "DEPLOYMENT.HOLD"
    assert refused(node, lambda: node.post("/hold/release", where="monitor.sock")) == "ACCESS.MONITOR_ONLY"
    assert node.post("/hold/release", {"reason": "no smoke"})["telemetry"]["hold"] is None
    assert node.change("/deployments/d31/rollback")["state"] == "REFUSED"


def test_unused_blobs_are_removed_and_kept_ones_stay(node: Any, workshop: Any, eventually: Any) -> None:
    node.stage(workshop.bundle(32), "d32")
    folder = node.state / "blobs" / "sha256"
    before = len(list(folder.glob("*/*")))
    node.change("/deployments/d32/rollback")
    eventually(lambda: len(list(folder.glob("*/*"))) < before, "the blobs of d32 to go")
    assert node.change("/bundles/press/revert", {"id": "r2", "window_s": 60})["state"] == "TRIAL"
    assert node.change("/deployments/r2/rollback")["state"] == "ROLLED_BACK"


def test_the_ledger_holds_it_all_and_its_chain_is_whole(node: Any) -> None:
    page = node.get("/ledger?limit=1000")
    actions = {entry["action"] for entry in page["entries"]}
    assert {
        "deployment.committed",
        "deployment.rolled_back",
        "hold.set",
        "lease.break",
        "out_of_service.lift",
    } <= actions
    assert [check for check in node.get("/checks") if check["verdict"] == "bad"] == []
