"""What a source address has to tell, asked from the node, where the plant's network is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys

import msgspec

from nodeagent.api import Call, Endpoints
from nodeagent.http.message import HttpError
from nodeagent.protocol import Probe, ProbeRequest, ProbeRow

PROBE_S_MAX = 90.0
ANSWER_BYTES_MAX = 4 << 20


@dataclasses.dataclass
class ProbeHandlers:
    """One route. A probe is a short-lived process, one at a time: no library of a connector is loaded here."""

    _lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/sources/probe"): self.probe}

    async def probe(self, call: Call) -> Probe:
        request: ProbeRequest = call.body
        if self._lock.locked():
            raise HttpError("LIMIT.BUSY", "another probe is under way on this node")
        async with self._lock:
            status, answer, words = await _run(_words(request))
        if status:
            raise HttpError("SOURCE.PROBE_FAILED", words[-500:] or f"the probe ended with status {status}")
        try:
            return Probe(rows=[msgspec.json.decode(line, type=ProbeRow) for line in answer.splitlines()])
        except msgspec.DecodeError as error:
            raise HttpError("SOURCE.PROBE_FAILED", f"the probe's answer cannot be read: {error}") from error


def _words(request: ProbeRequest) -> list[str]:
    """The command's options; `=` joins each to its value, so that none is taken for another option."""
    return [
        f"--table={request.table}",
        f"--unit-id={request.unit_id}",
        f"--first={request.first}",
        f"--count={request.count}",
        f"--at={request.at}",
        f"--seconds={request.seconds}",
        "--json",
        "--",
        request.url,
    ]


async def _run(words: list[str]) -> tuple[int, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nodeagent", "source", "probe", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=ANSWER_BYTES_MAX,
    )
    try:
        async with asyncio.timeout(PROBE_S_MAX):
            answer, told = await process.communicate()
    except TimeoutError:
        return -1, b"", f"not done after {PROBE_S_MAX:.0f} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, answer, told.decode("utf-8", "replace").strip()
