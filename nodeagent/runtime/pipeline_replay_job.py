"""What goes into a replay of sweeps through an edited pipeline, and its start by the supervisor. No numpy here."""

from __future__ import annotations

from typing import Final

import msgspec

from nodeagent.processes.limits import PROBATION_BASE_BYTES
from nodeagent.protocol import PipelineReplay
from nodeagent.runtime.probation_start import CPU_S_MAX, run_limited
from nodeagent.spec import Activation

MODULE: Final = "nodeagent.runtime.pipeline_replay"
SWEEPS_BYTES_MAX: Final = 64 << 20
WALL_S_MAX: Final = 60.0


class PipelineReplayJob(msgspec.Struct, frozen=True, kw_only=True):
    """The running activation, the text of the edited pipeline, the file of sweeps."""

    activation: Activation
    pipeline: str
    sweeps: str


async def replay(job: PipelineReplayJob) -> PipelineReplay:
    """Runs both pipelines over the sweeps in a process with a probation's limits. Nothing running is touched."""
    ended = await run_limited(
        MODULE,
        msgspec.json.encode(job),
        memory_bytes=PROBATION_BASE_BYTES + SWEEPS_BYTES_MAX + job.activation.peak_memory_bytes,
        cpu_s=CPU_S_MAX,
        wall_s=WALL_S_MAX,
    )
    if ended.status != 0:
        return PipelineReplay(problem=f"trying the pipeline {ended.words}")
    try:
        return msgspec.json.decode(ended.out, type=PipelineReplay)
    except msgspec.DecodeError as error:
        return PipelineReplay(problem=f"trying the pipeline said nothing readable: {error}")
