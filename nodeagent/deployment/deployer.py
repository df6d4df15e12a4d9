"""Deployments on this node, done: each method is one request, decided by the table, saved, then acted on.

A request that its client gave up on still runs to its end, since a transition that is committed owes its actions.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from nodeagent.deployment import admission
from nodeagent.deployment.deployment import FINAL, Event
from nodeagent.deployment.preflight import Preflight
from nodeagent.deployment.recorder_gate import RecorderGate
from nodeagent.deployment.rows import view
from nodeagent.deployment.shadow import Shadows
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.deployment.transitions import Details, Fence, Known, stage_known
from nodeagent.deployment.trial import Trial
from nodeagent.health.alerts import Condition
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import Deployment as View
from nodeagent.protocol import DeploymentState, GateRequest, HostHealth, ShadowRequest, StageRequest
from store.node.deployments import Deployment, Failure
from store.node.revisions import Revision

T = TypeVar("T")


class Deployer:
    """The deployments of one node. `on_alert` hears of trials that went back by themselves, `on_final` of every end."""

    def __init__(
        self,
        parts: Parts,
        *,
        on_alert: Callable[[Condition], Awaitable[None]],
        on_final: Callable[[Deployment], Awaitable[None]],
    ) -> None:
        self._parts = parts
        self._rows = parts.rows
        self._on_final = on_final
        self.trial = Trial(parts)
        self.trial.on_alert, self.trial.on_final = on_alert, on_final
        self.preflights = Preflight(parts, on_final)
        self.trial.check_writes = self.preflights.check_writes
        self.recorder_gate = RecorderGate(parts, self.preflights)
        self.shadows = Shadows(parts, self.preflights)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def stage(self, request: StageRequest, actor: str, fence: Fence) -> View:
        """Takes a bundle in as far as its blobs are here; the same id again goes on."""
        admission.check_window(request.window_s)
        admission.admit(self._parts)
        return await self.own(self._parts.staging.stage(request, actor, fence))

    async def show(self, id_: str) -> View:
        """One deployment, with what it still waits for. DEPLOYMENT.UNKNOWN."""
        row = await self._rows.get(id_)
        if row is not None:
            return await self.view(row)
        if (pending := self._parts.staging.pending_view(id_)) is not None:
            return pending
        raise HttpError("DEPLOYMENT.UNKNOWN", f"there is no deployment {id_[:64]}")

    async def view(self, row: Deployment) -> View:
        """The row as the console sees it."""
        missing: list[str] = []
        if row.state == DeploymentState.RECEIVING:
            try:
                needs = await self._parts.activations.blobs_of(row.digest, row.signature)
            except UNUSABLE:  # what the manifest names is not known while it is missing itself
                needs = set()
            missing = self._parts.staging.missing_of(row, needs)
        found = view(row, now_us=self._parts.clock.boottime_us(), missing=missing)
        return self.shadows.shown(found)

    async def preflight(self, id_: str, actor: str, fence: Fence, *, allow_gap: bool) -> View:
        """STAGED -> PREFLIGHT_OK. A repeat is answered with the row as it stands."""
        admission.admit(self._parts)
        return await self.own(self._preflight(id_, actor, fence, allow_gap))

    async def gate(self, id_: str, actor: str, fence: Fence, request: GateRequest) -> View:
        """PREFLIGHT_OK stays that, with the verdict on the candidate over the node's own records kept with it."""

        async def gate() -> View:
            return await self.view(await self.recorder_gate.run(id_, actor, fence, request))

        return await self.own(gate())

    async def shadow(self, id_: str, actor: str, fence: Fence, request: ShadowRequest) -> View:
        """The candidate of PREFLIGHT_OK, fed live and compared for a stated time; it is STAGED again at the end."""

        async def shadow() -> View:
            await self.shadows.begin(await self._rows.find(id_), actor, fence, request)
            return await self.view(await self._rows.find(id_))

        return await self.own(shadow())

    async def activate(self, id_: str, actor: str, fence: Fence) -> View:
        """PREFLIGHT_OK -> TRIAL; answers when the plant is with the new revision."""
        admission.admit(self._parts)
        self.shadows.check_free(id_)

        async def activate() -> View:
            row = await self.trial.activate(id_, actor, fence)
            self.preflights.taken(row)
            return await self.view(row)

        return await self.own(activate())

    async def confirm(self, id_: str, actor: str, fence: Fence, *, peer_pid: int) -> View:
        """TRIAL -> COMMITTED, by a login newer than the flip."""

        async def confirm() -> View:
            return await self.view(await self.trial.confirm(id_, actor, fence, peer_pid=peer_pid))

        return await self.own(confirm())

    async def extend(self, id_: str, actor: str, fence: Fence, *, window_s: float) -> View:
        """A new window from now; only while the trial runs."""
        admission.check_window(window_s)

        async def extend() -> View:
            return await self.view(await self.trial.extend(id_, actor, fence, window_s=window_s))

        return await self.own(extend())

    async def roll_back(self, id_: str, actor: str, fence: Fence, *, reason: str) -> View:
        """Ends a trial (REVERTED), or withdraws what had not come so far (REFUSED).

        Going back is always allowed: what refuses a change (`admission.admit`, a place that another bundle writes, the
        change policy) is not asked here, nor where a trial ends by itself.
        """
        return await self.own(self._roll_back(id_, actor, fence, reason))

    async def start_known(self, plan: Known, actor: str, fence: Fence) -> View:
        """A deployment of what the node has already (a revert, new bindings): staged, tried, activated in one go."""
        admission.check_window(plan.window_us / 1e6)
        admission.admit(self._parts)
        return await self.own(self._start_known(plan, actor, fence))

    async def go_on(self, row: Deployment, actor: str, fence: Fence) -> View:
        """Preflight and activation of what is staged, in one go."""
        admission.admit(self._parts)
        return await self.own(self._go_on(row, actor, fence))

    async def must_be_intact(self, known: Revision) -> None:
        """Raises BLOB.MISMATCH where a blob of a revision that the node has is not its digest any more."""
        if not await self._parts.activations.intact(known.digest, known.signature):
            text = f"{known.bundle} r{known.revision} is damaged on the disk"
            raise HttpError("BLOB.MISMATCH", text, "Deploy the bundle again.")

    async def own(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs to the end whoever stops waiting for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def tick(self, host: HostHealth) -> None:
        """Lets a trial end that is over."""
        await self.own(self.trial.tick(host))

    async def close(self) -> None:
        """Waits for what is under way; a shadow ends with the agent."""
        await self.shadows.close()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _preflight(self, id_: str, actor: str, fence: Fence, allow_gap: bool) -> View:
        row = await self._rows.find(id_)
        if row.state == DeploymentState.RECEIVING:
            missing = (await self.view(row)).missing
            if missing:
                text = f"{len(missing)} blobs are missing"
                raise HttpError("DEPLOYMENT.MISSING_BLOBS", text, "Send them and stage again.")
        if row.state == DeploymentState.STAGED:
            row = await self.preflights.run(row, actor, fence, allow_gap=allow_gap)
        elif row.state == DeploymentState.RECEIVING or row.state in FINAL - {DeploymentState.REFUSED}:
            raise admission.wrong_state(row, "a preflight")
        return await self.view(row)

    async def _roll_back(self, id_: str, actor: str, fence: Fence, reason: str) -> View:
        async with self._rows.lock:
            row = await self._rows.find(id_)
            if row.state in (DeploymentState.ROLLED_BACK, DeploymentState.REFUSED):
                return await self.view(row)
            if row.state == DeploymentState.COMMITTED:
                text = f"{id_} is permanent since its confirm"
                raise HttpError("DEPLOYMENT.STATE", text, "Revert the bundle: that is a new trial of the previous one.")
            in_trial = row.state == DeploymentState.TRIAL
            failure = Failure("", f"{actor}: {reason}" if reason else f"by {actor}")
            event = Event.REVERTED if in_trial else Event.WITHDRAWN
            row, transition = await self._rows.apply(id_, event, actor, Details(failure=failure), fence)
        if in_trial:
            await self.trial.after_end(row, transition)
        else:
            self.preflights.taken(row)
            await self._parts.switcher.act(row, transition)
            await self._on_final(row)
        return await self.view(row)

    async def _start_known(self, plan: Known, actor: str, fence: Fence) -> View:
        row = await self._rows.get(plan.id)
        if row is None:
            await self.preflights.check_place(plan.revision._replace(binding_revision=plan.binding_revision))
            row = await self._stage_known(plan, actor, fence)
        return await self._go_on(row, actor, fence)

    async def _go_on(self, row: Deployment, actor: str, fence: Fence) -> View:
        if row.state == DeploymentState.STAGED:
            row = await self.preflights.run(row, actor, fence, allow_gap=False)
        if row.state == DeploymentState.PREFLIGHT_OK:
            row = await self.trial.activate(row.id, actor, fence)
            self.preflights.taken(row)
        return await self.view(row)

    async def _stage_known(self, plan: Known, actor: str, fence: Fence) -> Deployment:
        await admission.check_fence(self._parts, actor, fence)
        await admission.one_trial(self._parts, None)
        await self.must_be_intact(plan.revision)
        stamp = self._parts.standing.stamp(actor)

        def stage(connection: sqlite3.Connection) -> Deployment:
            fence(connection, stamp)
            return stage_known(connection, stamp, plan)

        async with self._rows.lock:
            return await self._parts.database.write(stage)
