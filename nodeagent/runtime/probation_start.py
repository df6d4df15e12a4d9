"""The supervisor's side of a preflight: starts the process, gives it the activation, ends it in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Final, NamedTuple

import msgspec

from nodeagent.processes.children import WORKER_ENVIRONMENT, describe
from nodeagent.processes.limits import PROBATION_BASE_BYTES
from nodeagent.spec import Activation

CPU_S_MAX: Final = 120
OUTPUT_BYTES_MAX: Final = 64 << 10
TEXT_CHARS_MAX: Final = 500


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a preflight ended. `code` is a key of protocol.ERRORS where it is not `ok`. None: it did not come so far."""

    ok: bool
    code: str = ""
    error: str = ""
    latency_ms: float | None = None
    memory_bytes: int | None = None
    load_ms: float | None = None
    golden_cases: int | None = None
    batch_rows_max: int | None = None


async def probation(activation: Activation, *, wall_s: float, cpu_s: int = CPU_S_MAX) -> Verdict:
    """Loads and tries `activation` in a process with limits. What the model does to that process is the verdict."""
    memory_bytes = PROBATION_BASE_BYTES + activation.peak_memory_bytes
    document = msgspec.json.encode(activation)
    ended = await run_limited(
        "nodeagent.runtime.probation", document, memory_bytes=memory_bytes, cpu_s=cpu_s, wall_s=wall_s
    )
    if ended.status is None:
        return _failed(f"the model was not ready in {wall_s:g} s of trying it alone")
    if ended.status == 0:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(ended.out, type=Verdict)
    return _failed(f"trying the model alone {ended.words}")


class Ended(NamedTuple):
    """How a limited process ended. `status` None: its time was over. `words`: the status and what it said last."""

    status: int | None
    out: bytes
    words: str


async def run_limited(module: str, document: bytes, *, memory_bytes: int, cpu_s: int, wall_s: float) -> Ended:
    """Runs `python -m module` under limits, `document` on its standard input, until it ends or `wall_s` is over."""
    command = [sys.executable, "-m", module, "--parent", str(os.getpid())]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--memory-bytes", str(memory_bytes), "--cpu-s", str(cpu_s)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **WORKER_ENVIRONMENT},
        limit=OUTPUT_BYTES_MAX,
    )
    try:
        async with asyncio.timeout(wall_s):
            out, err = await _talk(process, document)
            status = await process.wait()
    except TimeoutError:
        return Ended(None, b"", f"was not done in {wall_s:g} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    last_words = (err.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
    why = f"ended with {describe(status)}"
    return Ended(status, out, f"{why}: {last_words}" if last_words else why)


async def _talk(process: asyncio.subprocess.Process, document: bytes) -> tuple[bytes, bytes]:
    """Gives the document and takes what is said, at most OUTPUT_BYTES_MAX of each."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(document)
        await process.stdin.drain()
    process.stdin.close()
    return await asyncio.gather(_all(process.stdout), _all(process.stderr))


async def _all(reader: asyncio.StreamReader) -> bytes:
    """Everything up to the end; only the last OUTPUT_BYTES_MAX are kept."""
    kept = b""
    while data := await reader.read(OUTPUT_BYTES_MAX):
        kept = (kept + data)[-OUTPUT_BYTES_MAX:]
    return kept


def _failed(text: str) -> Verdict:
    return Verdict(ok=False, code="DEPLOYMENT.PREFLIGHT", error=text[:TEXT_CHARS_MAX])
