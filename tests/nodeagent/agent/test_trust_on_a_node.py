"""Who may sign on a real node, and the attacks on it by name: each refused for its own code, its honest twin taken."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store import signing, trust
from store.archive import read_archive
from store.trust import TRUST_NAMESPACE, Change

OTHER = "sha256:" + "0" * 64


def make_key(path: Path) -> str:
    """A new key; its public half as in allowed_signers."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


class Trusted:
    """A node with a release key, and a root key that may change trust and sign no bundle."""

    def __init__(self, node: Any, folder: Path) -> None:
        self.node, self.root, self.second = node, folder / "root", folder / "second"
        self.second_line = f'release-2 namespaces="outstation-bundle" {make_key(self.second)}'
        with (node.state / "allowed_signers").open("a") as file:
            file.write(f'root namespaces="{TRUST_NAMESPACE}" {make_key(self.root)}\n')

    def change(self, key: Path | None = None, *, namespace: str = TRUST_NAMESPACE, **changes: Any) -> dict[str, str]:
        """A signed change; by default an honest one."""
        plain = {"format": trust.FORMAT, "node_id": self.node.node_id, "base": self.base, "action": "add"}
        document = trust.encode(Change(**{**plain, **changes}))
        signed = signing.sign_with_key_file(key or self.root, document, namespace=namespace)
        return {"change": document.decode(), "signature": signed.decode()}

    @property
    def base(self) -> str:
        return str(self.node.get("/trust")["list_digest"])

    def post(self, body: dict[str, str]) -> Any:
        return self.node.change("/trust", body)

    def refused(self, act: Any) -> str:
        with pytest.raises(self.node.refusal) as caught:
            act()
        return str(caught.value.code)


@pytest.fixture(scope="module")
def trusted(make_agents: Any, tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Trusted:
    agent = make_agents()
    made = Trusted(agent, tmp_path_factory.mktemp("keys"))
    agent.start()
    assert agent.commit(workshop.bundle(5), "base")["state"] == "COMMITTED"
    return made


def offer(node: Any, bundle: Path, id_: str, *, signature: bytes | None = None) -> Any:
    """Stages a bundle as it is, or with another signature."""
    with read_archive(bundle) as opened:
        blobs = {digest: opened.open_blob(digest).read() for digest in opened.blobs}
        blobs[opened.manifest_digest] = opened.manifest_bytes
        signed = opened.signature_bytes if signature is None else signature
        digest = f"sha256:{hashlib.sha256(signed).hexdigest()}"
        blobs[digest] = signed
        body = {"id": id_, "manifest": opened.manifest_digest, "signature": digest, "window_s": 60.0}
    for _ in range(4):
        answer = node.change("/deployments", body)
        for missing in answer["missing"]:
            node.put(missing, blobs[missing])
        if answer["state"] != "RECEIVING":
            return answer
    return answer


def test_attacks_on_a_bundle_are_each_refused_for_their_own_code(trusted: Trusted, workshop: Any) -> None:
    node, honest = trusted.node, workshop.bundle(6)
    other = workshop.bundle(7)
    with read_archive(honest) as opened, read_archive(other) as second:
        manifest, foreign = opened.manifest_bytes, second.signature_bytes
    sign = signing.sign_with_key_file
    attacks = {
        "stripped": (honest, b"\n", "TRUST.UNSIGNED"),
        "mix and match": (honest, foreign, "TRUST.MIXED"),
        "namespace": (honest, sign(workshop.key, manifest, namespace="git"), "TRUST.SIGNATURE"),
        "trust key signs a bundle": (honest, sign(trusted.root, manifest), "TRUST.SIGNATURE"),
        "stranger": (honest, sign(trusted.second, manifest), "TRUST.SIGNATURE"),
        "wrong node": (workshop.bundle(8, target={"node_id": "node-other"}), None, "TRUST.WRONG_NODE"),
        "rollback": (workshop.bundle(4), None, "TRUST.ROLLBACK"),
        "fast-forward": (workshop.bundle(9, sequence=20_000), None, "TRUST.FAST_FORWARD"),
        "maximum": (workshop.bundle(10, sequence=2**31 - 1), None, "TRUST.FAST_FORWARD"),
    }
    for name, (bundle, signature, code) in attacks.items():
        found = trusted.refused(lambda b=bundle, s=signature, n=name: offer(node, b, n.replace(" ", "-"), signature=s))
        assert (name, found) == (name, code)
    rows = node.get("/ledger?limit=1000")["entries"]
    refusals = [row["detail"]["code"] for row in rows if row["action"] == "deployment.refuse"]
    assert refusals == [code for _, _, code in attacks.values()]
    assert offer(node, honest, "honest")["state"] == "STAGED"
    assert node.bundle()["revision"] == 1


def test_a_blob_of_another_bundle_under_this_ones_name_is_refused(trusted: Trusted, workshop: Any) -> None:
    with read_archive(workshop.bundle(11)) as opened, read_archive(workshop.bundle(12)) as second:
        named = opened.facts().model_digest
        foreign = second.open_blob(second.facts().model_digest).read()
    assert trusted.refused(lambda: trusted.node.put(named, foreign)) == "BLOB.MISMATCH"


def test_attacks_on_the_list_of_signers_are_each_refused_for_their_own_code(trusted: Trusted, workshop: Any) -> None:
    line, root = trusted.second_line, f"SHA256:{'A' * 43}"
    keys = {signer["principals"]: signer["fingerprint"] for signer in trusted.node.get("/trust")["signers"]}
    good = trusted.change(line=line)
    attacks = {
        "release key changes trust": (trusted.change(workshop.key, line=line), "TRUST.SIGNATURE"),
        "stranger": (trusted.change(trusted.second, line=line), "TRUST.SIGNATURE"),
        "namespace": (trusted.change(namespace="outstation-bundle", line=line), "TRUST.SIGNATURE"),
        "stripped": ({**good, "signature": ""}, "TRUST.UNSIGNED"),
        "mix and match": ({**good, "change": trusted.change(line=f"{line} x")["change"]}, "TRUST.MIXED"),
        "wrong node": (trusted.change(node_id="node-other", line=line), "TRUST.WRONG_NODE"),
        "another list": (trusted.change(base=OTHER, line=line), "TRUST.STALE"),
        "no namespaces": (
            trusted.change(line=line.replace('namespaces="outstation-bundle" ', "")),
            "REQUEST.MALFORMED",
        ),
        "two lines": (trusted.change(line=f"{line}\n{line} x"), "REQUEST.MALFORMED"),
        "unknown key": (trusted.change(action="remove", fingerprint=root), "REQUEST.MALFORMED"),
        "last root": (trusted.change(action="remove", fingerprint=keys["root"]), "TRUST.LAST_SIGNER"),
        "last release": (trusted.change(action="remove", fingerprint=keys["release"]), "TRUST.LAST_SIGNER"),
    }
    before = (trusted.node.state / "allowed_signers").read_bytes()
    for name, (body, code) in attacks.items():
        assert (name, trusted.refused(lambda b=body: trusted.post(b))) == (name, code)
    assert (trusted.node.state / "allowed_signers").read_bytes() == before
    rows = trusted.node.get("/ledger?limit=1000")["entries"]
    refusals = [row["detail"]["code"] for row in rows if row["action"] == "trust.refuse"]
    assert refusals == [code for _, code in attacks.values()]


def test_a_signer_is_added_and_revoked_and_neither_change_counts_twice(trusted: Trusted, workshop: Any) -> None:
    node = trusted.node
    theirs = workshop.bundle(13, key=trusted.second)
    assert trusted.refused(lambda: offer(node, theirs, "theirs-0")) == "TRUST.SIGNATURE"
    add = trusted.change(line=trusted.second_line)
    after = trusted.post(add)
    assert [signer["principals"] for signer in after["signers"]] == ["release", "root", "release-2"]
    assert trusted.refused(lambda: trusted.post(add)) == "TRUST.STALE", "replayed"
    assert offer(node, theirs, "theirs-1")["state"] == "STAGED"
    (key,) = [signer["fingerprint"] for signer in after["signers"] if signer["principals"] == "release-2"]
    trusted.post(trusted.change(action="remove", fingerprint=key))
    revoked = workshop.bundle(14, key=trusted.second)
    assert trusted.refused(lambda: offer(node, revoked, "theirs-2")) == "TRUST.SIGNATURE"
    assert trusted.refused(lambda: trusted.post(add)) == "TRUST.STALE", "replayed after the list went back"
    rows = [row for row in node.get("/ledger?limit=1000")["entries"] if row["action"] == "trust.change"]
    assert [row["detail"]["change"].split()[0] for row in rows] == ["add", "remove"]
    assert all(row["detail"]["signer"].startswith("root SHA256:") for row in rows)
    assert rows[-1]["detail"]["list"] == node.get("/trust")["list_digest"]


def test_a_change_of_trust_needs_the_lease_and_the_operate_socket(trusted: Trusted) -> None:
    body = trusted.change(line=trusted.second_line)
    assert trusted.refused(lambda: trusted.node.post("/trust", {**body, "lease": 0})) == "LEASE.FENCED"
    assert trusted.refused(lambda: trusted.node.post("/trust", body, where="monitor.sock")) == "ACCESS.MONITOR_ONLY"


def test_a_document_that_is_not_canonical_is_refused_though_it_is_signed(trusted: Trusted) -> None:
    document = trusted.change(line=trusted.second_line)["change"]
    loose = msgspec.json.format(document.encode())
    signed = signing.sign_with_key_file(trusted.root, loose, namespace=TRUST_NAMESPACE)
    body = {"change": loose.decode(), "signature": signed.decode()}
    assert trusted.refused(lambda: trusted.post(body)) == "REQUEST.MALFORMED"
