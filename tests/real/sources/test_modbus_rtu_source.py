"""Modbus RTU against libmodbus over a pair of pseudo-terminals that this file joins byte for byte."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeagent.frame import BAD, GOOD, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources.modbus import Modbus, ModbusOptions, Tag
from nodeagent.sources.source import SourceContext

SOURCE = Path(__file__).with_name("modbus_rtu_server.c")


class Line:
    """A serial line with two ends, `near` and `far`, and the server at its far end."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._masters: list[int] = []
        self._slaves: list[int] = []
        for _ in range(2):
            master, slave = pty.openpty()
            tty.setraw(master)
            tty.setraw(slave)
            self._masters.append(master)
            self._slaves.append(slave)
        self.near, self.far = (os.ttyname(slave) for slave in self._slaves)
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._join)
        self._thread.start()
        self._process: subprocess.Popen[bytes] | None = None

    def _join(self) -> None:
        while True:
            ready, _, _ = select.select([*self._masters, self._stop], [], [])
            if self._stop in ready:
                return
            for end in ready:
                os.write(self._masters[1 - self._masters.index(end)], os.read(end, 4096))

    def start(self, *words: str) -> None:
        self._process = subprocess.Popen([self._program, self.far, *words], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

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

    def close(self) -> None:
        self.kill()
        os.write(self._wake, b"x")
        self._thread.join()
        for end in (*self._masters, *self._slaves, self._stop, self._wake):
            os.close(end)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rtu") / "modbus_rtu_server"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=True
    )
    subprocess.run(["gcc", "-O1", str(SOURCE), "-o", str(made), *flags.stdout.split()], check=True)
    return made


@pytest.fixture
def line(program: Path) -> Iterator[Line]:
    made = Line(program)
    yield made
    made.close()


def source(line: Line, context: SourceContext, tags: tuple[Tag, ...]) -> Modbus:
    url = f"rtu://{line.near}?baud=115200&parity=N"
    options = ModbusOptions(url=url, tags=tags, poll=Seconds(0.03), timeout=Seconds(0.3), silence=Seconds(3.0))
    return Modbus("line", options, context)


def floats(*numbers: int, unit_id: int | None = None) -> tuple[Tag, ...]:
    return tuple(
        Tag(name=f"t{at}u{unit_id}", register=f"holding:{2 * at}", type="float32", unit_id=unit_id) for at in numbers
    )


def all_good(frame: Frame) -> bool:
    return bool((frame.quality == GOOD).all())


def all_bad(frame: Frame) -> bool:
    return bool((frame.quality == BAD).all())


def test_blocks_are_read_over_a_serial_line(line: Line, context: SourceContext, watch: Any) -> None:
    line.start()

    async def scenario() -> Frame:
        async with watch(source(line, context, floats(3, 1, 150))) as watched:
            frame: Frame = await watched.until(all_good)
            return frame

    assert asyncio.run(scenario()).values.tolist() == [3, 1, 150]


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_device_that_was_away_is_bad_meanwhile_and_read_again_after(
    line: Line, context: SourceContext, watch: Any, fault: str
) -> None:
    line.start()

    async def scenario() -> None:
        async with watch(source(line, context, floats(0, 1))) as watched:
            await watched.until(all_good)
            if fault == "kill":
                line.kill()
            else:
                line.signal(signal.SIGSTOP)
            await watched.until(all_bad)
            if fault == "kill":
                line.start()
            else:
                line.signal(signal.SIGCONT)
            frame = await watched.until(all_good)
            assert frame.values.tolist() == [0, 1]

    asyncio.run(scenario())


def test_a_unit_that_does_not_answer_is_parked_and_its_neighbour_on_the_line_goes_on(
    line: Line, context: SourceContext, watch: Any
) -> None:
    line.start()

    async def scenario() -> tuple[Frame, list[str]]:
        modbus = source(line, context, (*floats(5), *floats(6, unit_id=9)))
        async with watch(modbus) as watched:
            frame = await watched.until(lambda frame: frame.quality.tolist() == [GOOD, BAD])
            return frame, modbus.bad_items

    frame, listed = asyncio.run(scenario())
    assert frame.values[0] == 5
    assert listed == ["t6u9: no answer: timeout"]


def test_a_line_that_is_not_there_says_so(context: SourceContext, watch: Any) -> None:
    options = ModbusOptions(url="rtu:///dev/no-such-line", tags=floats(0), timeout=Seconds(0.2))

    async def scenario() -> str:
        async with watch(Modbus("line", options, context)) as watched:
            await watched.until(all_bad)
            return str(watched.supervisor.telemetry().reason)

    assert "/dev/no-such-line" in asyncio.run(scenario())


@pytest.mark.parametrize(
    "url", ["rtu://ttyS0", "rtu:///dev/ttyS0?baud=9600&flow=1", "rtu:///dev/ttyS0?parity=X", "udp://x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"rtu|udp"):
        ModbusOptions(url=url, tags=floats(0))
