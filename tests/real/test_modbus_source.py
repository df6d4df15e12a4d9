"""The Modbus source against a server that is not ours (libmodbus), with the faults that devices have."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodeagent.clock import SystemClock
from nodeagent.frame import BAD, GOOD, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources.modbus import Modbus, ModbusOptions, Tag
from nodeagent.sources.modbus_link import ModbusLink, quiet
from nodeagent.sources.registers import address
from nodeagent.sources.source import SourceContext
from nodeagent.sources.supervise import Supervisor

SOURCE = Path(__file__).with_name("modbus_server.c")
WAIT_S = 20.0


class Plc:
    """The server: started on a free port, or again on the same one; ended by its pid."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> None:
        command = [str(self.program), str(self.port), *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture(scope="module")
def server_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("modbus") / "modbus_server"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=True
    )
    subprocess.run(["gcc", "-O1", str(SOURCE), "-o", str(program), *flags.stdout.split()], check=True)
    return program


@pytest.fixture
def plc(server_program: Path) -> Iterator[Plc]:
    server = Plc(server_program)
    yield server
    server.kill()


def floats(*numbers: int) -> tuple[Tag, ...]:
    return tuple(Tag(name=f"t{number}", register=f"holding:{2 * number}", type="float32") for number in numbers)


def source(plc: Plc, tmp_path: Path, tags: tuple[Tag, ...], **options: Any) -> Modbus:
    words: dict[str, Any] = {"poll": Seconds(0.02), "timeout": Seconds(0.2)} | options
    return Modbus(
        "plc",
        ModbusOptions(url=f"tcp://127.0.0.1:{plc.port}", tags=tags, **words),
        SourceContext(clock=SystemClock(), work_dir=tmp_path),
    )


class Watch:
    """A supervised source and its frames; `until` waits for one that says what it should."""

    def __init__(self, modbus: Modbus) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.supervisor = Supervisor(modbus, self.frames.put_nowait, SystemClock(), jitter=lambda: 0.0)

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self.supervisor.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def until(self, holds: Callable[[Frame], bool]) -> Frame:
        async with asyncio.timeout(WAIT_S):
            while not holds(frame := await self.frames.get()):
                pass
            return frame


def all_good(frame: Frame) -> bool:
    return bool((frame.quality == GOOD).all())


def all_bad(frame: Frame) -> bool:
    return bool((frame.quality == BAD).all())


async def read_once(modbus: Modbus) -> Frame:
    async with Watch(modbus) as watch:
        return await watch.until(lambda frame: True)


def test_values_of_all_four_tables_arrive_in_the_order_of_the_tags(plc: Plc, tmp_path: Path) -> None:
    plc.start()
    tags = (
        *floats(3, 1),
        Tag(name="count", register="input:7", type="uint16", scale=0.1, offset=-100.0),
        Tag(name="pump", register="coil:5"),
        Tag(name="door", register="discrete:4"),
        Tag(name="high_word", register="holding:2.7"),
    )
    frame = asyncio.run(read_once(source(plc, tmp_path, tags)))
    # 1.0 is 3F800000: bit 7 of its high word is set.
    assert frame.names == ("t3", "t1", "count", "pump", "door", "high_word")
    assert np.allclose(frame.values, [3.0, 1.0, 0.7, 1.0, 0.0, 1.0])
    assert all_good(frame)


def test_a_binding_moves_a_tag_to_another_register_with_another_word_order(plc: Plc, tmp_path: Path) -> None:
    plc.start("static")

    async def scenario() -> Frame:
        url = f"tcp://127.0.0.1:{plc.port}"
        link = await ModbusLink.open(url, unit_id=1, timeout_s=1.0)
        await link.write(address("holding:40"), [0x0000, 0x3FC0])  # 1.5, low word first
        link.close()
        moved = source(plc, tmp_path, floats(1), registers={"t1": "holding:40"}, orders={"t1": "CDAB"})
        return await read_once(moved)

    assert asyncio.run(scenario()).values.tolist() == [1.5]


def test_after_the_plc_was_killed_and_started_again_data_flows_and_the_gap_is_bad(plc: Plc, tmp_path: Path) -> None:
    plc.start()

    async def scenario() -> tuple[Frame, int]:
        async with Watch(source(plc, tmp_path, floats(0, 1))) as watch:
            await watch.until(all_good)
            plc.kill()
            gap = await watch.until(all_bad)
            plc.start()
            await watch.until(all_good)
            return gap, watch.supervisor.telemetry().drops_total

    gap, drops = asyncio.run(scenario())
    assert "no data" in gap.reasons[0]
    assert drops >= 1


def test_a_plc_that_starts_after_the_agent_is_found(plc: Plc, tmp_path: Path) -> None:
    plc.start()
    plc.kill()

    async def scenario() -> str:
        async with Watch(source(plc, tmp_path, floats(0))) as watch:
            await watch.until(all_bad)
            state = watch.supervisor.telemetry().state
            plc.start()
            await watch.until(all_good)
            return state

    assert asyncio.run(scenario()) == "silent"


def test_a_frozen_plc_is_bad_while_it_is_frozen_and_good_after_it(plc: Plc, tmp_path: Path) -> None:
    plc.start()

    async def scenario() -> None:
        async with Watch(source(plc, tmp_path, floats(0, 40))) as watch:
            await watch.until(all_good)
            plc.signal(signal.SIGSTOP)
            await watch.until(all_bad)
            plc.signal(signal.SIGCONT)
            await watch.until(all_good)
            assert watch.supervisor.source.bad_items == []

    asyncio.run(scenario())


def test_a_plc_that_drops_every_seventh_request_costs_no_value(plc: Plc, tmp_path: Path) -> None:
    plc.start("drop=7")

    async def scenario() -> tuple[list[Frame], int]:
        async with Watch(source(plc, tmp_path, floats(0, 40, 80), poll=Seconds(0.005))) as watch:
            frames = [await watch.until(lambda frame: True) for _ in range(40)]
            return frames, watch.supervisor.telemetry().drops_total

    frames, drops = asyncio.run(scenario())
    assert all(all_good(frame) for frame in frames)
    assert all(frame.values.tolist() == [0.0, 40.0, 80.0] for frame in frames)
    assert drops >= 10


def test_an_exception_that_passes_is_asked_again_at_once(plc: Plc, tmp_path: Path) -> None:
    plc.start("exception=5", "code=6")

    async def scenario() -> list[Frame]:
        async with Watch(source(plc, tmp_path, floats(0, 40), poll=Seconds(0.005))) as watch:
            return [await watch.until(lambda frame: True) for _ in range(20)]

    assert all(all_good(frame) for frame in asyncio.run(scenario()))


def test_one_register_that_does_not_exist_is_listed_and_the_rest_of_its_block_goes_on(plc: Plc, tmp_path: Path) -> None:
    plc.start("limit=20")

    async def scenario() -> tuple[Frame, list[str], int]:
        modbus = source(plc, tmp_path, floats(7, 8, 9, 10))
        async with Watch(modbus) as watch:
            frame = await watch.until(lambda frame: True)
            later = await watch.until(lambda frame: True)
            assert later.quality.tolist() == frame.quality.tolist()
            return frame, modbus.bad_items, watch.supervisor.telemetry().drops_total

    frame, bad, drops = asyncio.run(scenario())
    assert frame.quality.tolist() == [GOOD, GOOD, GOOD, BAD]
    assert frame.reasons == {3: "exception 2: illegal data address"}
    assert bad == ["t10: exception 2: illegal data address"]
    assert drops == 0


def test_a_block_that_is_never_answered_is_parked_and_the_others_go_on(plc: Plc, tmp_path: Path) -> None:
    plc.start("mute=80")

    async def scenario() -> tuple[Frame, list[str]]:
        modbus = source(plc, tmp_path, floats(0, 40), timeout=Seconds(0.1))
        async with Watch(modbus) as watch:
            frame = await watch.until(lambda frame: frame.quality.tolist() == [GOOD, BAD])
            return frame, modbus.bad_items

    frame, bad = asyncio.run(scenario())
    assert frame.reasons == {1: "no answer: timeout"}
    assert bad == ["t40: no answer: timeout"]


def test_a_device_that_accepts_and_never_answers_is_not_taken_for_a_bad_item(plc: Plc, tmp_path: Path) -> None:
    plc.start("frozen-from=1")

    async def scenario() -> tuple[Frame, list[str]]:
        modbus = source(plc, tmp_path, floats(0, 40), timeout=Seconds(0.05))
        async with Watch(modbus) as watch:
            return await watch.until(all_bad), modbus.bad_items

    frame, bad = asyncio.run(scenario())
    assert "no answer" in frame.reasons[0]
    assert bad == []


def test_the_library_writes_no_log_lines_and_they_are_counted(
    plc: Plc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plc.start("frozen-from=1")
    before = quiet().count

    async def scenario() -> None:
        async with Watch(source(plc, tmp_path, floats(0), timeout=Seconds(0.05))) as watch:
            await watch.until(all_bad)

    asyncio.run(scenario())
    assert quiet().count > before
    assert not [record for record in caplog.records if record.name.startswith("pymodbus")]
