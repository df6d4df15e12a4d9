"""Changing the node's bindings: a difference, a revision, and a trial for each active bundle that uses a changed name.

The revision and its trials are rows of one transaction, and what comes next is read from the rows alone. Trials run one
after the other, since a node has one at a time. Where one is not committed the others are withdrawn, and where none was
the bindings go back too, as a revision of their own. A restart withdraws the trials that had not begun.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Set
from typing import Any, Final

from nodeagent.deployment import admission, bindings, write_conflicts
from nodeagent.deployment.bindings import BindingError
from nodeagent.deployment.deployer import Deployer
from nodeagent.deployment.deployment import FINAL
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.deployment.transitions import Fence, Known, no_fence, stage_known
from nodeagent.http.message import HttpError
from nodeagent.parts import AGENT, Parts
from nodeagent.protocol import BindAnswer, BindRequest, DeploymentState
from store.ledger import Stamp
from store.node import bindings as revisions
from store.node import deployments
from store.node import revisions as active_rows
from store.node.deployments import Deployment
from store.node.revisions import Revision

KIND: Final = "binding"


class Binder:
    """Sets bindings on one node. `own` runs a task to its end and reports what it raises."""

    def __init__(self, parts: Parts, deployer: Deployer, own: Callable[[asyncio.Task[None]], None]) -> None:
        self._parts = parts
        self._deployer = deployer
        self._own = own
        self._lock = asyncio.Lock()

    def ended(self, row: Deployment) -> None:
        """A deployment has come to its end."""
        if row.kind == KIND:
            self._own(asyncio.get_running_loop().create_task(self._after_a_trial(row)))

    async def bind(self, request: BindRequest, actor: str, fence: Fence) -> BindAnswer:
        """Sets and unsets over `base_revision`. Answers when the first trial, if any, has begun. Raises HttpError."""
        return await self._deployer.own(self._bind(request, actor, fence))

    async def recover(self) -> None:
        """At start: trials that had not begun are withdrawn. Raises NotWritable, BindingError."""
        async with self._lock:
            for row in await self._parts.database.read(deployments.open_ones):
                if row.kind == KIND and row.state != DeploymentState.TRIAL:
                    await self._withdraw(row, "the agent was started anew before the trial; bind again")
            await self._go_on()

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

    async def _bind(self, request: BindRequest, actor: str, fence: Fence) -> BindAnswer:
        async with self._lock:
            store = self._parts.bindings
            if request.base_revision != store.revision:
                raise self._stale()
            try:
                new = bindings.merge(store.values, request.set, request.unset)
            except BindingError as error:
                raise HttpError("BINDING.MALFORMED", str(error)) from error
            changes = bindings.shown_diff(store.values, new)
            users = await self._users(new, request.set.keys() | set(request.unset))
            if (failure := await write_conflicts.of_change(self._parts, users, new)) is not None:
                raise HttpError(failure.code, failure.message, failure.hint)
            if request.dry_run or not (changes or users):
                return BindAnswer(revision=store.revision, changes=changes)
            if users:
                admission.check_window(request.window_s)
                admission.admit(self._parts)
                await admission.one_trial(self._parts, None)
            for row in users:
                await self._deployer.must_be_intact(row)
            window_us = round(request.window_s * 1e6)

            def stage(connection: sqlite3.Connection, stamp: Stamp, revision: int) -> None:
                for row in users:
                    plan = Known(f"bind-{revision}-{row.bundle}", KIND, row, revision, window_us)
                    stage_known(connection, stamp, plan)

            stamp = self._parts.standing.stamp(actor)
            try:
                after = await store.set(stamp, base_revision=store.revision, new=new, fence=fence, along=stage)
            except revisions.Stale as error:
                raise self._stale() from error
            rows = await self._parts.database.read(deployments.of_bindings, after)
            if rows:
                await self._begin(rows[0], actor, fence)
            return BindAnswer(revision=after, changes=changes, deployments=[row.id for row in rows])

    async def _begin(self, row: Deployment, actor: str, fence: Fence) -> None:
        """The first trial of a change. Where it cannot begin nothing stays of the change."""
        try:
            await self._deployer.go_on(row, actor, fence)
        except Exception as error:
            await self._withdraw(row, str(error))
            await self._go_on()
            raise

    async def _after_a_trial(self, row: Deployment) -> None:
        async with self._lock:
            if row.binding_revision == self._parts.bindings.revision:
                await self._go_on()

    async def _go_on(self) -> None:
        """What the trials of the current revision call for: the next one, or an end of them, or the way back."""
        rows = await self._parts.database.read(deployments.of_bindings, self._parts.bindings.revision)
        states = {DeploymentState(row.state) for row in rows}
        if DeploymentState.TRIAL in states:
            return
        waiting = [row for row in rows if row.state not in FINAL]
        if states & {DeploymentState.ROLLED_BACK, DeploymentState.REFUSED}:
            for row in waiting:
                await self._withdraw(row, "another trial of these bindings was not committed")
            if DeploymentState.COMMITTED not in states:
                await self._go_back()
        elif waiting:
            try:
                await self._deployer.go_on(waiting[0], waiting[0].actor, no_fence)
            except HttpError as error:
                self._parts.log("error", "bindings", f"{waiting[0].id}: {error.message}")
                await self._withdraw(waiting[0], error.message)

    async def _withdraw(self, row: Deployment, reason: str) -> None:
        """Ends what has not begun; what has begun or ended by itself stays as it is."""
        now = await self._parts.rows.find(row.id)
        if now.state not in FINAL and now.state != DeploymentState.TRIAL:
            await self._deployer.roll_back(row.id, AGENT, no_fence, reason=reason)

    async def _go_back(self) -> None:
        """The bindings as they were before the current revision; never refused, whoever writes what under them."""
        store = self._parts.bindings
        before = await store.at(store.revision - 1)
        await store.set(self._parts.standing.stamp(AGENT), base_revision=store.revision, new=before)

    async def _users(self, new: Mapping[str, Any], named: Set[str]) -> list[Revision]:
        """The active revisions that use one of `named` and run with another value of it."""
        return [row for row in await self._active() if await self._differs(row, new, named)]

    async def _differs(self, row: Revision, new: Mapping[str, Any], named: Set[str]) -> bool:
        try:
            now = await self._parts.bindings.at(row.binding_revision)
        except BindingError:  # it runs with what is not known any more, a lost secret for one
            return bool(named & await self._names(row))
        return any(now.get(name) != new.get(name) for name in named & await self._names(row))

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
