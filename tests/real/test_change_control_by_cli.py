"""Two persons at two consoles, a real sshd and a real node: the papers of one let the change of the other through."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console.__main__ import main

_SPEC = importlib.util.spec_from_file_location(
    "real_agent_change", Path(__file__).parents[1] / "nodeagent" / "agent" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
workshop = _MODULE.workshop
make_agent = _MODULE.make_agent
ROOT = Path(__file__).resolve().parents[2]
POLICY = "[policy]\nchange_number = true\nsecond_person = true\n"


class Console:
    """A person's console: `outstation` in a folder of their own."""

    def __init__(self, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.name, self.home, self.capsys = name, folder / name, capsys
        self.key = folder / f"{name}.key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.public = " ".join(Path(f"{self.key}.pub").read_text().split()[:2])

    def __call__(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        code = main(["--home", str(self.home), "--operator", self.name, *words])
        told = self.capsys.readouterr()
        return code, told.out + told.err


def test_an_older_bundle_comes_in_by_a_permit_and_a_second_persons_approval_from_one_console_to_the_other(
    ssh_lab: Any, make_agent: Any, workshop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = Console("alice", tmp_path, capsys), Console("bob", tmp_path, capsys)
    agent = make_agent(POLICY)
    with (agent.state / "allowed_signers").open("a") as file:
        file.write(f'bob namespaces="outstation-approval,outstation-permit" {bob.public}\n')
    agent.start()
    run = f"cd {shlex.quote(str(ROOT))} && exec {sys.executable} -m nodeagent connect --socket {agent.socket}"
    server = ssh_lab.sshd(prefix=f'restrict,command="{run} --as alice --role release"')
    (tmp_path / "host.pub").write_text(server.host_public)
    command = ["ssh-keygen", "-lf", str(tmp_path / "host.pub")]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]
    for console in (alice, bob):
        where = f"{server.user}@127.0.0.1:{server.port}"
        words = ["-i", str(ssh_lab.identity), "--accept", seen, "--ssh-config", "/dev/null"]
        assert console("node", "add", "press-07", where, *words)[0] == 0
    newer, older = workshop.bundle(5), workshop.bundle(3)

    def deploy(bundle: Path, *words: str) -> tuple[int, str]:
        return alice("deploy", str(bundle), "press-07", "--yes", "--gate-rows", "0", *words)

    code, told = deploy(newer, "--change", "MOC-1")
    assert (code, "CHANGE.SECOND_PERSON" in told) == (1, True), told
    sign = ["press-07", "--key", str(bob.key), "--reason", "night", "-o"]
    assert bob("approve", str(newer), *sign, str(tmp_path / "a"))[0] == 0
    assert alice("papers", str(tmp_path / "a"))[0] == 0
    assert deploy(newer, "--change", "MOC-1")[0] == 0
    assert alice("confirm", "press-07", "--change", "MOC-1")[0] == 0

    code, told = deploy(older, "--change", "MOC-2")
    assert (code, "TRUST.ROLLBACK" in told, "outstation trust permit" in told) == (1, True, True), told
    assert bob("trust", "permit", str(older), *sign, str(tmp_path / "p"))[0] == 0
    assert bob("approve", str(older), *sign, str(tmp_path / "q"))[0] == 0
    assert alice("papers", str(tmp_path / "p"), str(tmp_path / "q"))[0] == 0
    code, told = deploy(older, "--change", "MOC-2")
    assert (code, "is on trial as revision 2" in told) == (0, True), told

    rows = {row["action"]: row for row in agent.get("/ledger?limit=1000")["entries"]}
    assert rows["permit.use"]["detail"]["signer"].startswith("bob SHA256:")
    assert rows["change.approve"]["actor"] == "alice"
    assert rows["deployment.trial"]["detail"]["change_number"] == "MOC-2"
