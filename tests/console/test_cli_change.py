"""Signed papers on the command line: permits and approvals are made, carried, found for the change that needs them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from console.client.client import AgentClient
from console.delivery.mandate import Mandate, PaperRefused, Papers, load
from console.demo.sshd import make_key
from console.fleet.view import NodeAddress
from console.home import Home, row_of
from console.link.transport import Answer
from nodeagent.protocol import Deployment, DeploymentState, SignedWarrant, StageRequest
from store import warrant

Run = Callable[..., Any]
DIGEST = "sha256:" + "3b" * 32


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `outstation WORDS`; the console at `home` knows press-07 and press-08 by their ids."""

    def run(*words: str, home: Path = tmp_path / "bob") -> tuple[int, str, str]:
        with Home(home).open_catalog() as catalog:
            for name in ("press-07", "press-08"):
                catalog.put_node(row_of(NodeAddress(name, "10.0.0.1", 22, "op", node_id=f"id-{name}")))
        capsys.readouterr()
        code = main(["--home", str(home), "--operator", "bob", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def key_of(folder: Path) -> tuple[Path, str]:
    make_key(folder / "key", "bob")
    public = " ".join((folder / "key.pub").read_text().split()[:2])
    return folder / "key", f'bob namespaces="outstation-approval,outstation-permit" {public}\n'


def test_an_approval_is_signed_carried_and_found_by_what_it_is_for_and_by_the_node(cli: Run, tmp_path: Path) -> None:
    key, signers = key_of(tmp_path)
    paper, words = (
        tmp_path / "a.warrant",
        ["--key", str(key), "--until", "2h", "--change", "MOC-3", "--reason", "spindle"],
    )
    code, out, _ = cli("approve", DIGEST, "press-07", "-o", str(paper), *words)
    assert (code, "approval of sha256:3b" in out) == (0, True)
    held = load(paper)
    found, signer = warrant.verify(
        "approval", held.document.encode(), held.signature.encode(), signers,
        node_id="id-press-07", subject=DIGEST, at_s=time.time(),
    )  # fmt: skip
    assert (found.change, found.reason, signer.principal) == ("MOC-3", "spindle", "bob")

    alice = tmp_path / "alice"
    code, out, _ = cli("papers", str(paper), home=alice)
    assert (code, "press-07" in out, "MOC-3" in out) == (0, True, True)
    papers = Papers(Home(alice).warrants)
    assert papers.find("approval", DIGEST, "id-press-07") == held
    assert papers.find("approval", DIGEST, "id-press-08") is None
    assert papers.find("permit", DIGEST, "id-press-07") is None
    assert papers.find("approval", "sha256:" + "0" * 64, "id-press-07") is None


def test_what_would_count_nowhere_is_not_signed(cli: Run, tmp_path: Path) -> None:
    key, _ = key_of(tmp_path)
    sign = ["--key", str(key), "-o", str(tmp_path / "p")]
    assert cli("approve", DIGEST, "press-07", "--until", "40d", *sign)[0] == 2
    assert cli("approve", DIGEST, "press-07", "--until", "2020-01-01 10:00", *sign)[0] == 2
    assert cli("approve", DIGEST, *sign)[0] == 2, "no node"
    assert cli("approve", "ro-unknown", *sign)[0] == 2, "no such rollout"
    assert not (tmp_path / "p").exists()


def test_a_file_that_is_no_paper_is_refused_and_found_nowhere(cli: Run, tmp_path: Path) -> None:
    rubbish = tmp_path / "r.warrant"
    for data in (b"\xff\xfe", b"{}", b'{"document": "{}", "signature": ""}'):
        rubbish.write_bytes(data)
        assert cli("papers", str(rubbish))[0] == 1
    folder = Home(tmp_path / "bob").warrants
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.warrant").write_bytes(b"\xff")
    assert (cli("papers")[0], Papers(folder).all()) == (0, [])
    with pytest.raises(PaperRefused):
        load(folder / "x.warrant")


class Agent:
    """An exchange that keeps what it was asked."""

    def __init__(self, tiny: Any) -> None:
        self._tiny = tiny
        self.bodies: list[Any] = []

    async def request(self, method: str, target: str, *, body: Any = None, timeout_s: float) -> Answer:
        if method == "POST":
            self.bodies.append(json.loads(body))
        return Answer(*await self._tiny.serve(method, target, body or b""))


def test_a_change_carries_its_number_and_the_paper_that_fits_and_nothing_that_an_older_agent_does_not_know(
    tiny_agent: Any, tmp_path: Path
) -> None:
    tiny = tiny_agent()
    row = Deployment(id="d", bundle="b", version="1", digest=DIGEST, state=DeploymentState.TRIAL)
    for route in (("POST", "/deployments"), ("GET", "/deployments/d"), ("POST", "/deployments/d/activate")):
        tiny.handle[route] = lambda query, body: row
    paper = SignedWarrant(document="{}", signature="s")

    def find(kind: str, subject: str, node_id: str) -> SignedWarrant | None:
        return (
            paper
            if (kind, subject, node_id) in (("permit", DIGEST, "node-1"), ("approval", DIGEST, "node-1"))
            else None
        )

    async def run(mandate: Mandate | None) -> list[Any]:
        agent = Agent(tiny)
        client = AgentClient(agent, "press-07", mandate=mandate)  # type: ignore[arg-type]
        await client.stage(DIGEST, "s", window_s=60, lease=1, deployment="d")
        await client.advance("d", "activate", lease=1)
        return agent.bodies

    staged, activated = asyncio.run(run(Mandate("MOC-3", find=find)))
    assert (staged["change_number"], staged["permit"]) == ("MOC-3", {"document": "{}", "signature": "s"})
    assert (activated["approval"], "emergency" in activated) == ({"document": "{}", "signature": "s"}, False)
    for body in asyncio.run(run(None)):
        assert not {"change_number", "permit", "approval", "emergency"} & body.keys()
    (_, urgent) = asyncio.run(run(Mandate(emergency="the line stands")))
    assert urgent["emergency"] == "the line stands"
    assert msgspec.json.decode(msgspec.json.encode(staged), type=StageRequest).id == "d"
