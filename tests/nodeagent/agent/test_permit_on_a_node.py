"""A bundle below the floor on a real node: a signed permit lets it in once, and no forgery does."""

from __future__ import annotations

import hashlib
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from store import signing, warrant
from store.archive import read_archive
from store.warrant import NAMESPACES, Warrant


class Desk:
    """A node whose floor is at 5, and the person who may sign permits for it."""

    def __init__(self, node: Any, folder: Path, workshop: Any) -> None:
        self.node, self.workshop, self.key = node, workshop, folder / "permits"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        public = " ".join(Path(f"{self.key}.pub").read_text().split()[:2])
        with (node.state / "allowed_signers").open("a") as file:
            file.write(f'carol namespaces="{NAMESPACES["permit"]}" {public}\n')

    def permit(self, bundle: Path, *, key: Path | None = None, signed_as: str = "", **changes: Any) -> dict[str, str]:
        """A signed permit for the bundle on this node; by default an honest one."""
        now = int(time.time())
        plain = {
            "format": warrant.FORMAT,
            "kind": "permit",
            "id": uuid.uuid4().hex,
            "subject": manifest_of(bundle),
            "nodes": [self.node.node_id],
            "issued_s": now,
            "until_s": now + 3600,
            "reason": "the new one stops at night",
        }
        document = warrant.encode(Warrant(**{**plain, **changes}))
        namespace = signed_as or NAMESPACES["permit"]
        signed = signing.sign_with_key_file(key or self.key, document, namespace=namespace)
        return {"document": document.decode(), "signature": signed.decode()}

    def offer(self, bundle: Path, id_: str, permit: dict[str, str] | None = None) -> Any:
        """Stages a bundle, with a permit or without."""
        with read_archive(bundle) as opened:
            blobs = {digest: opened.open_blob(digest).read() for digest in opened.blobs}
            blobs[opened.manifest_digest] = opened.manifest_bytes
            signed = opened.signature_bytes or b""
        digest = f"sha256:{hashlib.sha256(signed).hexdigest()}"
        blobs[digest] = signed
        body = {"id": id_, "manifest": manifest_of(bundle), "signature": digest, "window_s": 60.0, "permit": permit}
        for _ in range(4):
            answer = self.node.change("/deployments", body)
            if answer["state"] != "RECEIVING":
                return answer
            for missing in answer["missing"]:
                self.node.put(missing, blobs[missing])
        return answer

    def refused(self, bundle: Path, id_: str, permit: dict[str, str] | None = None) -> str:
        with pytest.raises(self.node.refusal) as caught:
            self.offer(bundle, id_, permit)
        return str(caught.value.code)

    def told(self, action: str) -> list[tuple[str, str]]:
        """(subject, code) of the ledger's entries of an action."""
        rows = self.node.get("/ledger?limit=1000")["entries"]
        return [(row["subject"], row["detail"].get("code", "")) for row in rows if row["action"] == action]


def manifest_of(bundle: Path) -> str:
    with read_archive(bundle) as opened:
        return opened.manifest_digest


@pytest.fixture(scope="module")
def desk(make_agents: Any, tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Desk:
    agent = make_agents()
    made = Desk(agent, tmp_path_factory.mktemp("permits"), workshop)
    agent.start()
    assert agent.commit(workshop.bundle(5), "base")["state"] == "COMMITTED"
    return made


def test_every_forged_permit_is_refused_for_its_own_code_and_the_honest_one_counts_once(desk: Desk) -> None:
    older, other = desk.workshop.bundle(3), desk.workshop.bundle(2)
    good, now = desk.permit(older), int(time.time())
    foreign = desk.permit(other)
    attacks = {
        "none": (None, "TRUST.ROLLBACK"),
        "stripped": ({**good, "signature": ""}, "TRUST.UNSIGNED"),
        "mix-and-match": ({**good, "signature": foreign["signature"]}, "TRUST.MIXED"),
        "other-bundle": (foreign, "TRUST.MIXED"),
        "wrong-node": (desk.permit(older, nodes=["node-other"]), "TRUST.WRONG_NODE"),
        "expired": (desk.permit(older, issued_s=now - 7200, until_s=now - 60), "TRUST.EXPIRED"),
        "clock-at-1970": (desk.permit(older, issued_s=now + 90_000, until_s=now + 93_600), "TRUST.EXPIRED"),
        "release-key": (desk.permit(older, key=desk.workshop.key), "TRUST.SIGNATURE"),
        "namespace": (desk.permit(older, signed_as="outstation-bundle"), "TRUST.SIGNATURE"),
        "approval": (desk.permit(older, kind="approval"), "TRUST.SIGNATURE"),
        "edited": ({**good, "document": good["document"].replace("at night", "at noon")}, "TRUST.MIXED"),
    }
    for name, (permit, code) in attacks.items():
        assert (name, desk.refused(older, name, permit)) == (name, code)
    assert desk.told("deployment.refuse") == [(name, code) for name, (_, code) in attacks.items()]

    assert desk.offer(older, "honest", good)["state"] == "STAGED"
    assert desk.told("permit.use") == [("honest", "")]
    assert desk.refused(older, "replayed", good) == "TRUST.REPLAYED"
    assert desk.told("deployment.refuse")[-1] == ("replayed", "TRUST.REPLAYED")


def test_what_a_permit_let_in_runs_and_the_floor_stays_where_it_was(desk: Desk) -> None:
    older = desk.workshop.bundle(4)
    node = desk.node
    assert desk.offer(older, "down", desk.permit(older))["state"] == "STAGED"
    assert desk.offer(older, "down", None)["state"] == "STAGED", "asked for again it needs no permit"
    node.change("/deployments/down/preflight")
    node.change("/deployments/down/activate")
    assert node.change("/deployments/down/confirm")["state"] == "COMMITTED"
    assert node.serving(2)["version"] == "1.4"
    with node.database() as rows:
        assert rows.execute("SELECT epoch, sequence FROM floors").fetchall() == [(1, 5)]
    assert desk.refused(desk.workshop.bundle(1), "lower") == "TRUST.ROLLBACK"


def test_a_bundle_above_the_floor_uses_no_permit_up(desk: Desk) -> None:
    newer = desk.workshop.bundle(6)
    before = desk.told("permit.use")
    assert desk.offer(newer, "newer", desk.permit(newer))["state"] == "STAGED"
    assert desk.told("permit.use") == before
