"""A PLC that is not ours (libmodbus), started and started again on one port; what a sink is given."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeagent.clock import SystemClock
from nodeagent.pipeline.outcome import Outcome
from nodeagent.sinks.sink import SinkContext
from nodeagent.sources.modbus_link import ModbusLink
from nodeagent.sources.registers import Block, address

SOURCE = Path(__file__).parents[1] / "modbus_server.c"
WAIT_S = 20.0


class Plc:
    """Registers begin at 0 and keep what was written."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, *words: str) -> None:
        command = [str(self.program), str(self.port), "static", *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    async def register(self, number: int) -> int:
        link = await ModbusLink.open(self.url, unit_id=1, timeout_s=2.0)
        try:
            return int((await link.read(Block("holding", number, 1, (0,))))[0])
        finally:
            link.close()

    async def write(self, number: int, value: int) -> None:
        link = await ModbusLink.open(self.url, unit_id=1, timeout_s=2.0)
        try:
            await link.write(address(f"holding:{number}"), [value])
        finally:
            link.close()


@pytest.fixture(scope="session")
def plc_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("modbus") / "modbus_server"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=True
    )
    subprocess.run(["gcc", "-O1", str(SOURCE), "-o", str(program), *flags.stdout.split()], check=True)
    return program


@pytest.fixture
def plc(plc_program: Path) -> Iterator[Plc]:
    """Not started yet."""
    plc = Plc(plc_program)
    yield plc
    plc.kill()


@pytest.fixture
def context_of(tmp_path: Path) -> Callable[..., SinkContext]:
    def make(**change: Any) -> SinkContext:
        plain: dict[str, Any] = {
            "clock": SystemClock(),
            "node_id": "node-7",
            "bundle": "pump-health",
            "pipeline": "pump",
            "asset": "plant/pump",
            "revision": 3,
            "digest": "sha256:0",
            "work_dir": tmp_path,
        }
        return SinkContext(**(plain | change))

    return make


@pytest.fixture
def outcome_of() -> Callable[..., Outcome]:
    def make(decision: str = "normal", score: float | None = 0.5, **change: Any) -> Outcome:
        plain = Outcome(1, 1, 10, score, "", decision, 0, "", None, None, decision == "alarm")
        return plain._replace(**change)

    return make


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for something to be true; what it says may be awaited."""

    async def wait(check: Callable[[], Any], what: str) -> Any:
        async with asyncio.timeout(WAIT_S):
            while True:
                found = check()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)
        raise AssertionError(what)

    return wait
