"""What a person orders on the command line: out of service, labels, more time for a trial; and under whose name."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from nodeagent.protocol import (
    Deployment,
    DeploymentsPage,
    DeploymentState,
    Lease,
    OutOfService,
    Record,
    SourceAccepted,
    TagMark,
)

Run = Callable[..., Any]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `outstation WORDS` as alice beside the plant; gives (exit code, standard output, standard error)."""

    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["--home", str(tmp_path / "home"), "--operator", "alice", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


async def enrolled(plant: Any, cli: Run) -> Any:
    address = await plant.node("press-07")
    command = ["ssh-keygen", "-lf", str(plant.folder / "press-07.key.pub")]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    words = ["--socket", address.socket, "-i", address.identity_files[0], "--accept", told.stdout.split()[1]]
    where = f"{address.user}@{address.host}:{address.port}"
    code, _, err = await cli("node", "add", "press-07", where, *words, "--ssh-config", "/dev/null")
    assert (code, err) == (0, "")
    return plant.agents["press-07"]


def test_a_node_is_taken_out_of_service_by_name_and_lifted_again(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent, asked = await enrolled(plant, cli), []

        def answer(query: str, body: bytes) -> Any:
            asked.append(msgspec.json.decode(body))
            out = OutOfService(by="alice", reason="bearing change", since_us=1, until_us=2, owner="maria")
            status = agent.status()
            standing = None if asked[-1]["lift"] else out
            return msgspec.structs.replace(
                status, telemetry=msgspec.structs.replace(status.telemetry, out_of_service=standing)
            )

        agent.handle["POST", "/out-of-service"] = answer
        words = ["out-of-service", "press-07", "--owner", "maria", "--reason", "bearing change", "--until", "4h"]
        assert (await cli(*words))[0] == 1
        assert asked == []
        code, out, _ = await cli(*words, "--change", "WO-9", "--yes")
        told = (asked[0]["reason"], asked[0]["owner"], asked[0]["change_number"])
        assert (code, round(asked[0]["hours"], 1), told) == (0, 4.0, ("bearing change", "maria", "WO-9"))
        assert "out of service by alice: bearing change, maria brings it back" in out
        code, out, _ = await cli("back-in-service", "press-07", "--yes")
        assert (code, out, "owner" in asked[1]) == (0, "press-07: in service\n", False)
        words[-1] = "2020-01-01 10:00"
        assert (await cli(*words, "--yes"))[0] == 2, "the end is past"

    in_plant(body)


def test_a_record_is_labelled_without_a_second_step(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent, asked = await enrolled(plant, cli), []
        record = Record(
            key=77, bundle="bearing", revision=3, wall_us=0, source_us=None, latency_us=1, score=0.4, label="wear",
            decision="warn", quality=0, reason="",
        )  # fmt: skip
        agent.handle["POST", "/records/77/label"] = lambda query, body: asked.append(body) or record
        code, out, _ = await cli("label", "press-07", "bearing", "77", "wear", "--note", "opened it")
        assert (code, out) == (0, "press-07: record 77 of bearing is labelled wear\n")
        told = msgspec.json.decode(asked[0])
        assert (told["label"], told["note"], told["node_id"]) == ("wear", "opened it", "id-press-07")

    in_plant(body)


def test_a_trial_gets_more_time_and_only_one_that_runs(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent, asked = await enrolled(plant, cli), []
        trial = Deployment(
            id="d1", bundle="bearing", version="2.2", digest="sha256:" + "0" * 64, state=DeploymentState.TRIAL,
            seconds_left=40.0,
        )  # fmt: skip
        page = [trial]
        agent.handle["GET", "/deployments"] = lambda query, body: DeploymentsPage(deployments=page)
        agent.handle["POST", "/lease"] = lambda query, body: Lease(holder="alice", token=1, seconds_left=60.0)
        agent.handle["POST", "/deployments/d1/extend"] = lambda query, body: (
            asked.append(msgspec.json.decode(body)) or msgspec.structs.replace(trial, seconds_left=1_800.0)
        )
        code, out, _ = await cli("extend", "press-07", "--confirm-within", "30m", "--yes")
        assert (code, asked[0]["window_s"]) == (0, 1_800.0)
        assert "goes back by itself in 30:00 unless confirmed" in out
        code, _, err = await cli("extend", "press-07", "other", "--confirm-within", "30m", "--yes")
        assert code == 1
        assert "no such trial runs" in err
        page.clear()
        assert (await cli("extend", "press-07", "--confirm-within", "30m", "--yes"))[0] == 1
        assert len(asked) == 1

    in_plant(body)


def test_a_replaced_sensor_and_a_changed_device_are_told_to_the_node_with_their_note(in_plant: Any, cli: Run) -> None:
    async def body(plant: Any) -> None:
        agent, asked = await enrolled(plant, cli), []
        mark = TagMark(tag="t_brg", mark="replaced", note="WO-9", by="alice", wall_us=1, bundles=["bearing", "pump"])
        accepted = SourceAccepted(bundle="pump", source="plc", changed="version 1.0 -> 2.0", by="alice")
        agent.handle["POST", "/tags/mark"] = lambda query, body: asked.append(msgspec.json.decode(body)) or mark
        agent.handle["POST", "/sources/accept"] = lambda query, body: (
            asked.append(msgspec.json.decode(body)) or accepted
        )
        code, out, _ = await cli("tag", "mark", "press-07", "t_brg", "replaced", "--note", "WO-9")
        assert code == 0
        assert out.startswith("press-07: t_brg replaced by alice at ")
        assert out.endswith("; drift of bearing, pump begins anew\n")
        code, out, _ = await cli("source", "accept", "press-07", "pump", "plc", "--note", "Sunday")
        assert (code, out) == (0, "press-07: plc of pump accepted by alice: version 1.0 -> 2.0\n")
        assert [each["note"] for each in asked] == ["WO-9", "Sunday"]
        assert {each["node_id"] for each in asked} == {"id-press-07"}

    in_plant(body)
