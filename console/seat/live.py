"""What screens start, over the live links: the same core as the command line, errors as the app shows them.

The catalog is used in one thread of its own. Changes need OPERATE and go over its lane; hold, acknowledge and label
do not.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from console.client.clean import clean
from console.delivery import deploy as flow
from console.delivery.deploy import DeployFailed, Progress, Reach
from console.delivery.gate import GateOrder
from console.delivery.lane import OperateLane
from console.failure import EXPECTED, Failure
from console.fleet.checks import Checked, check_node
from console.fleet.fleet import LiveFleet
from console.fleet.view import LinkState
from console.home import Home
from console.rollout.desk import LiveDesk, Order
from console.rollout.presets import PolicyEntry
from console.rollout.report import Report
from console.rollout.terms import PlanTerms
from console.seat.live_shelf import LiveShelf
from console.seat.operations import TREND_POINTS, BundleEntry, OnStep, OperationFailed, Step
from console.seat.prompts import Prompter
from console.transfer.ready import make_shipping
from nodeagent.protocol import (
    Alert,
    AlertRules,
    Deployment,
    DeploymentState,
    LogsPage,
    Passport,
    RecordsPage,
    ReviewQueue,
    Tap,
    Trend,
)
from store.archive import Archive, read_archive
from store.catalog import BundleRow, Catalog, DeploymentRow

T = TypeVar("T")
FINAL = {DeploymentState.COMMITTED, DeploymentState.ROLLED_BACK, DeploymentState.REFUSED}


class LiveOperations(LiveShelf):
    """`console.seat.operations.Operations` over a fleet's links."""

    def __init__(self, fleet: LiveFleet, catalog: Path, *, operator: str, prompter: Prompter | None = None) -> None:
        super().__init__(fleet, catalog, operator=operator, prompter=prompter)
        self._lane: OperateLane | None = None
        self._desk = LiveDesk(catalog.parent, operator=operator)
        self._home = catalog.parent
        self._shipping = make_shipping(Home(catalog.parent))

    @property
    def operator(self) -> str:
        return self._operator

    def close(self) -> None:
        """Closes the rollouts, the catalog and the ledgers, each in its own thread."""
        self._desk.close()
        super().close()

    async def enter_operate(self) -> None:
        """By a login made now, for which the person is asked again whatever the server or the key asks for.

        Where no node is reached there is nothing to prove it against: then the first change on a node does.
        """
        if self._lane is not None:
            return
        lane = self._fleet.operate()
        try:
            await self._guarded("OPERATE", "", lane.prove(self._reachable()))
        except BaseException:
            await lane.aclose()
            raise
        self._lane = lane

    def _reachable(self) -> list[str]:
        """Nodes that are up, then those that may be."""
        order = {LinkState.UP: 0, LinkState.STALE: 1, LinkState.CONNECTING: 2}
        found = [(order[view.link], name) for name, view in self._fleet.views().items() if view.link in order]
        return [name for _, name in sorted(found)]

    async def leave_operate(self) -> None:
        """Ends the lane's connections; behind a change that is under way, and nothing new begins meanwhile."""
        lane, self._lane = self._lane, None
        if lane is not None:
            await lane.leave()

    # -- the catalog

    async def bundles(self) -> list[BundleEntry]:
        rows = await self._guarded("read the catalog", "", self._in_catalog(Catalog.bundles))
        return [_entry(row) for row in rows]

    async def _archive(self, digest: str) -> Archive:
        return await asyncio.to_thread(read_archive, await self._archive_path(digest))

    async def _archive_path(self, digest: str) -> Path:
        row = await self._in_catalog(lambda catalog: catalog.bundle(digest))
        if row is None:
            raise Failure("the bundle is not in the catalog any more", "import its .ostn file again")
        return Path(row.path)

    # -- deployments

    async def passport(self, node: str, digest: str) -> Passport:
        async def ask() -> Passport:
            with await self._archive(digest) as archive:
                return await flow.check_passport(self._fleet.client(node), archive)

        return await self._guarded("passport", node, ask())

    async def deploy(
        self, node: str, digest: str, *, window_s: float, on_step: OnStep, gate: GateOrder | None = None
    ) -> Deployment:
        return await self._change(
            "deploy", node, lambda lane: self._deploy(lane, node, digest, window_s, on_step, gate)
        )

    async def _deploy(
        self, lane: Reach, node: str, digest: str, window_s: float, on_step: OnStep, gate: GateOrder | None
    ) -> Deployment:
        node_id = await lane.client(node).identify()
        row = DeploymentRow(
            id=uuid.uuid4().hex,
            node=node,
            node_id=node_id,
            digest=digest,
            operator=self._operator,
            window_s=window_s,
            started_wall_s=time.time(),
        )
        with await self._archive(digest) as archive:
            await self._in_catalog(lambda catalog: catalog.start_deployment(row))
            try:
                found = await flow.deploy(
                    lane,
                    node,
                    archive,
                    window_s=window_s,
                    operator=self._operator,
                    on_progress=lambda progress: on_step(_step(progress)),
                    deployment=row.id,
                    gate=gate,
                    shipping=self._shipping,
                )
            except EXPECTED as error:
                await self._note(row.id, "failed" if isinstance(error, DeployFailed) else "unknown", str(error))
                raise
        await self._note(row.id, found.state)
        return found

    async def _note(self, id_: str, state: str, detail: str = "") -> None:
        """Keeps what became of a deployment; no end while only the node knows it."""
        ended = time.time() if state in FINAL or state == "failed" else None
        await self._in_catalog(partial(Catalog.set_deployment, id_=id_, state=state, detail=detail, ended_wall_s=ended))

    async def confirm(self, node: str, deployment: str) -> Deployment:
        async def act(lane: Reach) -> Deployment:
            found = await flow.confirm(lane, node, deployment, operator=self._operator)
            await self._note(deployment, found.state)
            return found

        return await self._change("confirm", node, act)

    async def rollback(self, node: str, deployment: str, reason: str) -> Deployment:
        async def act(lane: Reach) -> Deployment:
            found = await flow.rollback(lane, node, deployment, operator=self._operator, reason=reason)
            await self._note(deployment, found.state, reason)
            return found

        return await self._change("roll back", node, act)

    async def revert(self, node: str, bundle: str, *, window_s: float, reason: str) -> Deployment:
        return await self._change(
            "revert",
            node,
            lambda lane: flow.revert(lane, node, bundle, operator=self._operator, window_s=window_s, reason=reason),
        )

    async def extend(self, node: str, deployment: str, window_s: float) -> Deployment:
        return await self._change(
            "extend", node, lambda lane: flow.extend(lane, node, deployment, window_s, operator=self._operator)
        )

    async def deployments(self, node: str) -> list[Deployment]:
        page = await self._guarded("deployments", node, self._fleet.client(node).deployments())
        return page.deployments

    # -- rollouts

    async def rollouts(self) -> list[Report]:
        return await self._guarded("read rollouts", "", self._desk.reports())

    async def policies(self) -> list[PolicyEntry]:
        return await self._guarded("read policies", "", self._desk.policies())

    async def plan_rollout(self, digest: str, policy: str, nodes: Sequence[str], terms: PlanTerms) -> str:
        async def make() -> str:
            path = await self._archive_path(digest)
            addresses = [view.address for view in self._fleet.views().values()]
            return await self._desk.plan(policy, nodes, path, self._fleet, addresses, terms)

        return await self._guarded("plan a rollout", "", make())

    async def order_rollout(self, id_: str, order: Order, *, on_step: OnStep) -> Report | None:
        async def act(lane: Reach) -> Report | None:
            if not await self._desk.order(id_, order):
                return None
            return await self._desk.carry_out(id_, lane, lambda progress: on_step(_step(progress)))

        return await self._change(f"rollout {id_}", "", act)

    # -- one person, no lease

    async def hold(self, node: str, reason: str) -> None:
        await self._guarded("hold", node, self._fleet.client(node).hold(reason))

    async def release(self, node: str, reason: str) -> None:
        await self._change("release", node, lambda lane: lane.client(node).release(reason))

    async def out_of_service(self, node: str, reason: str, *, hours: float | None, lift: bool) -> None:
        what = "bring back into service" if lift else "take out of service"
        await self._change(what, node, lambda lane: lane.client(node).out_of_service(reason, hours=hours, lift=lift))

    async def acknowledge(self, node: str, alert: int, note: str) -> Alert:
        return await self._guarded("acknowledge", node, self._fleet.client(node).acknowledge(alert, note))

    async def shelve(self, node: str, alert: int, hours: float, reason: str) -> Alert:
        return await self._change("shelve", node, lambda lane: lane.client(node).shelve(alert, hours, reason))

    async def label(self, node: str, bundle: str, key: int, label: str) -> None:
        await self._guarded("label", node, self._fleet.client(node).label(key, bundle, label))

    # -- reading

    async def records(self, node: str, bundle: str, *, before: int | None, limit: int) -> RecordsPage:
        client = self._fleet.client(node)
        asked = client.records(bundle, before=before, limit=limit, newest_first=True)
        return await self._guarded("records", node, asked)

    async def tap(self, node: str, bundle: str, stage: str) -> AsyncGenerator[Tap, None]:
        async with aclosing(self._fleet.client(node).tap(bundle, stage=stage)) as found:
            while (each := await self._guarded("tap", node, anext(found, None))) is not None:
                yield each

    async def review_queue(self, node: str, bundle: str) -> ReviewQueue:
        return await self._guarded("review", node, self._fleet.client(node).review_queue(bundle, limit=200))

    async def trend(self, node: str, bundle: str, *, hours: float = 1.0, points: int = TREND_POINTS) -> Trend:
        asked = self._fleet.client(node).trend(bundle, hours=hours, points=points)
        return await self._guarded("trend", node, asked)

    async def checks(self, node: str) -> Checked:
        asked = check_node(self._fleet.client(node), version("outstation"), self._home, self._fleet.way(node))
        return await self._guarded("checks", node, asked)

    async def alert_rules(self, node: str) -> AlertRules:
        return await self._guarded("rules", node, self._fleet.client(node).alert_rules())

    async def logs(self, node: str, *, after: int | None, limit: int) -> LogsPage:
        return await self._guarded("logs", node, self._fleet.client(node).logs(after=after, limit=limit))

    async def make_capsule(self, nodes: Sequence[str], path: str, *, on_step: OnStep) -> str:
        from console.capsule.making import capsule_of

        def tell(left_s: float) -> None:
            on_step(Step("capsule", ", ".join(nodes)[:60], text="the next minutes are recorded", eta_s=left_s))

        home, by = self._path.parent, self._operator
        made = capsule_of(self._fleet, self._book, nodes, Path(path), by=by, home=home, tell=tell)
        return await self._guarded("make a capsule", "", made)

    # -- how it ends

    async def _change(self, what: str, node: str, act: Callable[[Reach], Awaitable[T]]) -> T:
        if self._lane is None:
            raise OperationFailed(what, node=node, why=["this console is in MONITOR"], hint="press o for OPERATE")
        async with self._lane.change() as lane:
            return await self._guarded(what, node, act(lane))


def _step(progress: Progress) -> Step:
    return Step(
        step=progress.step,
        node=progress.node,
        done_bytes=progress.done_bytes,
        total_bytes=progress.total_bytes,
        rate=progress.rate,
        eta_s=progress.eta_s,
        text=progress.text,
        verdict=progress.verdict,
    )


def _entry(row: BundleRow) -> BundleEntry:
    return BundleEntry(
        name=clean(row.name),
        version=clean(row.version),
        digest=row.digest,
        size_bytes=row.size_bytes,
        signer=clean(row.signer),
        added_s=row.added_wall_s,
        source=Path(row.path).name,
        inputs=_tensors(row.facts.get("inputs")),
        outputs=_tensors(row.facts.get("outputs")),
    )


def _tensors(found: object) -> str:
    """`vibration f32[8], temperature f32[1]`, from facts as they were kept."""
    if not isinstance(found, list):
        return ""
    return clean(", ".join(f"{spec[0]} {spec[1]}{spec[2]}" for spec in map(_fields, found)))


def _fields(spec: object) -> tuple[object, object, object]:
    if isinstance(spec, dict):
        shape = spec.get("shape", "")
        if isinstance(shape, list):
            shape = f"[{', '.join('?' if size == -1 else str(size) for size in shape)}]"
        return spec.get("name", "?"), str(spec.get("datatype", "?")).lower(), shape
    return "?", "?", ""
