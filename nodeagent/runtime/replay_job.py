"""What goes into a replay of recorded inputs and what comes out, and its start by the supervisor. No numpy here."""

from __future__ import annotations

from typing import Final

import msgspec

from nodeagent.processes.limits import PROBATION_BASE_BYTES
from nodeagent.protocol import ContextAgreement, GateRow
from nodeagent.runtime.probation_start import CPU_S_MAX, run_limited
from nodeagent.spec import Activation

REPLAY_MODULE: Final = "nodeagent.runtime.replay"
ROWS_MAX: Final = 20_000
WORST_ROWS: Final = 10
RECORDS_BYTES_MAX: Final = 64 << 20
WALL_S_MAX: Final = 240.0


class ReplayJob(msgspec.Struct, frozen=True, kw_only=True):
    """The activation to try, and how many of the newest recorded inputs it is given."""

    activation: Activation
    rows: int


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """One revision over recorded inputs. `problem`: why nothing could be compared, otherwise empty.

    Shifts are of the score, after minus before; latencies are those of the model and the decision alone.
    """

    problem: str = ""
    rows: int = 0
    errors: int = 0
    decided: int = 0
    agreed: int = 0
    first_wall_us: int | None = None
    last_wall_us: int | None = None
    flips: dict[str, int] = {}
    score_shift_mean: float | None = None
    score_shift_p95: float | None = None
    score_shift_max: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    worst: list[GateRow] = []
    configs: list[str] = []
    contexts: list[ContextAgreement] = []


async def replay(activation: Activation, rows: int) -> Replayed:
    """Runs `activation` over its bundle's newest recorded inputs, in a process with a probation's limits."""
    ended = await run_limited(
        REPLAY_MODULE,
        msgspec.json.encode(ReplayJob(activation=activation, rows=min(rows, ROWS_MAX))),
        memory_bytes=PROBATION_BASE_BYTES + RECORDS_BYTES_MAX + activation.peak_memory_bytes,
        cpu_s=CPU_S_MAX,
        wall_s=WALL_S_MAX,
    )
    if ended.status != 0:
        return Replayed(problem=f"trying {activation.version} on the records {ended.words}")
    try:
        return msgspec.json.decode(ended.out, type=Replayed)
    except msgspec.DecodeError as error:
        return Replayed(problem=f"trying {activation.version} on the records said nothing readable: {error}")
