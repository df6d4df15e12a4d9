"""A confirm proves a way back in: a real sshd's login that began after the flip, by stream-local and by the bridge."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "real_agent", Path(__file__).parents[1] / "nodeagent" / "agent" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
workshop = _MODULE.workshop
make_agent = _MODULE.make_agent


def ssh(lab: Any, server: Any, *arguments: str) -> list[str]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR")
    return [
        *("ssh", "-F", "none", "-i", str(lab.identity), "-p", str(server.port)),
        *(part for option in options for part in ("-o", option)),
        *arguments,
    ]


class Bridge:
    """One login that runs the bridge and stays: requests go in, answers come out."""

    def __init__(self, lab: Any, server: Any, agent: Any) -> None:
        root = Path(__file__).parents[2]
        command = f"cd {root} && exec {sys.executable} -m nodeagent connect --as alice --socket {agent.socket}"
        self._process = subprocess.Popen(
            ssh(lab, server, f"{server.user}@127.0.0.1", command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.read(1) == b"\x06"

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        data = json.dumps(body).encode()
        head = f"POST /agent/v1{path} HTTP/1.1\r\nhost: n\r\ncontent-length: {len(data)}\r\n\r\n"
        self._process.stdin.write(head.encode() + data)
        self._process.stdin.flush()
        status = int(self._process.stdout.readline().split()[1])
        length = 0
        while (line := self._process.stdout.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return status, json.loads(self._process.stdout.read(length))

    def close(self) -> None:
        self._process.communicate(timeout=20)


@contextlib.contextmanager
def forwarded(lab: Any, server: Any, agent: Any) -> Iterator[str]:
    """The agent's socket, forwarded by a login of its own; the name of the local end in the node's run folder."""
    local = agent.state / "run" / "far.sock"
    command = ssh(lab, server, "-N", "-L", f"{local}:{agent.socket}", f"{server.user}@127.0.0.1")
    process = subprocess.Popen(command)
    try:
        agent.eventually(local.exists, "the forwarded socket")
        yield local.name
    finally:
        process.terminate()
        process.wait(20)
        local.unlink(missing_ok=True)


@pytest.fixture
def node(make_agent: Any) -> Any:
    return make_agent().start()


def test_a_login_from_before_the_flip_does_not_confirm_and_a_new_one_proves(
    node: Any, workshop: Any, ssh_lab: Any
) -> None:
    server = ssh_lab.sshd()
    old = Bridge(ssh_lab, server, node)
    node.deploy(workshop.bundle(1), "d1")
    request = {"node_id": node.node_id, "lease": node.lease}
    status, answer = old.post("/deployments/d1/confirm", request)
    assert (status, answer["error"]["code"]) == (409, "DEPLOYMENT.OLD_LOGIN")
    assert node.show("d1")["state"] == "TRIAL"
    new = Bridge(ssh_lab, server, node)
    status, answer = new.post("/deployments/d1/confirm", request)
    assert (status, answer["state"], answer["reachability"]) == (200, "COMMITTED", "proved")
    # I5: after the commit the old login gets the same answer.
    assert old.post("/deployments/d1/confirm", request) == (200, answer)
    actors = {entry["actor"] for entry in node.get("/ledger?limit=1000")["entries"]}
    assert "alice" in actors
    old.close()
    new.close()


def test_stream_local_forwarding_proves_as_well(node: Any, workshop: Any, ssh_lab: Any) -> None:
    server = ssh_lab.sshd()
    with forwarded(ssh_lab, server, node) as before:
        node.deploy(workshop.bundle(1), "d1")
        with pytest.raises(node.refusal) as raised:
            node.change("/deployments/d1/confirm", where=before)
        assert raised.value.code == "DEPLOYMENT.OLD_LOGIN"
    with forwarded(ssh_lab, server, node) as after:
        done = node.change("/deployments/d1/confirm", where=after)
    assert (done["state"], done["reachability"]) == ("COMMITTED", "proved")
