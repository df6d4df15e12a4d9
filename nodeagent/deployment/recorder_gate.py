"""The recorder gate: the candidate on the node's own last recorded inputs, on its hardware, before the switch.

Candidate and active revision run one after the other over the same rows, each in a limited process beside the running
worker, which is not touched. `judge` is pure; what it finds is kept with the deployment and stands in the ledger.
"""

from __future__ import annotations

import msgspec

from nodeagent.deployment import admission
from nodeagent.deployment.bindings import BindingError
from nodeagent.deployment.preflight import Preflight
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.deployment.transitions import Fence
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import DeploymentState, GateRequest, GateVerdict
from nodeagent.runtime.replay_job import ROWS_MAX, Replayed, replay
from store.node import deployments
from store.node.deployments import Deployment


class RecorderGate:
    """Gates of one node, one at a time."""

    def __init__(self, parts: Parts, preflight: Preflight) -> None:
        self._parts = parts
        self._preflight = preflight
        self._running = ""

    async def run(self, id_: str, actor: str, fence: Fence, request: GateRequest) -> Deployment:
        """Tries a candidate in PREFLIGHT_OK and keeps the verdict. Raises HttpError, Fenced."""
        if not 0 < request.rows <= ROWS_MAX or not 0 <= request.agreement_min <= 1:
            raise HttpError("REQUEST.MALFORMED", f"rows is 1 to {ROWS_MAX}, agreement_min a share from 0 to 1")
        await admission.check_fence(self._parts, actor, fence)
        row = await self._in_preflight_ok(id_)
        if self._running:
            raise HttpError("LIMIT.BUSY", f"the gate of {self._running} is running", "Wait for its end.")
        self._running = id_
        try:
            verdict = await self._verdict(row, request)
        finally:
            self._running = ""
        async with self._parts.rows.lock:
            await self._in_preflight_ok(id_)
            kept = msgspec.to_builtins(verdict)
            stamp = self._parts.standing.stamp(actor)
            return await self._parts.database.write(deployments.set_gate, stamp, id_, kept)

    async def _in_preflight_ok(self, id_: str) -> Deployment:
        row = await self._parts.rows.find(id_)
        if row.state != DeploymentState.PREFLIGHT_OK:
            raise admission.wrong_state(row, "gate")
        return row

    async def _verdict(self, row: Deployment, request: GateRequest) -> GateVerdict:
        try:
            candidate, active = await self._preflight.sides(row)
        except BindingError as error:
            raise HttpError("BINDING.MALFORMED", str(error)) from error
        except UNUSABLE as error:
            raise HttpError("BLOB.MISMATCH", str(error), "Send the bundle's blobs again.") from error
        tried = await replay(candidate, request.rows)
        before = await replay(active, request.rows) if active is not None and not tried.problem else None
        return judge(tried, before, request, config=candidate.pipeline_digest)


def judge(
    tried: Replayed,
    active: Replayed | None,
    request: GateRequest,
    *,
    config: str = "",
    rows: str = "recorded rows",
) -> GateVerdict:
    """The verdict on a candidate; `config` is the digest of its pipeline. What cannot be judged is unknown."""
    if tried.problem:
        return GateVerdict(verdict="unknown", reasons=[tried.problem])
    agreement = tried.agreed / tried.decided if tried.decided else None
    failed = _failures(tried, active, request, agreement)
    unknown = [] if tried.rows >= request.rows_min else [f"{tried.rows} {rows}, {request.rows_min} are needed"]
    known = active if active is not None and not active.problem else None
    if request.latency_ratio_max is not None and known is None:
        unknown.append(f"no latency to compare with: {active.problem if active else 'nothing is active'}")
    return GateVerdict(
        verdict="failed" if failed else "unknown" if unknown else "passed",
        reasons=failed + unknown,
        rows=tried.rows,
        errors=tried.errors,
        first_wall_us=tried.first_wall_us,
        last_wall_us=tried.last_wall_us,
        agreement=agreement,
        active_agreement=known.agreed / known.decided if known and known.decided else None,
        flips=tried.flips,
        score_shift_mean=tried.score_shift_mean,
        score_shift_p95=tried.score_shift_p95,
        score_shift_max=tried.score_shift_max,
        latency_ms_p50=tried.latency_ms_p50,
        latency_ms_p95=tried.latency_ms_p95,
        active_latency_ms_p50=known.latency_ms_p50 if known else None,
        active_latency_ms_p95=known.latency_ms_p95 if known else None,
        worst=tried.worst,
        notes=_notes(tried, config),
        contexts=tried.contexts,
    )


def _failures(tried: Replayed, active: Replayed | None, request: GateRequest, agreement: float | None) -> list[str]:
    found = []
    if tried.errors:
        found.append(f"the model failed on {tried.errors} of {tried.rows} rows")
    if agreement is not None and agreement < request.agreement_min:
        found.append(f"agrees on {agreement:.1%} of the decisions, at least {request.agreement_min:.1%} are wanted")
    shift, p95 = tried.score_shift_mean, tried.latency_ms_p95
    if request.score_shift_max is not None and shift is not None and abs(shift) > request.score_shift_max:
        found.append(f"the mean score moves by {shift:+.4g}, at most {request.score_shift_max:g} is wanted")
    if request.latency_ms_p95_max is not None and p95 is not None and p95 > request.latency_ms_p95_max:
        found.append(f"p95 is {p95:.3g} ms, at most {request.latency_ms_p95_max:g} ms are wanted")
    before = active.latency_ms_p95 if active is not None else None
    most = request.latency_ratio_max
    if most is not None and p95 is not None and before and p95 / before > most:
        found.append(f"p95 is {p95 / before:.2f} times that of the active revision, at most {most:g} is wanted")
    return found


def _notes(tried: Replayed, config: str) -> list[str]:
    if set(tried.configs) - {config}:
        return ["steps of the pipeline differ: the recorded inputs are those of the steps that made them"]
    return []
