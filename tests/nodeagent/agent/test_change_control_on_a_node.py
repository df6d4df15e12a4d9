"""A node that asks for a change number and for two persons: it refuses by itself, and an emergency is not forgotten."""

from __future__ import annotations

import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from store import signing, warrant
from store.warrant import NAMESPACES, Warrant

ALICE, BOB = "OUTSTATION-AS alice release\n", "OUTSTATION-AS bob release\n"
POLICY = "[policy]\nchange_number = true\nsecond_person = true\n"


class Two:
    """A node under the policy; alice and bob may both sign approvals."""

    def __init__(self, node: Any, folder: Path) -> None:
        self.node, self.folder = node, folder
        for name in ("alice@plant", "bob"):
            key = folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
            public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
            with (node.state / "allowed_signers").open("a") as file:
                file.write(f'{name} namespaces="{NAMESPACES["approval"]}" {public}\n')

    def approval(self, subject: str, by: str = "bob", **changes: Any) -> dict[str, str]:
        now = int(time.time())
        plain = {
            "format": warrant.FORMAT,
            "kind": "approval",
            "id": uuid.uuid4().hex,
            "subject": subject,
            "nodes": [self.node.node_id],
            "issued_s": now,
            "until_s": now + 3600,
        }
        document = warrant.encode(Warrant(**{**plain, **changes}))
        signed = signing.sign_with_key_file(self.folder / by, document, namespace=NAMESPACES["approval"])
        return {"document": document.decode(), "signature": signed.decode()}

    def ready(self, bundle: Path, id_: str) -> str:
        """The digest of a deployment that waits for its activation only."""
        self.node.stage(bundle, id_)
        ready = self.node.change(f"/deployments/{id_}/preflight")
        assert ready["state"] == "PREFLIGHT_OK", ready
        return str(ready["digest"])

    def activate(self, id_: str, preface: str = ALICE, **body: Any) -> Any:
        return self.node.change(f"/deployments/{id_}/activate", body, preface=preface)

    def refused(self, act: Any) -> str:
        with pytest.raises(self.node.refusal) as caught:
            act()
        return str(caught.value.code)

    def told(self, action: str) -> list[Any]:
        return [row for row in self.node.get("/ledger?limit=1000")["entries"] if row["action"] == action]

    def emergencies(self) -> list[Any]:
        return [alert for alert in self.node.get("/alerts") if alert["code"] == "CHANGE.EMERGENCY"]


@pytest.fixture(scope="module")
def two(make_agents: Any, tmp_path_factory: pytest.TempPathFactory) -> Two:
    agent = make_agents(POLICY)
    made = Two(agent, tmp_path_factory.mktemp("two"))
    agent.start()
    return made


def test_a_bundle_is_activated_only_with_a_number_and_the_signature_of_another_person(two: Two, workshop: Any) -> None:
    digest, number, now = two.ready(workshop.bundle(1), "d1"), {"change_number": "MOC-17"}, int(time.time())
    other = "sha256:" + "0" * 64
    good = two.approval(digest)
    attempts = {
        "no number": ({"approval": good}, ALICE, "CHANGE.NUMBER"),
        "no approval": (number, ALICE, "CHANGE.SECOND_PERSON"),
        "her own": ({**number, "approval": two.approval(digest, "alice@plant")}, ALICE, "CHANGE.SAME_PERSON"),
        "his own": ({**number, "approval": good}, BOB, "CHANGE.SAME_PERSON"),
        "another digest": ({**number, "approval": two.approval(other)}, ALICE, "TRUST.MIXED"),
        "another node": ({**number, "approval": two.approval(digest, nodes=["n"])}, ALICE, "TRUST.WRONG_NODE"),
        "stripped": ({**number, "approval": {**good, "signature": ""}}, ALICE, "TRUST.UNSIGNED"),
        "past": (
            {**number, "approval": two.approval(digest, issued_s=now - 99, until_s=now - 9)},
            ALICE,
            "TRUST.EXPIRED",
        ),
        "permit": ({**number, "approval": two.approval(digest, kind="permit")}, ALICE, "TRUST.SIGNATURE"),
        "a name that is only said": ({**number, "approval": good}, "", "CHANGE.UNPROVEN"),
        "a number that is none": ({"change_number": "1\n2", "approval": good}, ALICE, "REQUEST.MALFORMED"),
    }
    for name, (body, preface, code) in attempts.items():
        headers = {} if preface else {"X-Outstation-Operator": "alice"}
        act = lambda b=body, p=preface, h=headers: two.node.change(  # noqa: E731
            "/deployments/d1/activate", b, preface=p, headers=h
        )
        assert (name, two.refused(act)) == (name, code)
    assert two.node.show("d1")["state"] == "PREFLIGHT_OK"

    assert two.activate("d1", **number, approval=good)["state"] == "TRIAL"
    assert two.activate("d1")["state"] == "TRIAL", "a repeat is answered as it stands"
    (approved,) = two.told("change.approve")
    assert (approved["actor"], approved["subject"]) == ("alice", "d1")
    assert approved["detail"]["digest"] == digest
    assert approved["detail"]["by"].startswith("bob SHA256:")
    (flip,) = two.told("deployment.trial")
    assert flip["detail"]["change_number"] == "MOC-17", "the number stands in what the write made"
    assert two.node.change("/deployments/d1/rollback", preface=ALICE)["state"] == "ROLLED_BACK"
    assert "change_number" not in two.told("deployment.rolled_back")[-1]["detail"]


def test_an_emergency_is_let_through_and_stands_until_another_person_reviewed_it(two: Two, workshop: Any) -> None:
    two.ready(workshop.bundle(2), "d2")
    node = two.node
    assert two.refused(lambda: node.post("/review", preface=BOB)) == "CHANGE.NOTHING"
    assert two.activate("d2", emergency="the line stands")["state"] == "TRIAL"
    assert node.change("/deployments/d2/confirm", preface=ALICE)["state"] == "COMMITTED"
    (alert,) = two.emergencies()
    assert (alert["subject"], alert["priority"]) == ("d2", 2)
    assert "the line stands" in alert["message"]

    node.post(f"/alerts/{alert['id']}/acknowledge", preface=ALICE)
    assert [found["state"] for found in two.emergencies()] == ["acknowledged"], "an acknowledgement is no review"
    node.stop()
    node.start()
    node.sleep_on_boottime(1.5)
    assert [found["subject"] for found in two.emergencies()] == ["d2"], "nor is a restart, or a look at conditions"
    assert two.refused(lambda: node.post("/review", preface=ALICE)) == "CHANGE.SAME_PERSON"
    assert two.refused(lambda: node.post("/review", headers={"X-Outstation-Operator": "bob"})) == "CHANGE.UNPROVEN"
    node.post("/review", {"note": "it was right"}, preface=BOB)
    assert two.emergencies() == []
    (reviewed,) = two.told("emergency.review")
    assert (reviewed["actor"], reviewed["detail"]["by"], reviewed["detail"]["note"]) == ("bob", "alice", "it was right")


def test_bindings_and_signers_need_the_second_person_too_and_going_back_never_does(two: Two, workshop: Any) -> None:
    node, number = two.node, {"change_number": "MOC-18"}
    body = {"base_revision": node.get("/bindings")["revision"], "set": {"plc": {"url": "tcp://127.0.0.1:1"}}}
    planned = node.change("/bindings", {**body, "dry_run": True}, "PUT", preface=ALICE)
    assert (
        two.refused(lambda: node.change("/bindings", {**body, **number}, "PUT", preface=ALICE))
        == "CHANGE.SECOND_PERSON"
    )
    given = {**number, "approval": two.approval(planned["digest"])}
    else_ = {**body, "set": {"plc": {"url": "tcp://127.0.0.1:2"}}, **given}
    assert two.refused(lambda: node.change("/bindings", else_, "PUT", preface=ALICE)) == "TRUST.MIXED"
    assert node.change("/bindings", {**body, **given}, "PUT", preface=ALICE)["revision"] == body["base_revision"] + 1
    change = {"change": "{}", "signature": ""}
    assert two.refused(lambda: node.change("/trust", {**change, **number}, preface=ALICE)) == "CHANGE.SECOND_PERSON"
    approved = {
        **change,
        **number,
        "approval": two.approval("sha256:" + "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    }
    assert two.refused(lambda: node.change("/trust", approved, preface=ALICE)) == "TRUST.SIGNATURE"

    digest = two.ready(workshop.bundle(3), "d3")
    two.activate("d3", **number, approval=two.approval(digest))
    node.change("/deployments/d3/confirm", preface=ALICE)
    assert node.change("/bundles/press/revert", {"id": "back"}, preface=ALICE)["state"] == "TRIAL"
    node.post("/hold", {"reason": "smoke"}, preface="OUTSTATION-AS eve monitor\n")
    node.post("/hold/release", preface=ALICE)
