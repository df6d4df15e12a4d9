"""`outstation handover`: what stands is listed with who has it; each is taken by name; what is not reached is said."""

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
from console.cli.handover import handover
from console.cli.person import TerminalPerson
from console.cli.session import Session
from console.client.clocks import Offset
from console.handover import Item, Owed, standing, with_takers
from console.home import Home, row_of
from nodeagent.protocol import (
    Alert,
    AlertState,
    ClockReading,
    Handover,
    HandoverRequest,
    Hold,
    Lease,
    LedgerPage,
    OutOfService,
    SinkTelemetry,
    Status,
    Trial,
)
from store.ledger import GENESIS, Entry


def alert(id_: int, code: str, **more: Any) -> Alert:
    told = {"priority": 2, "state": AlertState.RAISED, "subject": "plc", "message": "m", "advice": "a", "raised_us": 5}
    return Alert(id=id_, code=code, **{**told, **more})


def busy(agent: Any) -> Status:
    """A node on which everything stands that can."""
    status: Status = agent.status()
    (bundle,) = status.telemetry.bundles
    sinks = [
        SinkTelemetry(type="modbus.write", reason="dry run: this deployment is not armed"),
        SinkTelemetry(type="mqtt"),
    ]
    trial = Trial(deployment="dep-2", seconds_left=60.0, window_s=600.0, previous_revision=13)
    telemetry = msgspec.structs.replace(
        status.telemetry,
        bundles=[msgspec.structs.replace(bundle, trial=trial, sinks=sinks)],
        hold=Hold(by="bob", reason="belt\x1b[2J", since_us=7),
        out_of_service=OutOfService(by="bob", reason="gearbox", since_us=8, until_us=status.telemetry.wall_us - 1),
        lease=Lease(holder="bob@laptop", token=3, seconds_left=20.0),
        alerts=[
            alert(1, "SOURCE.SILENT", state=AlertState.SHELVED, shelved_by="bob", shelved_s_left=90.0, note="known"),
            alert(2, "CHANGE.EMERGENCY"),
            alert(3, "HOLD"),
        ],
    )  # fmt: skip
    return msgspec.structs.replace(status, telemetry=telemetry)


def test_everything_that_stands_is_an_item_and_what_runs_out_first_is_on_top(tiny_agent: Any) -> None:
    off, status = Offset(-90.0, 0.01, True), busy(tiny_agent())
    items = standing("n", status, offset=off, upgrade=None, owed=[Owed("r1", "pump 2.0")])
    assert [item.kind for item in items] == [
        "out of service", "lease", "trial", "shelved", "write-back", "hold", "emergency", "owed", "clock",
    ]  # fmt: skip
    assert len({item.name for item in items}) == len(items)
    assert standing("n", tiny_agent().status(), offset=Offset(0.5, 0.01, True), upgrade=None) == []


def test_a_hold_that_is_set_anew_is_not_the_one_that_was_taken_over() -> None:
    def entry(subject: str) -> Entry:
        return Entry(1, "b", 1, 50, "carol", "handover.take", subject, {}, GENESIS, "")

    first, second = Item("n", "hold", "hold since 7", ""), Item("n", "hold", "hold since 99", "")
    taken = with_takers([first, second], [entry("hold since 7")])
    assert [item.taken_by for item in taken] == ["carol", ""]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["--home", str(tmp_path / "home"), "--operator", "alice", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


async def enrolled(plant: Any, folder: Path, name: str) -> Any:
    address = await plant.node(name)
    agent, home = plant.agents[name], Home(folder)
    key = (plant.folder / f"{name}.key.pub").read_text().split()
    with home.open_catalog() as catalog:
        catalog.put_node(row_of(address))
        catalog.learn_node_id(name, agent.node_id)
    with home.known_hosts.open("a") as file:
        file.write(f"[{address.host}]:{address.port} {key[0]} {key[1]}\n")
    agent.handle["GET", "/clock"] = lambda query, body: ClockReading(
        boot_id="b", boottime_us=1, wall_us=time.time_ns() // 1000
    )
    agent.handle["GET", "/ledger"] = lambda query, body: LedgerPage(entries=[], head_seq=0, head_hash=GENESIS)
    return agent


def test_a_shift_is_handed_over_and_the_exit_code_says_what_is_left(
    in_plant: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    async def body(plant: Any) -> None:
        agent = await enrolled(plant, tmp_path / "home", "press-07")
        code, out, _ = await cli("handover")
        assert (code, out) == (0, "nothing stands on 1 node\n")
        agent.handle["GET", "/status"] = lambda query, body: busy(agent)
        code, out, _ = await cli("handover")
        assert code == 1
        assert "belt" in out
        assert "\x1b" not in out
        assert "outstation handover --take YOUR-NAME" in out
        asked: list[HandoverRequest] = []

        def take(query: str, body: bytes) -> Handover:
            asked.append(msgspec.json.decode(body, type=HandoverRequest))
            return Handover(by="carol", items=asked[-1].items)

        agent.handle["POST", "/handover"] = take
        code, out, _ = await cli("handover", "--take", "carol", "--yes", "--note", "told at 14:00", "--json")
        assert (code, {row["by"] for row in json.loads(out)}) == (0, {"carol"})
        assert len(asked) == 7
        assert {request.note for request in asked} == {"told at 14:00"}
        code, out, _ = await cli("handover", "--take", "carol")
        assert (code, len(asked), out.count("NOT taken")) == (1, 7, 7)
        assert (await cli("handover", "--take", "c; rm"))[0] == 2
        await plant.servers["press-07"].unplug()
        code, out, _ = await cli("handover")
        assert (code, "not known what stands there" in out) == (3, True)

    in_plant(body)


def test_only_what_is_typed_is_taken(in_plant: Any, tmp_path: Path) -> None:
    class Typist(TerminalPerson):
        async def typed(self, text: str) -> str:
            return "press-07" if ": hold:" in text else ""

    async def body(plant: Any) -> None:
        agent = await enrolled(plant, tmp_path / "home", "press-07")
        agent.handle["GET", "/status"] = lambda query, body: busy(agent)
        asked: list[str] = []
        agent.handle["POST", "/handover"] = lambda query, body: (
            asked.extend(msgspec.json.decode(body, type=HandoverRequest).items) or Handover(by="carol", items=[])
        )
        session = Session(Home(tmp_path / "home"), "alice", person=Typist(interactive=True))
        try:
            args = type("Args", (), {"nodes": [], "take": "carol", "note": ""})()
            assert await handover(session, args) == 1
        finally:
            session.close()
        assert asked == ["hold since 7"]

    in_plant(body)
