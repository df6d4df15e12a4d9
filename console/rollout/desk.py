"""Rollouts as a screen asks for them: what there are, how one stands, and what a person orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from console.delivery.deploy import Clients, Progress, Reach
from console.failure import Failure
from console.fleet.view import NodeAddress
from console.home import Home
from console.rollout import orders
from console.rollout.book import ThreadBook
from console.rollout.executor import Executor
from console.rollout.nodes import LiveNodes
from console.rollout.orders import OrderRefused
from console.rollout.plan import Plan, read_plan
from console.rollout.planner import PlanRefused
from console.rollout.planning import narrowed, planned
from console.rollout.policy import PolicyError, parse_policy
from console.rollout.presets import PolicyEntry, policies
from console.rollout.report import Report, report
from console.rollout.running import CarriedOut, carrying_out, is_carried_out
from console.rollout.survey import Noting
from console.rollout.terms import AS_IT_IS, PlanTerms
from console.seat.prompts import Nobody
from console.transfer.ready import make_shipping
from console.transfer.shipping import Shipping
from store.archive import Archive, read_archive
from store.catalog import Catalog
from store.rollouts import RolloutRow, Rollouts

Order = Literal["go", "past", "pause", "retry", "keep", "revert"]


class Desk(Protocol):
    """Raises Failure for what cannot be, StoreError kinds, and whatever expected error a link has."""

    async def reports(self) -> list[Report]:
        """Newest first."""
        ...

    async def policies(self) -> list[PolicyEntry]:
        """Those of the console's folder, then the ones that come with the program."""
        ...

    async def plan(
        self,
        policy: str,
        nodes: Sequence[str],
        archive: Path,
        fleet: Clients,
        addresses: Sequence[NodeAddress],
        terms: PlanTerms = AS_IT_IS,
    ) -> str:
        """Asks the nodes and stores a plan for `nodes` (empty: as the policy selects) under `terms`; its id."""
        ...

    async def order(self, id_: str, order: Order) -> bool:
        """Writes what a person wants; True: it is to be carried out here now."""
        ...

    async def carry_out(self, id_: str, reach: Reach, on_progress: Callable[[Progress], None]) -> Report:
        """Goes on until it is done, partial, paused or aborted; how it stands then."""
        ...


class LiveDesk:
    """The rollouts of the console at `home`."""

    def __init__(self, home: Path, *, operator: str) -> None:
        self._home, self._operator = Home(home), operator
        self._book = ThreadBook(self._home.catalog)

    def close(self) -> None:
        """Closes the rows."""
        self._book.close()

    async def reports(self) -> list[Report]:
        return await self._book(lambda rows: [told(self._home, rows, row) for row in rows.rollouts()])

    async def policies(self) -> list[PolicyEntry]:
        return await self._book(lambda _: policies(self._home.path))

    async def plan(
        self,
        policy: str,
        nodes: Sequence[str],
        archive: Path,
        fleet: Clients,
        addresses: Sequence[NodeAddress],
        terms: PlanTerms = AS_IT_IS,
    ) -> str:
        try:
            chosen = narrowed(terms.over(parse_policy(policy)), nodes)
            with await self._book(lambda _: read_archive(archive)) as found:
                made = await planned(fleet, addresses, chosen, found, Noting(Nobody()), change=terms.change)
        except (PolicyError, PlanRefused) as error:
            raise Failure(str(error), getattr(error, "hint", "")) from error
        keep = partial(orders.keep_plan, archive=str(archive), operator=self._operator, wall_s=time.time())
        return await self._book(lambda rows: keep(rows, made))

    async def order(self, id_: str, order: Order) -> bool:
        elsewhere = is_carried_out(self._home, id_)
        try:
            state = await self._book(partial(self._write, id_, order, elsewhere))
        except OrderRefused as error:
            raise Failure(str(error), error.hint) from error
        return state == "running" and not elsewhere and order != "pause"

    def _write(self, id_: str, order: Order, elsewhere: bool, rows: Rollouts) -> str:
        state, wall_s = orders.find(rows, id_).state, time.time()
        if order == "pause":
            orders.pause(rows, id_, running=elsewhere, wall_s=wall_s)
        elif order in ("keep", "revert"):
            orders.abort(rows, id_, order, wall_s=wall_s)
        elif elsewhere:
            raise OrderRefused(f"{id_} is carried out already", "it goes on by itself")
        elif order == "retry":
            orders.retry(rows, id_, nodes=(), operator=self._operator, wall_s=wall_s)
        elif state == "planned":
            orders.start(rows, id_, wall_s=wall_s)
        else:
            orders.resume(rows, id_, operator=self._operator, wall_s=wall_s, accept=order == "past")
        return orders.find(rows, id_).state

    async def carry_out(self, id_: str, reach: Reach, on_progress: Callable[[Progress], None]) -> Report:
        row = await self._book(lambda rows: orders.find(rows, id_))
        made = read_plan(row.plan, row.digest)
        with self._locked(id_), await self._book(lambda _: open_archive(self._home, row, made)) as archive:
            nodes = LiveNodes(
                reach,
                archive,
                operator=self._operator,
                policy=made.policy,
                on_progress=on_progress,
                shipping=shipping_by(self._home, made),
                change=made.number,
            )
            executor = Executor(id_, book=self._book, nodes=nodes, operator=self._operator, wall_s=time.time)
            ended = await executor.run()
        return await self._book(lambda rows: told(self._home, rows, ended))

    def _locked(self, id_: str) -> AbstractContextManager[None]:
        if is_carried_out(self._home, id_):
            raise Failure(f"another console here carries {id_} out", CarriedOut.hint)
        return carrying_out(self._home, id_)


def told(home: Home, rows: Rollouts, row: RolloutRow) -> Report:
    """How the rollout stands now, and whether anybody carries it out."""
    carried_out = row.state == "running" and is_carried_out(home, row.id)
    return report(row, rows.waves(row.id), rows.targets(row.id), carried_out=carried_out)


def shipping_by(home: Home, made: Plan, bytes_per_s: float | None = None) -> Shipping:
    """As the plan's policy says; `bytes_per_s` in the place of its budget."""
    rules = made.policy.transfer
    return make_shipping(
        home, bytes_per_s=bytes_per_s or rules.bytes_per_s, whole=not rules.difference, seed=rules.seed
    )


def open_archive(home: Home, row: RolloutRow, plan: Plan) -> Archive:
    """The plan's bundle, from where it was or from the catalog. Raises Failure for another one, StoreError kinds."""
    path = Path(row.archive)
    with Catalog(home.catalog) as catalog:
        kept = catalog.bundle(plan.bundle.digest)
        missing = sorted({node.name for node in plan.nodes} - {node.name for node in catalog.nodes()})
    if missing:
        raise Failure(f"{missing[0]} of the plan is not in the catalog any more", "outstation node add")
    if not row.archive and kept is None:
        name = f"{plan.bundle.name} {plan.bundle.version}"
        raise Failure(f"the catalog does not have {name}, which this rollout brings", "outstation catalog import")
    gone = not row.archive or not path.exists()
    archive = read_archive(Path(kept.path) if gone and kept is not None else path)
    if archive.manifest_digest != plan.bundle.digest:
        with archive:
            hint = "import the planned one: outstation catalog import"
            raise Failure(f"{path} is another bundle than the one planned", hint)
    return archive
