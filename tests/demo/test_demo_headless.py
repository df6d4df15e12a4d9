"""The headless demo says only what the nodes' own files show, and fails as soon as one thing is broken."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GATE = "recorder gate stops the bad bundle before the switch"
STOPPED = "failing canary stops a rollout of three waves"
FINISHED = "good bundle rolled out over three waves"
READ = "each example reads its protocol"
SEVENTH = "seventh node by bootstrap"
BACK = "OPC UA server and broker lost and found again"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new folder with a path short enough for sockets, below the tree as the demo's own."""
    path = ROOT / "build" / f"t{tmp_path_factory.mktemp('demo').name[-4:]}"
    shutil.rmtree(path, ignore_errors=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def headless(folder: Path, seconds: int, *options: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "console", "demo", "--headless", str(seconds), "--keep", str(folder), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def rows(path: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def record_is_there(state: Path, key: int) -> bool:
    return any(rows(segment, "SELECT 1 FROM record WHERE key = ?", key) for segment in state.glob("records/*/rec-*.db"))


def test_every_claim_has_its_row_in_the_state_folder_of_its_node(folder: Path) -> None:
    code, report, told = headless(folder, 90)
    assert code == 0, json.dumps(report, indent=2) + told
    states = {name: Path(path) for name, path in report["states"].items()}
    claims = {claim["claim"]: claim for claim in report["claims"]}
    for name, key in claims["predictions recorded"]["evidence"]["record_keys"].items():
        assert record_is_there(states[name], key), name
    assert {name: found["source"] for name, found in claims[READ]["evidence"].items()} == {
        "pump": "modbus",
        "bearing": "opcua",
        "casting": "mqtt",
    }
    assert set(claims[BACK]["evidence"]["record_keys"]) == {"motor-01", "cast-01"}
    for name, key in claims[BACK]["evidence"]["record_keys"].items():
        assert record_is_there(states[name], key), name
    made = claims[SEVENTH]["evidence"]
    node = states[claims[SEVENTH]["node"]]
    assert (node / "node.id").read_text().strip() == made["node_id"]
    assert made["kit"][7:19] in (node.parent / "current").readlink().name
    assert rows(node / "node.db", "SELECT state FROM deployments WHERE id = ?", made["deployment"]) == [("COMMITTED",)]
    acts = ("degrading machine raises an alarm", "good bundle committed", "bad bundle rolled itself back", SEVENTH)
    for claim in acts:
        assert record_is_there(states[claims[claim]["node"]], claims[claim]["evidence"]["record_key"]), claim
    for claim, state in (("good bundle committed", "COMMITTED"), ("bad bundle rolled itself back", "ROLLED_BACK")):
        evidence, database = claims[claim]["evidence"], states[claims[claim]["node"]] / "node.db"
        assert rows(database, "SELECT state FROM deployments WHERE id = ?", evidence["deployment"]) == [(state,)]
        entry = rows(database, "SELECT subject, action FROM ledger WHERE seq = ?", evidence["ledger_seq"])
        assert entry == [(evidence["deployment"], f"deployment.{state.lower()}")]


@pytest.mark.parametrize(
    ("broken", "lost"),
    [
        ("plc", {"degrading machine raises an alarm", GATE, FINISHED}),
        (
            "jump",
            {"node up", "predictions recorded", "bad bundle rolled itself back", "site behind a jump host"}
            | {STOPPED, FINISHED, READ, BACK},
        ),
        ("bundle", {"bad bundle rolled itself back", STOPPED, GATE, FINISHED}),
    ],
)
def test_the_headless_demo_fails_when_one_thing_is_broken(folder: Path, broken: str, lost: set[str]) -> None:
    code, report, _ = headless(folder, 35, "--break", broken)
    assert code == 1
    assert {claim["claim"] for claim in report["claims"] if not claim["ok"]} == lost
