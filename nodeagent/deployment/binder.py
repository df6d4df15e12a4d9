"""Changing the node's bindings: a difference, a revision, and a trial for each active bundle that uses a changed name.

Trials run one after the other, since a node has one at a time. Where a trial goes back and nothing was committed under
the new revision, the bindings go back too, as a revision of their own.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping

from nodeagent.deployment import admission, bindings
from nodeagent.deployment.bindings import BindingError
from nodeagent.deployment.deployer import Deployer
from nodeagent.deployment.deployment import FINAL
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.deployment.transitions import Fence, no_fence
from nodeagent.http.message import HttpError
from nodeagent.parts import AGENT, Known, Parts
from nodeagent.protocol import BindAnswer, BindRequest, DeploymentState
from store.node import bindings as revisions
from store.node import revisions as active_rows
from store.node.deployments import Deployment
from store.node.revisions import Revision


@dataclasses.dataclass(frozen=True)
class _Change:
    """One change of bindings under way: `before` is the revision it came from."""

    before: int
    after: int
    plans: tuple[Known, ...]


class Binder:
    """Sets bindings on one node. `own` runs a task to its end and reports what it raises."""

    def __init__(self, parts: Parts, deployer: Deployer, own: Callable[[asyncio.Task[None]], None]) -> None:
        self._parts = parts
        self._deployer = deployer
        self._own = own
        self._lock = asyncio.Lock()
        self._ends: dict[str, asyncio.Event] = {}

    def ended(self, row: Deployment) -> None:
        """A deployment has come to its end."""
        if (event := self._ends.get(row.id)) is not None:
            event.set()

    async def bind(self, request: BindRequest, actor: str, fence: Fence) -> BindAnswer:
        """Sets and unsets over `base_revision`. Answers when the first trial, if any, has begun. Raises HttpError."""
        async with self._lock:
            store = self._parts.bindings
            if request.base_revision != store.revision:
                raise self._stale()
            try:
                new = bindings.merge(store.values, request.set, request.unset)
            except BindingError as error:
                raise HttpError("BINDING.MALFORMED", str(error)) from error
            changes = bindings.shown_diff(store.values, new)
            if request.dry_run or not changes:
                return BindAnswer(revision=store.revision, changes=changes)
            users = await self._users(changes)
            if users:
                admission.check_window(request.window_s)
                admission.admit(self._parts)
                await admission.one_trial(self._parts, None)
            before = store.revision
            try:
                after = await store.set(self._parts.standing.stamp(actor), base_revision=before, new=new, fence=fence)
            except revisions.Stale as error:
                raise self._stale() from error
            plans = tuple(
                Known(f"bind-{after}-{row.bundle}", "binding", row, after, round(request.window_s * 1e6))
                for row in users
            )
            await self._start(_Change(before, after, plans), actor, fence)
            return BindAnswer(revision=after, changes=changes, deployments=[plan.id for plan in plans])

    async def missing(self) -> dict[str, list[str]]:
        """By bundle, the names that it uses and the node does not bind."""
        found: dict[str, list[str]] = {}
        for row in await self._active():
            absent = bindings.missing(await self._names(row), self._parts.bindings.values)
            if absent:
                found[row.bundle] = absent
        return found

    async def in_use(self) -> set[str]:
        """The names that active bundles use."""
        return set().union(*(await self.names_by_bundle()).values())

    async def names_by_bundle(self) -> dict[str, set[str]]:
        """The names that each active bundle uses."""
        return {row.bundle: await self._names(row) for row in await self._active()}

    async def _start(self, change: _Change, actor: str, fence: Fence) -> None:
        if not change.plans:
            return
        first = change.plans[0]
        try:
            await self._deployer.start_known(first, actor, fence)
        except HttpError:
            await self._go_back(change)
            raise
        self._own(asyncio.get_running_loop().create_task(self._go_on(change, actor)))

    async def _go_on(self, change: _Change, actor: str) -> None:
        """The trials after the first, each once the one before it was committed."""
        for number, plan in enumerate(change.plans):
            if number:
                try:
                    await self._deployer.start_known(plan, actor, no_fence)
                except HttpError as error:
                    self._parts.log("error", "bindings", f"{plan.id}: {error.message}")
                    return
            row = await self._ended(plan.id)
            if row.state != DeploymentState.COMMITTED:
                if number == 0:
                    await self._go_back(change)
                return

    async def _ended(self, id_: str) -> Deployment:
        event = self._ends.setdefault(id_, asyncio.Event())
        row = await self._parts.rows.find(id_)
        if row.state not in FINAL:
            await event.wait()
            row = await self._parts.rows.find(id_)
        self._ends.pop(id_, None)
        return row

    async def _go_back(self, change: _Change) -> None:
        """The bindings as they were before, unless somebody has set others meanwhile."""
        store = self._parts.bindings
        if store.revision != change.after:
            return
        before = await store.at(change.before)
        await store.set(self._parts.standing.stamp(AGENT), base_revision=change.after, new=before)

    async def _users(self, changed: Mapping[str, object]) -> list[Revision]:
        return [row for row in await self._active() if changed.keys() & await self._names(row)]

    async def _names(self, row: Revision) -> set[str]:
        try:
            _, facts = await self._parts.activations.facts(row.digest)
        except UNUSABLE:  # a damaged manifest: recovery has reported it, and nothing of it runs
            return set()
        return set(facts.bindings)

    async def _active(self) -> list[Revision]:
        rows = [
            await self._parts.switcher.revision(active.bundle, active.revision)
            for active in await self._parts.database.read(active_rows.all_active)
        ]
        return [row for row in rows if row is not None]

    def _stale(self) -> HttpError:
        text = f"the bindings are at revision {self._parts.bindings.revision}"
        return HttpError("BINDING.STALE", text, "Read them again and make your change on top.")
