"""A laptop is lost: another one has its fleet back from a stick and the nodes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.__main__ import main
from console.carry import CarryRefused, Packing, open_carried
from console.home import Home, row_of
from nodeagent.protocol import LedgerEntry, LedgerPage
from store import ledger
from store.ledger import Stamp
from store.node import schema

Run = Callable[..., Any]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(laptop: str, *words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["--home", str(tmp_path / laptop), "--operator", laptop, *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def history() -> list[LedgerEntry]:
    """A short chain, as a node keeps it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for sql in schema.STEPS.values():
        connection.executescript(sql)
    for number in range(3):
        ledger.note(connection, Stamp("boot", number, number, "alice", ""), "hold.set", "node", {"n": number})
    return [LedgerEntry(**entry._asdict()) for entry in ledger.page(connection)]


async def known(plant: Any, name: str, home: Home) -> Any:
    address = replace(await plant.node(name), node_id=f"id-{name}")
    with home.open_catalog() as catalog:
        catalog.put_node(row_of(address))
    public = " ".join((plant.folder / f"{name}.key.pub").read_text().split()[:2])
    with home.known_hosts.open("a") as file:
        file.write(f"[{address.host}]:{address.port} {public}\n")
    entries = history()

    def told(query: str, body: bytes) -> LedgerPage:
        after = int(dict(part.split("=") for part in query.split("&") if "=" in part).get("after", 0))
        return LedgerPage(entries=entries[after:], head_seq=3, head_hash=entries[-1].hash)

    plant.agents[name].handle["GET", "/ledger"] = told
    return address


def test_a_lost_laptop_has_its_fleet_back_and_the_nodes_confirm_it(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        await known(plant, "press-07", Home(tmp_path / "alice"))
        await known(plant, "press-08", Home(tmp_path / "alice"))
        key, stick = tmp_path / "key", tmp_path / "stick"
        await asyncio.to_thread(
            subprocess.run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True
        )
        public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
        assert (await cli("alice", "ledger", "verify"))[0] == 0
        (tmp_path / "alice" / "allowed_signers").write_text(f'alice namespaces="outstation-ledger" {public}\n')
        code, out, err = await cli("alice", "carry", "pack", str(stick), "--key", str(key))
        assert (code, err) == (0, ""), out

        words = ["carry", "unpack", str(stick), "--identity", str(plant.folder / "id"), "--yes"]
        code, out, err = await cli("bob", *words)
        assert (code, err) == (0, ""), out
        assert "3 of 3 entries were new here" in out, out
        before, after = [json.loads((await cli(name, "node", "list", "--json"))[1]) for name in ("alice", "bob")]
        assert [(node["name"], node["host"], node["port"]) for node in after] == [
            (node["name"], node["host"], node["port"]) for node in before
        ]
        code, out, err = await cli("bob", "ledger", "verify", "--json")
        assert (code, err) == (0, ""), out
        assert (await cli("bob", "status"))[0] == 0
        assert [
            path.name for path in stick.rglob("*") if b"PRIVATE" in (path.read_bytes() if path.is_file() else b"")
        ] == []

    in_plant(body)


def test_a_folder_that_was_changed_or_cut_off_is_refused_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    packing = Packing.begin(tmp_path / "stick")
    packing.add("kit", tmp_path / "a")
    with pytest.raises(CarryRefused, match="holds no"):
        open_carried(tmp_path / "stick")
    packing.finish("alice", 1.0)
    assert [file.file for file in open_carried(tmp_path / "stick").files] == ["a"]
    (tmp_path / "stick" / "kit" / "a").write_text("2")
    with pytest.raises(CarryRefused, match="is not what was packed"):
        open_carried(tmp_path / "stick")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = {"kind": "kit", "file": name, "sha256": "0" * 64, "size": 0}
    index = {"format": 1, "packed_by": "x", "packed_wall_s": 1.0, "files": [file]}
    (tmp_path / "carry.json").write_text(json.dumps(index))
    with pytest.raises(CarryRefused, match="cannot be read"):
        open_carried(tmp_path)
