"""What a node answers: status, telemetry, logs, records, bindings, passport, rights. One node with a small pipeline."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from typing import Any

import pytest

from nodeagent.checks.all import NAMES

PIPELINE = """
schema = 1
name = "press"
asset = "hall/press"
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
deadband = 0.2
[[sink]]
type = "record"
keep_inputs = "all"
"""


def refused(agent: Any, act: Any) -> str:
    with pytest.raises(agent.refusal) as raised:
        act()
    return str(raised.value.code)


@pytest.fixture(scope="module")
def node(make_agents: Any, workshop: Any) -> Any:
    """`press` 1.2 with a simulated pump before it, bound by a bindings.toml that was written by hand."""
    agent = make_agents()
    (agent.state / "bindings.toml").write_text('seed = 7\nbroker = { user = "press", password = "hunter2" }\n')
    agent.start()
    agent.eventually(lambda: agent.get("/bindings")["revision"] == 1, "the bindings to be taken in")
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE), "base")["state"] == "COMMITTED"
    return agent


@pytest.fixture(scope="module")
def records(node: Any) -> Any:
    return node.eventually(lambda: _enough(node), "some records")


def _enough(node: Any) -> Any:
    page = node.get("/records?bundle=press&limit=50")
    return page["records"] if len(page["records"]) >= 20 else None


def test_status_names_the_node_and_the_caller(node: Any) -> None:
    status = node.get("/status")
    assert (status["node_id"], status["name"], status["signers"]) == (node.node_id, "press-07", 1)
    assert status["access"] == "operate"
    assert node.get("/status", where="monitor.sock")["access"] == "monitor"
    named = node.get("/status", preface="OUTSTATION-AS alice monitor\n")
    assert (named["actor"], named["access"]) == ("alice", "monitor")


def test_a_name_that_is_only_said_is_written_down_as_a_claim_beside_the_login(node: Any) -> None:
    login = pwd.getpwuid(os.getuid()).pw_name
    alice = {"X-Outstation-Operator": "alice"}
    assert node.get("/status", headers=alice)["actor"] == f"alice (claimed, {login})"
    assert node.get("/status", headers={"X-Outstation-Operator": login})["actor"] == login
    assert node.get("/status", headers=alice, preface="OUTSTATION-AS bob operate\n")["actor"] == "bob"
    for wrong in ("a b", "", "x" * 65, "alice, root"):
        headers = {"X-Outstation-Operator": wrong}
        assert refused(node, lambda headers=headers: node.get("/status", headers=headers)) == "REQUEST.MALFORMED"
    held = node.post("/hold", {"reason": "smoke"}, headers=alice, where="monitor.sock")
    assert held["by"] == f"alice (claimed, {login})"
    node.post("/hold/release", headers=alice)
    actors = {
        entry["actor"] for entry in node.get("/ledger?limit=1000")["entries"] if entry["action"].startswith("hold")
    }
    assert actors == {f"alice (claimed, {login})"}
    said = [line["text"] for line in node.get("/logs?source=order&limit=1000")["lines"]]
    assert f"hold by alice (claimed, {login})" in said
    assert f"hold/release by alice (claimed, {login})" in said


def test_a_role_that_is_said_lowers_the_sockets_and_never_raises_it(node: Any) -> None:
    low = {"X-Outstation-Role": "monitor"}
    assert node.get("/status", headers=low)["access"] == "monitor"
    lease = {"holder": "alice"}
    assert refused(node, lambda: node.post("/lease", lease, headers=low)) == "ACCESS.MONITOR_ONLY"
    raised = {"X-Outstation-Role": "operate"}
    at = "monitor.sock"
    assert refused(node, lambda: node.post("/lease", lease, headers=raised, where=at)) == "ACCESS.MONITOR_ONLY"
    wrong = {"X-Outstation-Role": "root"}
    assert refused(node, lambda: node.get("/status", headers=wrong)) == "REQUEST.MALFORMED"


def test_telemetry_comes_line_by_line_with_rising_cursors(node: Any) -> None:
    lines = node.stream("/telemetry", 3)
    assert [line["cursor"] for line in lines] == sorted({line["cursor"] for line in lines})
    bundle = lines[-1]["bundles"][0]
    assert (bundle["bundle"], bundle["state"], bundle["sources"][0]["id"]) == ("press", "serving", "pump")
    assert refused(node, lambda: node.get("/telemetry?period_s=0")) == "REQUEST.MALFORMED"
    first, run = lines[0]["cursor"], lines[0]["started_us"]
    again = node.stream(f"/telemetry?after={first}&started_us={run}", 2)
    assert again == lines[1:], "after a cursor the same lines come again, from the next one on"
    assert node.stream(f"/telemetry?after={first}&started_us={run + 1}", 1)[0]["cursor"] > first


def test_logs_go_on_after_a_cursor_and_can_be_narrowed(node: Any) -> None:
    page = node.get("/logs?limit=1000")
    assert any("committed" in line["text"] or "confirmed" in line["text"] for line in page["lines"])
    assert node.get(f"/logs?after={page['next']}&limit=5")["lines"] == []
    assert all("press" in line["text"] for line in node.get("/logs?search=press")["lines"])
    assert {line["level"] for line in node.get("/logs?level=error&after=0")["lines"]} <= {"error"}
    first = page["lines"][0]["cursor"]
    assert node.stream(f"/logs/stream?after={first}", 1)[0]["cursor"] > first
    assert refused(node, lambda: node.get("/logs?level=loud")) == "REQUEST.MALFORMED"


def test_records_come_in_pages_without_a_gap_or_a_double(node: Any, records: Any) -> None:
    """I4, as far as reading goes."""
    keys = [record["key"] for record in records]
    assert keys == sorted(set(keys))
    again = node.get(f"/records?bundle=press&after={keys[4]}&limit=5")
    assert [record["key"] for record in again["records"]] == keys[5:10]
    assert again["next"] == keys[9]
    newest = node.get("/records?bundle=press&limit=2&newest_first=true")["records"]
    assert newest[0]["key"] > newest[1]["key"]
    first = records[0]
    assert first["outputs"] == pytest.approx([2 * first["inputs"][0]], rel=1e-5)
    assert node.get("/records?bundle=ghost")["records"] == []
    assert refused(node, lambda: node.get("/records?bundle=../x")) == "REQUEST.MALFORMED"


def test_a_label_is_appended_once_and_shown(node: Any, records: Any) -> None:
    key = records[3]["key"]
    for _ in range(2):
        labelled = node.post(f"/records/{key}/label", {"bundle": "press", "label": "false alarm"}, where="monitor.sock")
        assert (labelled["key"], labelled["label"]) == (key, "false alarm")
    shown = node.get(f"/records?bundle=press&after={key - 1}&limit=1")["records"][0]
    assert shown["label"] == "false alarm"
    labels = [entry for entry in node.get("/ledger?limit=1000")["entries"] if entry["action"] == "record.label"]
    assert len(labels) == 1
    unknown = {"bundle": "press", "label": "x"}
    assert refused(node, lambda: node.post(f"/records/{key + 1}/label", unknown)) == "RECORD.UNKNOWN"


def test_the_tap_shows_what_passes(node: Any) -> None:
    sweep = node.stream("/tap/press", 1)[0]
    assert "vib" in sweep["names"]
    assert refused(node, lambda: node.get("/tap/ghost")) == "MODEL.UNKNOWN"


def test_metrics_are_open_metrics(node: Any) -> None:
    text = node.get("/metrics")
    assert text.endswith("# EOF\n")
    assert 'outstation_serving{bundle="press",model="press"} 1' in text


def test_trends_have_a_step_and_a_name(node: Any) -> None:
    trend = node.get("/trend?bundle=press")
    assert (trend["bundle"], trend["step_s"]) == ("press", 1.0)  # a young node: the finest steps reach as far
    assert node.get("/trend?hours=0.02")["step_s"] == 1.0
    assert refused(node, lambda: node.get("/trend?hours=x")) == "REQUEST.MALFORMED"
    assert refused(node, lambda: node.get("/trend?hours=745")) == "REQUEST.MALFORMED"


def test_a_young_node_tells_of_a_month_what_it_has_seen_and_says_which_limits_are_in_force(
    node: Any, records: Any
) -> None:
    assert records
    month = node.get("/trend?bundle=press&hours=720&points=10")
    assert 1 <= len(month["points"]) <= 11
    assert month["step_s"] < 60.0
    assert ("bundle.rejects_share", 0.5) in {(limit["figure"], limit["value"]) for limit in month["limits"]}


def test_a_passport_says_yes_and_names_what_is_missing(node: Any) -> None:
    facts = {
        "name": "other", "opsets": {"": 17}, "ir_version": 8, "operators": ["Gemm"],
        "peak_memory_bytes": 1 << 20, "bindings": ["seed", "plc"],
    }  # fmt: skip
    passport = node.post("/passport", {"facts": facts, "blob_sizes": {"sha256:" + "0" * 64: 1000}})
    assert not passport["fits"]
    no = [item for item in passport["items"] if item["verdict"] == "no"]
    assert [item["name"] for item in no] == ["bindings"]
    assert "plc" in no[0]["fix"]
    assert next(item["verdict"] for item in passport["items"] if item["name"] == "connections") == "warn"
    wrong = {"facts": {"opsets": 3}, "blob_sizes": {}}
    assert refused(node, lambda: node.post("/passport", wrong)) == "REQUEST.MALFORMED"


def test_every_check_answers(node: Any) -> None:
    found = node.get("/checks")
    assert [check["name"] for check in found] == [name for name in NAMES if name != "agent"]
    assert [check for check in found if check["verdict"] == "bad"] == []
    assert all(check["advice"] for check in found if check["verdict"] == "warn")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/hold", {"node_id": "node-0"}, "REQUEST.WRONG_NODE"),
        ("/hold", {"reason": 5}, "REQUEST.MALFORMED"),
        ("/hold", {"surprise": 1}, "REQUEST.MALFORMED"),
        ("/deployments/ghost/confirm", {}, "DEPLOYMENT.UNKNOWN"),
        ("/alerts/999999/acknowledge", {}, "ALERT.UNKNOWN"),
        ("/bundles/ghost/revert", {"id": "x"}, "DEPLOYMENT.NOTHING_BEFORE"),
        ("/nowhere", {}, "REQUEST.UNKNOWN_PATH"),
        ("/status", {}, "REQUEST.METHOD"),
    ],
)
def test_what_cannot_be_done_has_its_code(node: Any, path: str, body: dict[str, Any], code: str) -> None:
    leased = path.startswith(("/deployments", "/bundles"))
    assert refused(node, lambda: (node.change if leased else node.post)(path, body)) == code


def test_the_monitor_socket_and_a_monitor_login_change_nothing(node: Any) -> None:
    body = {"holder": "eve"}
    assert refused(node, lambda: node.post("/lease", body, where="monitor.sock")) == "ACCESS.MONITOR_ONLY"
    eve = "OUTSTATION-AS eve monitor\n"
    assert refused(node, lambda: node.post("/lease", body, preface=eve)) == "ACCESS.MONITOR_ONLY"
    assert refused(node, lambda: node.get("/status", preface="OUTSTATION-AS e v e monitor\n")) == "REQUEST.MALFORMED"


def test_bindings_show_no_secret_anywhere(node: Any) -> None:
    """A secret is in secrets.json and nowhere else."""
    shown = node.get("/bindings")
    assert shown["values"]["broker"] == {"user": "press", "password": "***"}
    node.change("/bindings", {"base_revision": shown["revision"], "set": {"spare": {"token": "hunter3"}}}, "PUT")
    for path in node.state.rglob("*"):
        if path.is_file() and path.name != "secrets.json":
            assert b"hunter" not in path.read_bytes(), path
    assert (node.state / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_changed_binding_goes_through_a_trial_of_the_bundles_that_use_it(node: Any) -> None:
    base = node.get("/bindings")["revision"]
    dry = node.change("/bindings", {"base_revision": base, "set": {"seed": 8}, "dry_run": True}, "PUT")
    assert dry.pop("digest").startswith("sha256:")
    assert dry == {"revision": base, "changes": {"seed": [7, 8]}, "deployments": []}
    stale = {"base_revision": base - 1, "set": {"seed": 8}}
    assert refused(node, lambda: node.change("/bindings", stale, "PUT")) == "BINDING.STALE"
    wrong = {"base_revision": base, "set": {"seed": None}}
    assert refused(node, lambda: node.change("/bindings", wrong, "PUT")) == "BINDING.MALFORMED"
    answer = node.change("/bindings", {"base_revision": base, "set": {"seed": 8}, "window_s": 60}, "PUT")
    (trial,) = answer["deployments"]
    assert node.show(trial)["state"] == "TRIAL"
    assert node.change(f"/deployments/{trial}/confirm")["state"] == "COMMITTED"
    assert node.get("/bindings")["values"]["seed"] == 8
    active = next(row for row in node.get("/revisions") if row["active"])
    assert active["binding_revision"] == answer["revision"]


def test_bindings_whose_trial_goes_back_go_back_too(node: Any) -> None:
    before = node.get("/bindings")
    change = {"base_revision": before["revision"], "set": {"seed": 99}, "window_s": 60}
    (trial,) = node.change("/bindings", change, "PUT")["deployments"]
    node.change(f"/deployments/{trial}/rollback")
    node.eventually(lambda: node.get("/bindings")["values"] == before["values"], "the bindings to go back")
    assert node.get("/bindings")["revision"] == before["revision"] + 2


def test_a_binding_that_the_pipeline_refuses_changes_nothing(node: Any) -> None:
    before = node.get("/bindings")
    change = {"base_revision": before["revision"], "set": {"seed": "not a number"}, "window_s": 60}
    code = refused(node, lambda: node.change("/bindings", change, "PUT"))
    assert code in ("BINDING.MALFORMED", "BUNDLE.PIPELINE", "DEPLOYMENT.PREFLIGHT")
    assert node.get("/bindings")["values"] == before["values"]


def test_a_person_at_the_node_reads_and_holds_without_a_console(node: Any) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nodeagent", *arguments, "--state", str(node.state)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "press 1.2" in run("status").stdout
    assert json.loads(run("status", "--json").stdout)["node_id"] == node.node_id
    assert run("check").returncode == 0
    assert run("hold", "--reason", "smoke").returncode == 0
    assert node.get("/status")["telemetry"]["hold"]["reason"] == "smoke"
    assert run("release").returncode == 0
    assert node.get("/status")["telemetry"]["hold"] is None
