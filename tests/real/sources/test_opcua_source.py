"""The OPC UA source against node-opcua, which is not its library's server, with the faults that servers have.

node-opcua comes from npm into build/npm, once: about 20 seconds and 70 MB on a new machine.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources.device import accept
from nodeagent.sources.opcua import Opcua
from nodeagent.sources.opcua_options import OpcuaOptions, Security, Tag
from nodeagent.sources.source import SourceContext

ROOT = Path(__file__).parents[3]
SERVER = Path(__file__).with_name("opcua_server.js")
VERSION = "2.182.2"
FLOWING_S = 15.0


@pytest.fixture
def plc(opcua: Any) -> Any:
    """It runs, with three tags."""
    return opcua


def source(plc: Any, context: SourceContext, *names: str, **options: Any) -> Opcua:
    kinds = {names[0]: options.pop("kind", "number")}
    tags = tuple(Tag(name=name, node=f"ns=1;s={name}", kind=kinds.get(name, "number")) for name in names)
    words: dict[str, Any] = {"every": Seconds(0.1), "timeout": Seconds(2.0), "silence": Seconds(2.0), "tags": tags}
    return Opcua("plc", OpcuaOptions(url=f"opc.tcp://127.0.0.1:{plc.port}", **(words | options)), context)


def all_good(frame: Frame) -> bool:
    return bool((frame.quality == GOOD).all())


def all_bad(frame: Frame) -> bool:
    return bool((frame.quality == BAD).all())


@pytest.mark.parametrize("read", ["subscribe", "poll"])
def test_values_and_qualities_arrive_and_what_is_not_there_is_listed(
    plc: Any, context: SourceContext, watch: Any, read: str
) -> None:
    async def scenario() -> tuple[Frame, list[str], set[int]]:
        opcua = source(plc, context, "T1", "T2", "Missing", "Text", "Still", "Bad", read=read)
        async with watch(opcua) as watched:
            frame = await watched.until(lambda frame: frame.quality[[0, 1, 4]].tolist() == [GOOD] * 3)
            listed = opcua.bad_items
            seen = set()
            while seen != {GOOD, UNCERTAIN, BAD}:
                seen.add(int((await watched.until(lambda frame: True)).quality[5]))
            return frame, listed, seen

    frame, listed, _ = asyncio.run(scenario())
    assert frame.values[[0, 1, 4]].round(0).tolist() == [1, 2, 7]
    assert frame.reasons[2] == "BadNodeIdUnknown"
    assert frame.reasons[3] == "not a number: 'idle'"
    assert "Missing: BadNodeIdUnknown" in listed


def first(frame: Frame) -> float:
    assert frame.blob is not None
    return float(frame.blob[0])


@pytest.mark.parametrize("read", ["subscribe", "poll"])
def test_each_waveform_leaves_once_and_in_order_with_the_numbers_beside_it(
    plc: Any, context: SourceContext, watch: Any, read: str
) -> None:
    async def scenario() -> list[Frame]:
        async with watch(source(plc, context, "Wave", "T1", read=read, kind="waveform")) as watched:
            return [await watched.until(all_good) for _ in range(6)]

    frames = asyncio.run(scenario())
    begun = first(frames[0])
    assert [first(frame) - begun for frame in frames] == [0, 4, 8, 12, 16, 20]
    assert {(frame.blob.shape, frame.blob.dtype.name) for frame in frames if frame.blob is not None} == {
        ((2048,), "float32")
    }
    assert {round(float(frame.values[1])) for frame in frames} == {1}


def test_what_is_no_waveform_or_no_image_is_bad_with_what_came_and_one_that_stays_the_same_is_not_new(
    plc: Any, context: SourceContext, watch: Any
) -> None:
    async def reason(name: str, **options: Any) -> str:
        async with watch(source(plc, context, name, **options)) as watched:
            frame = await watched.until(lambda frame: bool(frame.quality[0] == BAD) and "yet" not in frame.reasons[0])
            return str(frame.reasons[0])

    async def scenario() -> tuple[list[str], Frame, Frame]:
        asked = [
            ("Words", "waveform"),
            ("Still", "waveform"),
            ("Wave", "number"),
            ("Wave", "image"),
            ("Nowhere", "image"),
            ("Last", "waveform"),
        ]
        told = await asyncio.gather(*(reason(name, kind=kind) for name, kind in asked))
        async with watch(source(plc, context, "Last", kind="waveform")) as watched:
            last = await watched.until(all_good)
        async with watch(source(plc, context, "Photo", kind="image")) as watched:
            return told, last, await watched.until(all_good)

    told, last, photo = asyncio.run(scenario())
    assert told == [
        "not a waveform: it holds more than numbers",
        "not a waveform but a number",
        "not a number but a list",
        "not an image but a list",
        "BadNodeIdUnknown",
        "nothing new for 2 s",
    ]
    assert last.blob is not None
    assert last.blob.tolist() == [3, 2, 1]
    assert photo.blob is not None
    assert photo.blob.tolist() == [[0, 16], [32, 48]]


def test_a_plant_at_rest_is_not_taken_for_a_dead_connection(plc: Any, context: SourceContext, watch: Any) -> None:
    async def scenario() -> int:
        async with watch(source(plc, context, "Still", silence=Seconds(2.5))) as watched:
            await watched.until(all_good)
            await asyncio.sleep(4.0)
            return int(watched.supervisor.telemetry().drops_total)

    assert asyncio.run(scenario()) == 0


def test_a_probe_lists_the_variables_with_types_values_and_qualities(plc: Any) -> None:
    command = [sys.executable, "-m", "nodeagent", "source", "probe", f"opc.tcp://127.0.0.1:{plc.port}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    rows = {each["row"][0]: each["row"][1:] for each in found if "row" in each}
    assert "product Press" in found[0]["note"]
    assert rows["ns=1;s=Still"] == ["Plant/Still", "Double", "7.0", "Good"]
    assert rows["ns=1;s=Last"] == ["Plant/Last", "Int16[3]", "[3, 2, 1]", "Good"]


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes256Sha256RsaPss"])
@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
def test_signed_and_encrypted_with_a_user(plc: Any, context: SourceContext, watch: Any, policy: Any, mode: Any) -> None:
    security = Security(policy=policy, mode=mode, username="op", password="secret")

    async def scenario() -> None:
        async with watch(source(plc, context, "T0", security=security)) as watched:
            await watched.until(all_good)

    asyncio.run(scenario())


def test_a_wrong_password_is_said_and_the_password_is_not(plc: Any, context: SourceContext, watch: Any) -> None:
    security = Security(policy="Basic256Sha256", username="op", password="guess-7")

    async def scenario() -> str:
        opcua = source(plc, context, "T0", security=security)
        async with watch(opcua) as watched:
            await watched.until(lambda frame: bool(watched.supervisor.telemetry().reason))
            return str(watched.supervisor.telemetry().reason)

    reason = asyncio.run(scenario())
    assert "guess-7" not in reason + repr(security)
    assert reason.startswith("opc.tcp://")


@pytest.mark.parametrize("read", ["subscribe", "poll"])
def test_killed_and_frozen_servers_are_bad_meanwhile_and_data_flows_again(
    plc: Any, context: SourceContext, watch: Any, read: str
) -> None:
    async def scenario() -> None:
        async with watch(source(plc, context, "T0", "T1", read=read)) as watched:
            await watched.until(all_good)
            plc.kill()
            await watched.until(all_bad)
            plc.start("1", plc.folder)  # of the two nodes one is left
            async with asyncio.timeout(FLOWING_S):
                frame = await watched.until(lambda frame: frame.quality[0] == GOOD)
            assert frame.quality[1] == BAD
            plc.signal(signal.SIGSTOP)
            await watched.until(all_bad)
            plc.signal(signal.SIGCONT)
            async with asyncio.timeout(FLOWING_S):
                await watched.until(lambda frame: frame.quality[0] == GOOD)
            plc.kill()

    asyncio.run(scenario())


def test_another_software_version_makes_samples_uncertain_until_a_person_accepts_it(
    plc: Any, context: SourceContext, watch: Any
) -> None:
    async def scenario() -> Frame:
        async with watch(source(plc, context, "T0")) as watched:
            await watched.until(all_good)
            plc.kill()
            plc.start("1", plc.folder, "1.1")
            frame: Frame = await watched.until(lambda frame: "changed" in frame.reasons.get(0, ""))
            accept(context.work_dir, "plc")
            await watched.until(all_good)
            return frame

    assert asyncio.run(scenario()).reasons == {0: "source changed: version 1.0 -> 1.1"}
