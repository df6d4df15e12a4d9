"""The deployments' rows: one lock round every decision and its commit, so that a confirm and a timer never cross.

Who holds `lock` reads the row, decides, and calls `apply`; when that returns, the row is the answer. What the plant
owes to the transition is done after the lock is given back: the row first, the plant follows.
"""

from __future__ import annotations

import asyncio

from nodeagent.deployment import transitions
from nodeagent.deployment.deployment import TABLE, Event, Transition, TrialFacts
from nodeagent.deployment.transitions import NO_DETAILS, Details, Fence, no_fence
from nodeagent.http.message import HttpError
from nodeagent.protocol import ERRORS, DeploymentState, RollbackReason
from nodeagent.protocol import Deployment as View
from nodeagent.protocol import Error as ErrorView
from nodeagent.state import crashpoints
from nodeagent.state.database import Condition, NodeDatabase, NotWritable
from nodeagent.state.standing import Standing
from store.node import deployments
from store.node.deployments import Deployment


class Rows:
    """The deployments of one node."""

    def __init__(self, database: NodeDatabase, standing: Standing) -> None:
        self.lock = asyncio.Lock()
        self._database = database
        self._standing = standing

    async def find(self, id_: str) -> Deployment:
        """The row; DEPLOYMENT.UNKNOWN where there is none."""
        row = await self._database.read(deployments.get, id_)
        if row is None:
            raise HttpError("DEPLOYMENT.UNKNOWN", f"there is no deployment {id_[:64]}")
        return row

    async def get(self, id_: str) -> Deployment | None:
        return await self._database.read(deployments.get, id_)

    async def apply(
        self, id_: str, event: Event, actor: str, details: Details = NO_DETAILS, fence: Fence = no_fence
    ) -> tuple[Deployment, Transition]:
        """One transition, durable on return. The caller holds `lock`. Raises NotWritable, and as `transitions.write`.

        A transition that ends a trial gives the ballast up where the disk is full: going back must always work.
        """
        crashpoints.reach(f"before:{event.name}")
        try:
            moved = await self._apply(id_, event, actor, details, fence)
        except NotWritable as error:
            if error.condition is not Condition.DISK_FULL or event not in _WAYS_BACK:
                raise
            if not await self._database.release_ballast():
                raise
            moved = await self._apply(id_, event, actor, details, fence)
        crashpoints.reach(f"after:{event.name}")
        return moved

    async def _apply(
        self, id_: str, event: Event, actor: str, details: Details, fence: Fence
    ) -> tuple[Deployment, Transition]:
        stamp = self._standing.stamp(actor)
        return await self._database.write(transitions.write, stamp, id_, event, details, fence)


_WAYS_BACK = frozenset(event for (_, event), row in TABLE.items() if row.state is DeploymentState.ROLLED_BACK)


def trial_facts(row: Deployment) -> TrialFacts | None:
    """What the table needs of a TRIAL row."""
    if row.state != DeploymentState.TRIAL or row.deadline_us is None:
        return None
    return TrialFacts(boot_id=row.boot_id, deadline_us=row.deadline_us, resumes=row.tries)


def view(row: Deployment, *, now_us: int, missing: list[str] | None = None) -> View:
    """The row as the console sees it. `seconds_left` is there in TRIAL only."""
    left_s = None
    if row.state == DeploymentState.TRIAL and row.deadline_us is not None:
        left_s = max(0.0, round((row.deadline_us - now_us) / 1e6, 3))
    error = None
    if row.error_code:
        owner = ERRORS[row.error_code][1] if row.error_code in ERRORS else "outstation"
        error = ErrorView(code=row.error_code, message=row.error_message, hint=row.error_hint, owner=owner)
    return View(
        id=row.id,
        bundle=row.bundle,
        version=row.version,
        digest=row.digest,
        state=DeploymentState(row.state),
        reason=RollbackReason(row.reason) if row.reason else None,
        error=error,
        revision=row.revision,
        previous_revision=row.previous_revision,
        window_s=row.window_us / 1e6,
        seconds_left=left_s,
        missing=missing or [],
        preflight=row.preflight,
        switch_gap_ms=None if row.switch_gap_us is None else row.switch_gap_us / 1e3,
        actor=row.actor,
        created_us=row.created_wall_us,
        changed_us=row.changed_wall_us,
        reachability=row.reachability,
        ended_by=row.ended_by,
    )
