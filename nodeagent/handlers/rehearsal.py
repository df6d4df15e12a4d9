"""The rehearsal of a cold start: every active bundle, as after a power cut, beside the one that serves."""

from __future__ import annotations

import asyncio
import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.checks.node import REHEARSED
from nodeagent.deployment.bindings import BindingError
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import BundleRehearsal, Rehearsal, RehearseRequest
from nodeagent.runtime.cold_start_job import Rehearsed, rehearse
from store import ledger
from store.node import deployments, revisions
from store.node.revisions import Revision

BUDGET_S_MAX = 300.0


@dataclasses.dataclass(frozen=True)
class RehearsalHandlers:
    """One at a time, and none while a bundle is on trial: both would judge a machine that does two things."""

    parts: Parts
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/rehearse"): self.run}

    async def run(self, call: Call) -> Rehearsal:
        """The verdict is in the ledger before it is answered: the check `cold-start` reads it there."""
        request: RehearseRequest = call.body
        if not 0 < request.budget_s <= BUDGET_S_MAX:
            raise HttpError("REQUEST.MALFORMED", f"budget_s is a number up to {BUDGET_S_MAX:.0f}")
        if self.lock.locked():
            raise HttpError("LIMIT.BUSY", "a rehearsal is running", "Wait for its end.")
        async with self.lock:
            database = self.parts.database
            if (trial := await database.read(deployments.trial)) is not None:
                text = f"{trial.bundle} {trial.version} is on trial"
                raise HttpError("DEPLOYMENT.TRIAL_RUNNING", text, "Confirm it or wait for its end.")
            found = []
            for active in await database.read(revisions.all_active):
                row = await self.parts.switcher.revision(active.bundle, active.revision)
                if row is not None:
                    found.append(_judged(row, await self._try(row), request.budget_s))
            answer = _together(found)
            detail = {"passed": answer.passed, "text": answer.text, "isolated": answer.isolated}
            await database.write(ledger.note, self.parts.standing.stamp(call.actor), REHEARSED, "node", detail)
        return answer

    async def _try(self, row: Revision) -> Rehearsed:
        activations = self.parts.activations
        if not await activations.intact(row.digest, row.signature):
            return Rehearsed(problem="a file of it is damaged on the disk")
        try:
            return await rehearse(await activations.of(row, trial=True))
        except (BindingError, *UNUSABLE) as error:
            return Rehearsed(problem=str(error))


def _judged(row: Revision, found: Rehearsed, budget_s: float) -> BundleRehearsal:
    problem = found.problem
    if not problem and found.first_s is not None and found.first_s > budget_s:
        problem = f"its first prediction took {found.first_s:.1f} s, the budget is {budget_s:g} s"
    return BundleRehearsal(
        bundle=row.bundle,
        version=row.version,
        passed=not problem,
        problem=problem,
        isolated=found.isolated,
        first_s=found.first_s,
        golden_cases=found.golden_cases,
        rows=found.rows,
        agreement=found.agreed / found.decided if found.decided else None,
    )


def _together(found: list[BundleRehearsal]) -> Rehearsal:
    failed = [f"{one.bundle} {one.version}: {one.problem}" for one in found if not one.passed]
    slowest_s = max((one.first_s or 0.0 for one in found), default=0.0)
    well = f"{len(found)} bundle(s) predicted by themselves, the last after {slowest_s:.1f} s"
    text = "; ".join(failed) or (well if found else "no bundle is active: there is nothing to rehearse")
    return Rehearsal(
        passed=bool(found) and not failed,
        text=text,
        isolated=bool(found) and all(one.isolated for one in found),
        bundles=found,
    )
