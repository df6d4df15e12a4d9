"""The console's side of the demo's host: starts it, reads its nodes, gives it commands, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_S = 120.0
COMMAND_S = 30.0
STOP_S = 20.0
LOG_TAIL_BYTES = 4_000


class PlantFailed(Exception):
    """The demo's host could not be started or ended by itself; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Plant:
    """A running plant. `nodes` are the host's lines, one a node, as `--serve` prints them."""

    folder: Path
    nodes: tuple[dict[str, Any], ...]
    process: asyncio.subprocess.Process
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def command(self, **words: Any) -> None:
        """Tells the host to do something to the plant, and waits until it is done. Raises PlantFailed."""
        assert self.process.stdin is not None
        async with self.lock:  # each has its answer, whoever else commands meanwhile
            self.process.stdin.write(json.dumps(words).encode() + b"\n")
            await self.process.stdin.drain()
            await _answer(self.process, self.folder, COMMAND_S)


async def _answer(process: asyncio.subprocess.Process, folder: Path, timeout_s: float) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(timeout_s):
        line = await process.stdout.readline()
    if not line:
        raise PlantFailed(_log_tail(folder))
    answer: dict[str, Any] = json.loads(line)
    return answer


def _log_tail(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / "host.log").read_text(errors="replace")[-LOG_TAIL_BYTES:].strip()
    return "the demo's host ended and left no log"


@asynccontextmanager
async def running_plant(folder: Path, *, keep: bool = False) -> AsyncIterator[Plant]:
    """Starts the plant in `folder`, which must not exist, and takes it down; `keep` leaves the folder."""
    folder.mkdir(mode=0o700, parents=True)
    with (folder / "host.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console.demo.host", str(folder), *(["--keep"] if keep else [])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        nodes: list[dict[str, Any]] = []
        async with asyncio.timeout(START_S):
            while not (line := await _answer(process, folder, START_S)).get("ready"):
                nodes.append(line)
        yield Plant(folder, tuple(nodes), process)
    finally:
        await _stop(process)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """The end of its input tells the host to stop; it is killed only if it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
