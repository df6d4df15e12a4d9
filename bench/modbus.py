"""1,000 float32 tags at 10 Hz from a Modbus server that is not ours, beside a bare pymodbus loop over the same blocks.

Ours is the supervised source: one frame a sweep with a time, a quality and a reason for each value. The loop reads
the same 17 blocks, converts the words and does nothing else. Both are CPU of the process, in percent of a core.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
from pymodbus.client import AsyncModbusTcpClient

from bench.row import Row, alternate
from nodeagent.clock import SystemClock
from nodeagent.frame import GOOD, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources.modbus import Modbus, ModbusOptions, Tag
from nodeagent.sources.modbus_link import quiet
from nodeagent.sources.source import SourceContext
from nodeagent.sources.supervise import Supervisor

TAGS, RATE_HZ, SECONDS, PASSES = 1_000, 10, 6.0, 3
BLOCK_REGISTERS = 124
OF_BARE_MAX, CORE_PERCENT_MAX = 1.3, 4.0
Begin = Callable[[], None]
SERVER = Path("tests/real/modbus_server.c")


class _Share:
    """CPU of this process over time since the first `begin`."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        self._began = self._began or (time.process_time(), time.monotonic())

    @property
    def percent(self) -> float:
        """Raises RuntimeError where nothing began."""
        if self._began is None:
            raise RuntimeError("no sweep came")
        return (time.process_time() - self._began[0]) / (time.monotonic() - self._began[1]) * 100


def run() -> list[Row]:
    """Needs gcc and libmodbus (`make servers`)."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        program = _build(Path(name))
        quiet()
        ours, bare = alternate([lambda: _share(program, _ours), lambda: _share(program, _bare)], passes=PASSES)
    what = f"Modbus, {TAGS:,} tags at {RATE_HZ} Hz"
    return [
        Row(
            what, ours.median, "% of a core", "bare pymodbus loop", bare.median, OF_BARE_MAX, less=True, headline=True
        ).of(ours),
        Row(what, ours.median, "% of a core", "budget", CORE_PERCENT_MAX, 1.0, less=True).of(ours),
    ]


def _build(folder: Path) -> Path:
    found = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=True
    )
    program = folder / "modbus_server"
    subprocess.run(["gcc", "-O1", str(SERVER), "-o", str(program), *found.stdout.split()], check=True)
    return program


def _share(program: Path, read: Callable[[int, Begin], Coroutine[Any, Any, int]]) -> float:
    """Percent of a core while `read` runs, from its first sweep on. Raises RuntimeError where sweeps are missing."""
    server = subprocess.Popen([str(program), "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        share = _Share()
        sweeps = asyncio.run(read(port, share.begin))
        percent = share.percent
    finally:
        server.kill()
        server.wait()
    if sweeps < SECONDS * RATE_HZ * 0.8:
        raise RuntimeError(f"{sweeps} sweeps of {SECONDS * RATE_HZ:.0f}: the machine is too busy")
    return percent


async def _ours(port: int, begin: Begin) -> int:
    tags = tuple(Tag(name=f"t{at}", register=f"holding:{2 * at}", type="float32") for at in range(TAGS))
    options = ModbusOptions(
        url=f"tcp://127.0.0.1:{port}",
        tags=tags,
        poll=Seconds(1 / RATE_HZ),
        timeout=Seconds(1.0),
        block_max=BLOCK_REGISTERS,
    )
    good = 0

    def take(frame: Frame) -> None:
        nonlocal good
        begin()
        good += int((frame.quality == GOOD).all())

    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        source = Modbus("plc", options, SourceContext(clock=SystemClock(), work_dir=Path(folder)))
        task = asyncio.create_task(Supervisor(source, take, SystemClock(), jitter=lambda: 0.0).run())
        await asyncio.sleep(SECONDS)
        task.cancel()
        await asyncio.wait([task])
    return good


async def _bare(port: int, begin: Begin) -> int:
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    values = np.empty(TAGS)
    sweeps, end_s = 0, time.monotonic() + SECONDS
    due_s = time.monotonic()
    while time.monotonic() < end_s:
        for first in range(0, 2 * TAGS, BLOCK_REGISTERS):
            count = min(BLOCK_REGISTERS, 2 * TAGS - first)
            answer = await client.read_holding_registers(first, count=count, device_id=1)
            words = np.array(answer.registers, ">u2")
            values[first // 2 : (first + count) // 2] = words.view(">f4")
        assert values[TAGS - 1] == TAGS - 1
        begin()
        sweeps += 1
        due_s = max(due_s + 1 / RATE_HZ, time.monotonic() - 1 / RATE_HZ)
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    client.close()
    return sweeps
