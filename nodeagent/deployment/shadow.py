"""A shadow: the candidate fed live beside the active revision for a stated time, compared, never acted on.

It ends by itself, on CLOCK_BOOTTIME, whether or not a console is there; the candidate then leaves the memory and the
verdict stays with the deployment. Load is shed first where the node gets tight: the feed stops, and goes on from empty
windows when it is calm again; without memory the shadow ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import Any, Final

import msgspec

from nodeagent.deployment import admission
from nodeagent.deployment.deployment import Event
from nodeagent.deployment.preflight import Preflight
from nodeagent.deployment.recorder_gate import judge
from nodeagent.deployment.transitions import Fence
from nodeagent.http.message import HttpError
from nodeagent.parts import AGENT, Parts
from nodeagent.processes.memory import RESERVE_BYTES, available_bytes
from nodeagent.protocol import SHADOW_S_MAX, DeploymentState, GateRequest, ShadowRequest, ShadowVerdict
from nodeagent.protocol import Deployment as View
from nodeagent.runtime.replay_job import Replayed
from nodeagent.runtime.runtime_report import Refused, ShadowStanding
from store.node import deployments
from store.node.deployments import Deployment

TICK_S: Final = 1.0
CALM_S: Final = 10.0
CANDIDATE_WAITING_MAX: Final = 200
ACTIVE_WAITING_MAX: Final = 2_000
_OWN: Final = frozenset({"active", "unpaired", "waiting"})


@dataclasses.dataclass
class Run:
    """The shadow that runs. Times on CLOCK_BOOTTIME."""

    id: str
    bundle: str
    request: ShadowRequest
    begun_us: int
    looked_us: int
    fed: str = ""
    tight: str = ""
    calm_since_us: int = 0
    compared_us: int = 0
    shed_us: int = 0
    ended_by: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def deadline_us(self) -> int:
        return self.begun_us + round(self.request.seconds * 1e6)


def tightness(standing: ShadowStanding) -> str:
    """Why the candidate is not fed now, in words; empty: there is room."""
    if standing.candidate_waiting > CANDIDATE_WAITING_MAX:
        return f"the candidate does not keep up: {standing.candidate_waiting} sweeps wait"
    if standing.active_waiting > ACTIVE_WAITING_MAX:
        return f"{standing.active_waiting} wait in the active worker"
    return ""


def verdict(run: Run, *, running: bool, now_us: int) -> ShadowVerdict:
    """How the candidate does, or did; `unknown` while it runs."""
    figures = run.figures
    tried = msgspec.convert({k: v for k, v in figures.items() if k not in _OWN}, Replayed)
    active = msgspec.convert(figures.get("active", {}), Replayed)
    if not tried.rows:
        why = f"nothing was compared{f': {run.ended_by}' if run.ended_by else ''}"
        tried, active = Replayed(problem="it runs" if running else why), Replayed()
    request = run.request
    asked = GateRequest(
        node_id=request.node_id,
        lease=request.lease,
        rows_min=request.rows_min,
        agreement_min=request.agreement_min,
        score_shift_max=request.score_shift_max,
        latency_ms_p95_max=request.latency_ms_p95_max,
        latency_ratio_max=request.latency_ratio_max,
    )
    judged = judge(tried, active, asked, rows="compared sweeps")
    told = msgspec.structs.asdict(judged) | {"active_agreement": None}
    if running:
        told |= {"verdict": "unknown", "reasons": ["it runs"]}
    elif run.ended_by.startswith("the candidate ended"):
        told |= {"verdict": "failed", "reasons": [run.ended_by, *judged.reasons]}
    notes = list(run.notes) + ([run.ended_by] if run.ended_by else [])
    if run.shed_us:
        notes.append(f"not fed for {run.shed_us / 1e6:.0f} s, to leave room")
    return ShadowVerdict(
        **told | {"notes": notes},
        running=running,
        seconds=request.seconds,
        left_s=max(0.0, (run.deadline_us - now_us) / 1e6) if running else 0.0,
        compared_s=run.compared_us / 1e6,
        shed_s=run.shed_us / 1e6,
        unpaired=int(figures.get("unpaired", 0)),
    )


class Shadows:
    """Shadows of one node, one at a time."""

    def __init__(self, parts: Parts, preflight: Preflight) -> None:
        self._parts = parts
        self._preflight = preflight
        self._run: Run | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self, row: Deployment, actor: str, fence: Fence, request: ShadowRequest) -> None:
        """From PREFLIGHT_OK. `seconds` 0 ends the one that runs. Raises HttpError, Fenced."""
        await admission.check_fence(self._parts, actor, fence)
        if request.seconds == 0:
            await self._end_now(row, actor)
            return
        if not 0 < request.seconds <= SHADOW_S_MAX or not 0 <= request.agreement_min <= 1:
            text = f"seconds is up to {SHADOW_S_MAX}, agreement_min a share from 0 to 1"
            raise HttpError("REQUEST.MALFORMED", text)
        if self._run is not None:
            if self._run.id == row.id:
                return
            raise HttpError("LIMIT.BUSY", f"the shadow of {self._run.id} runs", "Wait for its end, or end it.")
        if row.state != DeploymentState.PREFLIGHT_OK:
            raise admission.wrong_state(row, "a shadow")
        now_us = self._parts.clock.boottime_us()
        run = self._run = Run(row.id, row.bundle, request, now_us, now_us, calm_since_us=now_us)
        try:
            run.fed = await self._parts.runtimes.cast_shadow(row.bundle)
            await self._keep(run, verdict(run, running=True, now_us=now_us), actor)
        except Refused as error:
            self._run = None
            raise HttpError(error.code, error.message, error.hint) from error
        except BaseException:
            self._run = None
            raise
        self._task = asyncio.create_task(self._watch(run), name=f"shadow {row.bundle}")

    async def _end_now(self, row: Deployment, actor: str) -> None:
        if self._run is not None and self._run.id == row.id and self._task is not None:
            self._run.ended_by = f"ended by {actor}"
            await asyncio.wait([self._task])

    def shown(self, found: View) -> View:
        """A deployment with its shadow as it stands now, where one runs, or as one that a restart cut off."""
        kept, run = found.preflight.get("shadow"), self._run
        if run is not None and run.id == found.id:
            now = verdict(run, running=True, now_us=self._parts.clock.boottime_us())
        elif kept is not None and kept.get("running"):
            now = msgspec.convert(kept, ShadowVerdict)
            now = msgspec.structs.replace(now, running=False, left_s=0.0, reasons=["it was cut off before its end"])
        else:
            return found
        return msgspec.structs.replace(found, preflight={**found.preflight, "shadow": msgspec.to_builtins(now)})

    def check_free(self, id_: str) -> None:
        """Raises HttpError while the deployment casts a shadow: its candidate is not to be switched to then."""
        if self._run is not None and self._run.id == id_:
            raise HttpError("DEPLOYMENT.STATE", f"{id_} runs as a shadow", "Wait for its end, or end it.")

    async def close(self) -> None:
        """The agent ends; the candidate ends with its supervisor's next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # ---------------------------------------------------------------- while it runs

    async def _watch(self, run: Run) -> None:
        try:
            while not run.ended_by and self._parts.clock.boottime_us() < run.deadline_us:
                await asyncio.sleep(TICK_S)
                await self._look(run)
                if (await self._parts.rows.find(run.id)).state != DeploymentState.PREFLIGHT_OK:
                    return  # Withdrawn, or another candidate took its place: that tells what became of it.
            await self._finish(run)
        finally:
            if self._run is run:
                self._run = None

    async def _look(self, run: Run) -> None:
        now_us = self._parts.clock.boottime_us()
        passed_us, run.looked_us = now_us - run.looked_us, now_us
        standing = self._parts.runtimes.shadow_standing(run.bundle)
        if standing is None or standing.ended:
            run.ended_by = run.ended_by or f"the candidate ended{f': {standing.ended}' if standing else ''}"
            return
        run.figures = standing.figures or run.figures
        free = available_bytes()
        if free is not None and free < RESERVE_BYTES:
            run.ended_by = f"ended early: {free >> 20} MB of memory were left on the node"
            return
        run.compared_us += passed_us if run.fed else 0
        run.shed_us += 0 if run.fed else passed_us
        await self._shed_or_feed(run, standing, now_us)

    async def _shed_or_feed(self, run: Run, standing: ShadowStanding, now_us: int) -> None:
        tight = tightness(standing)
        if tight:
            run.calm_since_us = now_us
        runtimes = self._parts.runtimes
        try:
            if tight and run.fed:
                self._say(f"{run.bundle}: the shadow is not fed: {tight}")
                run.notes = [*run.notes, f"not fed for a while: {tight}"][-5:]
                run.fed = ""
                await runtimes.shed_shadow(run.bundle)
            elif not run.fed and now_us - run.calm_since_us >= CALM_S * 1e6:
                run.fed = await runtimes.cast_shadow(run.bundle)
            elif run.fed and run.fed != standing.active and standing.active:
                run.fed = await runtimes.cast_shadow(run.bundle)  # The active worker is another one now.
        except Refused as error:
            self._say(f"{run.bundle}: the shadow: {error.message}")

    async def _finish(self, run: Run) -> None:
        """The verdict, then the candidate leaves: PREFLIGHT_OK -> STAGED with what it showed."""
        found = verdict(run, running=False, now_us=self._parts.clock.boottime_us())
        rows = self._parts.rows
        async with rows.lock:
            if (await rows.find(run.id)).state != DeploymentState.PREFLIGHT_OK:
                return
            await self._keep(run, found, AGENT)
            row, _ = await rows.apply(run.id, Event.CANDIDATE_LOST, AGENT)
            self._run = None  # From here on the row tells.
        self._preflight.taken(row)
        await self._parts.runtimes.discard(run.bundle)

    async def _keep(self, run: Run, found: ShadowVerdict, actor: str) -> None:
        stamp, kept = self._parts.standing.stamp(actor), msgspec.to_builtins(found)
        await self._parts.database.write(deployments.set_shadow, stamp, run.id, kept)

    def _say(self, text: str) -> None:
        self._parts.log("warning", "shadow", text)
