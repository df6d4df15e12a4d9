"""`outstation check` and `clock` as a person runs them."""

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
from console.home import Home, row_of
from nodeagent.protocol import Check, ClockReading, ClockRequest, ClockSet, Lease

Run = Callable[..., Any]
WELL = [Check(name="disk", verdict="ok", text="80 % free")]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["--home", str(tmp_path / "home"), "--operator", "alice", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


async def enrolled(plant: Any, name: str, tmp_path: Path, ahead_s: float = 0.0) -> Any:
    """A node that this console knows, its host key pinned."""
    address = await plant.node(name)
    home = Home(tmp_path / "home")
    with home.open_catalog() as catalog:
        catalog.put_node(row_of(address))
    public = " ".join((plant.folder / f"{name}.key.pub").read_text().split()[:2])
    with home.known_hosts.open("a") as file:
        file.write(f"[{address.host}]:{address.port} {public}\n")
    agent = plant.agents[name]

    def clock(query: str, body: bytes) -> ClockReading:
        return ClockReading(boot_id="b", boottime_us=1, wall_us=round((time.time() + ahead_s) * 1e6), may_set=True)

    agent.handle["GET", "/clock"] = clock
    agent.handle["GET", "/checks"] = lambda query, body: WELL
    return agent


def test_one_line_a_check_worst_first_each_with_its_advice(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        agent = await enrolled(plant, "press-07", tmp_path)
        assert (await cli("check"))[0] == 0
        ill = Check(name="database", verdict="bad", text="read-only", advice="Look at the disk.")
        agent.handle["GET", "/checks"] = lambda query, body: [*WELL, ill]
        code, out, _ = await cli("check", "press-07")
        lines = out.splitlines()
        assert code == 1
        assert lines[0].startswith("press-07: 1 bad")
        assert lines[1].split()[:2] in (["■", "database"], ["X", "database"])
        assert lines[2].strip() == "> Look at the disk."
        assert any(line.split()[1] == "link" for line in lines[3:])

    in_plant(body)


def test_a_node_that_is_not_reached_is_exit_code_3_and_the_others_are_told(
    in_plant: Any, cli: Run, tmp_path: Path
) -> None:
    async def body(plant: Any) -> None:
        await enrolled(plant, "press-07", tmp_path)
        await enrolled(plant, "press-08", tmp_path)
        await plant.servers["press-08"].unplug()
        code, out, _ = await cli("check", "--json")
        assert code == 3
        told = {each["node"]: each["reached"] for each in json.loads(out)}
        assert told == {"press-07": True, "press-08": False}

    in_plant(body)


def test_a_clock_that_is_off_is_told_with_its_error_and_set(in_plant: Any, cli: Run, tmp_path: Path) -> None:
    async def body(plant: Any) -> None:
        agent = await enrolled(plant, "press-07", tmp_path, ahead_s=-86_400.0)
        code, out, _ = await cli("check", "press-07", "--json")
        found = {check["name"]: check for check in json.loads(out)[0]["checks"]}
        assert (code, found["offset"]["verdict"]) == (0, "warn")
        assert found["offset"]["text"].startswith("-86400.0")
        assert found["offset"]["advice"].startswith("`outstation clock set press-07`")
        asked: list[ClockRequest] = []

        def take(query: str, body: bytes) -> ClockSet:
            asked.append(msgspec.json.decode(body, type=ClockRequest))
            return ClockSet(before_us=1, moved_us=86_400_000_000, error_us=asked[0].error_us, was_set=True)

        agent.handle["POST", "/clock"] = take
        agent.handle["POST", "/lease"] = lambda query, body: Lease(holder="alice", token=4, seconds_left=60.0)
        code, out, err = await cli("clock", "set", "press-07", "--yes")
        assert (code, err) == (0, "")
        assert "moved by +86400.000 s" in out
        assert (asked[0].set, asked[0].lease) == (True, 4)
        assert abs(asked[0].wall_us / 1e6 - time.time()) < 60

    in_plant(body)
