"""A box broke: a new one at the same address becomes what it was, and the old key is let in no more."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console import backup as backups
from console.backup import Backup
from console.home import Home, address_of, row_of
from nodeagent.protocol import Hold, Revision, TrustSigner
from store.archive import read_archive, sign_archive
from store.signing import sign_with_key_file

ROOT = Path(__file__).parents[2]
OLD_ID = "node-0000000000000001"
_spec = importlib.util.spec_from_file_location("replace_box", Path(__file__).with_name("test_bootstrap_node.py"))
assert _spec is not None
assert _spec.loader is not None
_box = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_box)

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def box(ssh_lab: Any, made_kit: Any, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    made = _box.Box(ssh_lab, made_kit, capsys)
    try:
        yield made
    finally:
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)


def keygen(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def bundle_in_catalog(box: Any, folder: Path, key: Path) -> str:
    """The digest of bearing 1.0, which this console keeps."""
    words = ("--pipeline", "pipeline.simulate.toml", "-o", str(folder))
    assert box.run("bundle", "build", str(ROOT / "examples" / "bearing"), *words)[0] == 0
    (unsigned,) = folder.glob("*.ostn")
    signed = folder / "signed.ostn"
    sign_archive(unsigned, signed, lambda data: sign_with_key_file(key, data))
    assert box.run("catalog", "import", str(signed))[0] == 0
    with read_archive(signed) as archive:
        return archive.manifest_digest


def test_a_new_box_gets_all_that_the_backup_holds_and_says_what_it_does_not(box: Any, tmp_path: Path) -> None:
    public = keygen(tmp_path / "release")
    (tmp_path / "signers").write_text(f'release namespaces="outstation-bundle" {public}\n')
    digest = bundle_in_catalog(box, tmp_path, tmp_path / "release")
    home = Home(box.console)
    kept = Backup(
        node="press-07",
        node_id=OLD_ID,
        taken_wall_s=time.time() - 86_400,
        agent_version="0.1.0",
        bindings={"seed": 21, "broker": {"user": "press", "password": "***"}},
        revisions=[
            Revision(
                bundle="bearing", revision=4, version="1.0", digest=digest, binding_revision=1, since_us=1, active=True
            )
        ],
        signers=[TrustSigner(principals="gone", fingerprint="SHA256:gone", namespaces=["outstation-bundle"])],
        hold=Hold(by="maria", reason="belt", since_us=1),
    )
    backups.write(home.path, kept)
    with home.open_catalog() as catalog:
        address = address_of(next(iter(catalog.nodes())))
        catalog.put_node(row_of(replace(address, node_id=OLD_ID)))
    old_key = keygen(tmp_path / "old_host_key")
    home.known_hosts.write_text(f"[127.0.0.1]:{box.server.port} {old_key}\n")

    words = ["node", "replace", "press-07", "--kit", str(box._kit.path), "--signers", str(box._kit.signers_file)]
    words += ["--prefix", str(box.prefix), "--start", "by-hand", "--allow-signer", str(tmp_path / "signers")]
    code, out, err = box.run(*words, "--accept", box._fingerprint, "--yes")
    assert code == 1, err
    assert "revoked here for good" in out
    missing = [line.split()[1:3] for line in out.splitlines() if line.startswith("MISSING")]
    assert missing == [["binding", "broker:"], ["signer", "gone"]]
    assert f"@revoked [127.0.0.1]:{box.server.port} {old_key}" in home.known_hosts.read_text()
    shown = json.loads(box.run("node", "show", "press-07", "--json")[1])
    assert shown["status"]["node_id"] == (box.state / "node.id").read_text().strip()
    assert shown["status"]["telemetry"]["hold"]["reason"] == "belt (by maria, for the box before)"
    assert [(row["bundle"], row["digest"], row["active"]) for row in shown["revisions"]] == [("bearing", digest, True)]
    bound = json.loads(box.run("node", "bind", "press-07", "--json")[1])["values"]
    assert bound == {"seed": 21}

    again, out, _ = box.run(*words, "--yes")
    assert again == 1
    assert "bearing 1.0 is" not in out
    assert box.run("node", "backup")[0] == 0
    fresh = backups.read(home.path, "press-07")
    assert fresh is not None
    assert fresh.node_id == shown["status"]["node_id"]
