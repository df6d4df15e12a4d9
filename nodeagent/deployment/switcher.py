"""What the plant owes to a transition, one thing at a time: workers follow the rows, never the other way round.

Each action may be done twice; a restart makes the workers what the rows say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nodeagent.deployment.activations import Activations
from nodeagent.deployment.bindings import BindingError
from nodeagent.deployment.deployment import Action, Transition
from nodeagent.runtime.runtime import Refused, Runtimes
from nodeagent.spec import Activation
from nodeagent.state.database import NodeDatabase
from nodeagent.state.logs import Level
from store import bundle, errors
from store.node import revisions
from store.node.deployments import Deployment
from store.node.revisions import Revision

# What a blob, a manifest or a binding that is not what it was raises while an activation is made of it.
UNUSABLE = (errors.StoreError, OSError, bundle.BundleMalformed, BindingError)


class Switcher:
    """Acts on the workers of one node."""

    def __init__(
        self,
        *,
        runtimes: Runtimes,
        activations: Activations,
        database: NodeDatabase,
        log: Callable[[Level, str, str], object],
    ) -> None:
        self.lock = asyncio.Lock()
        self._runtimes = runtimes
        self._activations = activations
        self._database = database
        self._log = log

    async def act(self, row: Deployment, transition: Transition) -> None:
        """Does all that the transition owes but SWITCH, whose report the deployer wants itself."""
        async with self.lock:
            for action in transition.actions:
                try:
                    await self._do(action, row)
                except Refused as error:
                    self._log("error", "deployer", f"{row.bundle}: {action}: {error.message}")
                except UNUSABLE as error:
                    self._log("error", "deployer", f"{row.bundle}: {action}: {error}")

    async def revision(self, name: str, number: int | None) -> Revision | None:
        """A revision's row; None for no number."""
        if number is None:
            return None
        return await self._database.read(revisions.revision, name, number)

    async def ensure(self, name: str, number: int | None, *, trial: bool, previous: int | None = None) -> None:
        """Makes a revision the one that serves; with None the bundle is stopped, outputs at the safe value."""
        row = await self.revision(name, number)
        if row is None:
            await self._runtimes.stop(name, safe=True)
            return
        before = await self.revision(name, previous)
        await self._runtimes.ensure(await self._activations.of(row, trial=trial, previous=before))

    async def _do(self, action: Action, row: Deployment) -> None:
        name = row.bundle
        match action:
            case Action.ARM:
                await self.arm(row)
            case Action.DISARM:
                self._runtimes.disarm(name)
            case Action.SWITCH_BACK:
                await self._switch_back(row)
            case Action.DISCARD:
                await self._runtimes.discard(name)
            case Action.RETIRE:
                await self._runtimes.retire(name)
            case Action.ARM_OUTPUTS:
                await self._arm_outputs(row)

    async def arm(self, row: Deployment) -> None:
        """Lets the launcher keep the trial's deadline too. The caller holds `lock`."""
        assert row.deadline_us is not None
        await self._runtimes.arm(row.bundle, row.id, row.deadline_us, await self._previous(row))

    async def _switch_back(self, row: Deployment) -> None:
        if row.previous_revision is None:
            await self._runtimes.stop(row.bundle, safe=True)
            return
        report = await self._runtimes.switch_back(row.bundle)
        if report is None or report.to_revision != row.previous_revision:
            await self.ensure(row.bundle, row.previous_revision, trial=False)

    async def _arm_outputs(self, row: Deployment) -> None:
        committed = await self.revision(row.bundle, row.revision)
        assert committed is not None
        await self._runtimes.commit(await self._activations.of(committed, trial=False))

    async def _previous(self, row: Deployment) -> Activation | None:
        before = await self.revision(row.bundle, row.previous_revision)
        return None if before is None else await self._activations.of(before, trial=False)
