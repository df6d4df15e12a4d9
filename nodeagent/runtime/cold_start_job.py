"""What a rehearsal of a cold start is given and what it tells, and its start by the supervisor. No numpy here."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from nodeagent.processes.limits import PROBATION_BASE_BYTES
from nodeagent.runtime.probation_start import CPU_S_MAX, run_limited
from nodeagent.runtime.replay_job import RECORDS_BYTES_MAX
from nodeagent.spec import Activation

MODULE: Final = "nodeagent.runtime.cold_start"
ROWS: Final = 200
WALL_S_MAX: Final = 120.0


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle, started as after a power cut. `problem`: why it did not predict, otherwise empty.

    `isolated`: its process had no network at all; false where the kernel does not allow that, and then no connector was
    opened all the same. `first_s`: from the start of the process to its first prediction.
    """

    problem: str = ""
    isolated: bool = False
    first_s: float | None = None
    golden_cases: int = 0
    rows: int = 0
    decided: int = 0
    agreed: int = 0


async def rehearse(activation: Activation, rows: int = ROWS) -> Rehearsed:
    """Starts the bundle beside itself, with nothing but what is on the disk."""
    job = {"activation": activation, "rows": rows, "began_s": time.clock_gettime(time.CLOCK_BOOTTIME)}
    ended = await run_limited(
        MODULE,
        msgspec.json.encode(job),
        memory_bytes=PROBATION_BASE_BYTES + RECORDS_BYTES_MAX + activation.peak_memory_bytes,
        cpu_s=CPU_S_MAX,
        wall_s=WALL_S_MAX,
    )
    if ended.status != 0:
        return Rehearsed(problem=f"it {ended.words}")
    try:
        return msgspec.json.decode(ended.out, type=Rehearsed)
    except msgspec.DecodeError as error:
        return Rehearsed(problem=f"it said nothing readable: {error}")
