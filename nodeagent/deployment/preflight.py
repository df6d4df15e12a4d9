"""The candidate beside the active revision: loaded, tried with its golden vectors, fed until its windows are full.

STAGED -> PREFLIGHT_OK, or REFUSED where the bundle is at fault. Where the node is (memory, a missing binding), the
deployment stays STAGED and the reason is the answer. It runs outside of the rows' lock, since it may take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from nodeagent.deployment import admission, write_conflicts
from nodeagent.deployment.activations import MissingBindings
from nodeagent.deployment.bindings import BindingError
from nodeagent.deployment.deployment import Event
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.deployment.transitions import Details, Fence
from nodeagent.http.message import HttpError
from nodeagent.parts import AGENT, Parts
from nodeagent.protocol import ERRORS, DeploymentState
from nodeagent.runtime.runtime import Refused
from nodeagent.spec import Activation
from store.node import revisions
from store.node.deployments import Deployment, Failure
from store.node.revisions import Revision

PREPARE_S_MAX = 600.0


class Preflight:
    """Preflights of one node, one at a time. `on_refused` hears of a deployment that this was the end of."""

    def __init__(self, parts: Parts, on_refused: Callable[[Deployment], Awaitable[None]]) -> None:
        self._parts = parts
        self._rows = parts.rows
        self._on_refused = on_refused
        self._running = ""
        self._prepared: dict[str, str] = {}

    async def run(self, row: Deployment, actor: str, fence: Fence, *, allow_gap: bool) -> Deployment:
        """Prepares a STAGED deployment. Raises HttpError where the node, not the bundle, is at fault."""
        await admission.check_fence(self._parts, actor, fence)
        await admission.one_trial(self._parts, row)
        if self._running:
            raise HttpError("LIMIT.BUSY", f"the preflight of {self._running} is running", "Wait for its end.")
        self._running = row.id
        try:
            return await self._prepare(row, actor, allow_gap)
        finally:
            self._running = ""

    def taken(self, row: Deployment) -> None:
        """The candidate of `row` is not a candidate any more."""
        if self._prepared.get(row.bundle) == row.id:
            del self._prepared[row.bundle]

    async def _prepare(self, row: Deployment, actor: str, allow_gap: bool) -> Deployment:
        await self._supersede(row)
        binding_revision = row.binding_revision or self._parts.bindings.revision
        began_s = time.monotonic()
        if (failure := await self._try(row, binding_revision, allow_gap)) is not None:
            return await self._failed(row, actor, failure)
        showed = {"seconds": round(time.monotonic() - began_s, 3), "allow_gap": allow_gap}
        details = Details(preflight=showed, binding_revision=binding_revision)
        async with self._rows.lock:
            now = await self._rows.find(row.id)
            if now.state == DeploymentState.STAGED:
                now, _ = await self._rows.apply(row.id, Event.PREFLIGHT_PASSED, actor, details)
                self._prepared[row.bundle] = row.id
                return now
        await self._parts.runtimes.discard(row.bundle)
        return now

    async def _try(self, row: Deployment, binding_revision: int, allow_gap: bool) -> Failure | None:
        try:
            candidate = await self._candidate(row, binding_revision)
            activation = await self._parts.activations.of(
                candidate, trial=True, previous=await self._active(row.bundle)
            )
            if (failure := await write_conflicts.conflict(self._parts, activation)) is not None:
                return failure
            await self._parts.runtimes.prepare(activation, timeout_s=PREPARE_S_MAX, allow_gap=allow_gap)
        except Refused as error:
            return Failure(error.code, error.message, error.hint)
        except MissingBindings as error:
            hint = f"outstation node bind NODE {' '.join(f'{name}=...' for name in error.names)}"
            return Failure("BINDING.MISSING", str(error), hint)
        except BindingError as error:
            return Failure("BINDING.MALFORMED", str(error))
        except UNUSABLE as error:
            return Failure("BLOB.MISMATCH", str(error), "Send the bundle's blobs again.")
        return None

    async def _failed(self, row: Deployment, actor: str, failure: Failure) -> Deployment:
        """The bundle's fault ends the deployment; any other may be tried again and is raised."""
        fatal = ERRORS[failure.code][1] == "bundle"
        event = Event.PREFLIGHT_FAILED if fatal else Event.PREFLIGHT_DEFERRED
        async with self._rows.lock:
            now = await self._rows.find(row.id)
            if now.state == DeploymentState.STAGED:
                now, _ = await self._rows.apply(row.id, event, actor, Details(failure=failure))
        if not fatal:
            raise HttpError(failure.code, failure.message, failure.hint)
        await self._on_refused(now)
        return now

    async def check_writes(self, row: Deployment) -> None:
        """Raises DEPLOYMENT.WRITE_CONFLICT: another bundle may have become active since the preflight."""
        await self.check_place(await self._candidate(row, row.binding_revision or self._parts.bindings.revision))

    async def check_place(self, candidate: Revision) -> None:
        """Raises DEPLOYMENT.WRITE_CONFLICT where the revision would write what another active bundle writes."""
        try:
            activation = await self._parts.activations.of(candidate, trial=True)
            failure = await write_conflicts.conflict(self._parts, activation)
        except UNUSABLE:  # the preflight or the switch says what is wrong with it
            return
        if failure is not None:
            raise HttpError(failure.code, failure.message, failure.hint)

    async def sides(self, row: Deployment) -> tuple[Activation, Activation | None]:
        """The activations of a candidate and of the active revision, for trying them; neither is started.

        Raises as `Activations.of`.
        """
        candidate = await self._candidate(row, row.binding_revision or self._parts.bindings.revision)
        active = await self._active(row.bundle)
        of = self._parts.activations.of
        return await of(candidate, trial=True, previous=active), await of(active, trial=True) if active else None

    async def _supersede(self, row: Deployment) -> None:
        """A bundle has one candidate: an earlier prepared deployment goes back to STAGED."""
        other = self._prepared.pop(row.bundle, None)
        if other is None or other == row.id:
            return
        async with self._rows.lock:
            now = await self._rows.find(other)
            if now.state == DeploymentState.PREFLIGHT_OK:
                await self._rows.apply(other, Event.CANDIDATE_LOST, AGENT)
        await self._parts.runtimes.discard(row.bundle)

    async def _candidate(self, row: Deployment, binding_revision: int) -> Revision:
        """The revision that the flip will make of it."""
        number = await self._parts.database.read(revisions.next_number, row.bundle)
        return Revision(
            row.bundle,
            number,
            row.version,
            row.digest,
            row.signature,
            row.epoch,
            row.sequence,
            binding_revision,
            row.id,
            0,
        )

    async def _active(self, bundle: str) -> Revision | None:
        active = await self._parts.database.read(revisions.active, bundle)
        return None if active is None else await self._parts.switcher.revision(bundle, active.revision)
