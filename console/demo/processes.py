"""Child processes of the demo: each dies with the process that started it, and none is left."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_S = 8.0


def _die_with_parent() -> None:
    """Runs in the child before exec: the kernel sends SIGTERM when the parent ends, however it ends (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


async def start(arguments: Sequence[str], *, log: Path, stdout: int | None = None) -> asyncio.subprocess.Process:
    """Starts `python -m ARGUMENTS`; what it prints goes to `log`, its standard output to a pipe where asked."""
    return await spawn([sys.executable, "-m", *arguments], log=log, stdout=stdout)


async def spawn(command: Sequence[str], *, log: Path, stdout: int | None = None) -> asyncio.subprocess.Process:
    """As `start`, for any program."""
    with log.open("ab") as sink:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            preexec_fn=_die_with_parent,
            start_new_session=True,
        )


async def run(arguments: Sequence[str], *, log: Path, timeout_s: float = 60.0) -> None:
    """Runs one to its end; RuntimeError with the end of its log when it fails."""
    process = await start(arguments, log=log)
    try:
        async with asyncio.timeout(timeout_s):
            code = await process.wait()
    finally:
        await stop([process])
    if code != 0:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(arguments[:2])} ended with {code}: {tail.strip()}")


async def stop(processes: Sequence[asyncio.subprocess.Process]) -> None:
    """SIGTERM to all, SIGKILL to those that are still there after STOP_S."""
    alive = [process for process in processes if process.returncode is None]
    for process in alive:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    if not alive:
        return
    _, late = await asyncio.wait([asyncio.ensure_future(process.wait()) for process in alive], timeout=STOP_S)
    if late:
        for process in alive:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await asyncio.wait(late)
