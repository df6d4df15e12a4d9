"""`console.seat.operations.Operations` over a capsule: what it holds is answered, every change is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from console.capsule.content import NodeCapsule
from console.capsule.fleet import CapsuleFleet
from console.seat.operations import TREND_POINTS, BundleEntry, OnStep, OperationFailed
from console.seat.shelf import Inspection
from nodeagent.protocol import (
    Alert,
    AlertRules,
    Deployment,
    LedgerEntry,
    LogsPage,
    Passport,
    RecordsPage,
    ReviewQueue,
    Tap,
    Trend,
)
from store.histories import Chain, KnownBreak
from store.ledger import Break, Entry, Head

if TYPE_CHECKING:
    from console.delivery.gate import GateOrder
    from console.fleet.checks import Checked
    from console.ledgers.past import Past
    from console.ledgers.visits import Visit
    from console.rollout.desk import Order
    from console.rollout.presets import PolicyEntry
    from console.rollout.report import Report
    from console.rollout.terms import PlanTerms

READ_ONLY: Final = "this is a capsule: nothing of it can be changed"
NOT_HERE: Final = "a capsule does not hold that"


def _refuse(what: str, node: str = "", why: str = READ_ONLY) -> NoReturn:
    raise OperationFailed(what, node=node, why=[why], hint="start outstation without it for the fleet as it is now")


class CapsuleOperations:
    """Answers of the minutes of a capsule. Logs, records and ledger are all that it has, whatever moment is shown."""

    def __init__(self, fleet: CapsuleFleet, operator: str) -> None:
        self._fleet, self._operator = fleet, operator

    @property
    def operator(self) -> str:
        return self._operator

    def _node(self, name: str) -> NodeCapsule:
        node = self._fleet.nodes.get(name)
        if node is None:
            _refuse("look it up", name, "this node is not in the capsule")
        return node

    # -- what it holds

    async def deployments(self, node: str) -> list[Deployment]:
        return list(self._node(node).deployments)

    async def records(self, node: str, bundle: str, *, before: int | None, limit: int) -> RecordsPage:
        found = self._node(node)
        rows = sorted(found.records.get(bundle, ()), key=lambda record: -record.key)
        below = [record for record in rows if before is None or record.key < before]
        more = below[limit - 1].key if len(below) > limit else None
        return RecordsPage(records=below[:limit], gaps=list(found.gaps.get(bundle, ())), next=more)

    async def trend(self, node: str, bundle: str, *, hours: float = 1.0, points: int = TREND_POINTS) -> Trend:
        found = self._node(node).trends.get(bundle)
        if found is None:
            _refuse("trend", node, f"the capsule has no trend of {bundle or 'the host'}")
        return msgspec.structs.replace(found, points=self._fleet.until_now(node, found.points))

    async def logs(self, node: str, *, after: int | None, limit: int) -> LogsPage:
        lines = [line for line in self._node(node).logs if after is None or line.cursor > after]
        # All of it: nothing is fetched again, and a page of a live node is no measure here.
        return LogsPage(lines=lines, next=lines[-1].cursor if lines else after or 0)

    async def alert_history(self, node: str, limit: int) -> Sequence[Alert]:
        return sorted(self._node(node).alerts, key=lambda alert: -alert.id)[:limit]

    async def chains(self) -> Mapping[str, Chain]:
        return {node.node_id: _chain(node) for node in self._fleet.nodes.values() if node.ledger}

    async def newest_entries(self, node_id: str, limit: int) -> Sequence[Entry]:
        return [Entry(*(getattr(e, name) for name in Entry._fields)) for e in self._ledger(node_id)[-limit:]]

    async def past(self, node_id: str, at_us: int) -> Past | None:
        from console.ledgers.past import past

        entries = await self.newest_entries(node_id, 1 << 20)
        return past(entries, at_us) if entries else None

    def _ledger(self, node_id: str) -> Sequence[LedgerEntry]:
        return next((node.ledger for node in self._fleet.nodes.values() if node.node_id == node_id), [])

    async def bundles(self) -> list[BundleEntry]:
        return []

    async def bundle_files(self, folder: str) -> Sequence[str]:
        return []

    async def rollouts(self) -> list[Report]:
        return []

    async def policies(self) -> list[PolicyEntry]:
        return []

    async def leave_operate(self) -> None:
        return

    # -- what it does not hold

    async def checks(self, node: str) -> Checked:
        _refuse("checks", node, NOT_HERE)

    async def alert_rules(self, node: str) -> AlertRules:
        _refuse("rules", node, NOT_HERE)

    async def passport(self, node: str, digest: str) -> Passport:
        _refuse("passport", node, NOT_HERE)

    async def review_queue(self, node: str, bundle: str) -> ReviewQueue:
        _refuse("what is to be labelled", node, NOT_HERE)

    async def tap(self, node: str, bundle: str, stage: str) -> AsyncGenerator[Tap, None]:
        _refuse("tap", node, NOT_HERE)
        yield  # A generator, as its callers read it.

    async def inspect(self, digest: str) -> Inspection:
        _refuse("inspect the bundle", "", NOT_HERE)

    async def verify(self, node: str) -> Visit:
        _refuse("verify the ledger", node, "`outstation capsule verify` checks what is in the file")

    # -- what would change something

    async def enter_operate(self) -> None:
        _refuse("OPERATE")

    async def deploy(
        self, node: str, digest: str, *, window_s: float, on_step: OnStep, gate: GateOrder | None = None
    ) -> Deployment:
        _refuse("deploy", node)

    async def confirm(self, node: str, deployment: str) -> Deployment:
        _refuse("confirm", node)

    async def rollback(self, node: str, deployment: str, reason: str) -> Deployment:
        _refuse("roll back", node)

    async def revert(self, node: str, bundle: str, *, window_s: float, reason: str) -> Deployment:
        _refuse("revert", node)

    async def extend(self, node: str, deployment: str, window_s: float) -> Deployment:
        _refuse("extend", node)

    async def plan_rollout(self, digest: str, policy: str, nodes: Sequence[str], terms: PlanTerms) -> str:
        _refuse("plan a rollout")

    async def order_rollout(self, id_: str, order: Order, *, on_step: OnStep) -> Report | None:
        _refuse("rollout")

    async def hold(self, node: str, reason: str) -> None:
        _refuse("hold", node)

    async def release(self, node: str, reason: str) -> None:
        _refuse("release", node)

    async def out_of_service(self, node: str, reason: str, *, hours: float | None, lift: bool) -> None:
        _refuse("out of service", node)

    async def acknowledge(self, node: str, alert: int, note: str) -> Alert:
        _refuse("acknowledge", node)

    async def shelve(self, node: str, alert: int, hours: float, reason: str) -> Alert:
        _refuse("shelve", node)

    async def label(self, node: str, bundle: str, key: int, label: str) -> None:
        _refuse("label", node)

    async def take_bundle(self, path: str) -> str:
        _refuse("add a bundle")

    async def accept_break(self, node_id: str, why: str) -> None:
        _refuse("accept the ledger")

    async def add_node(self, words: Sequence[str]) -> str:
        _refuse("add a node")

    async def make_capsule(self, nodes: Sequence[str], path: str, *, on_step: OnStep) -> str:
        _refuse("make a capsule")


def _chain(node: NodeCapsule) -> Chain:
    """The ledger as it stood when the capsule was made."""
    entry = node.ledger[-1]
    newest = Entry(*(getattr(entry, name) for name in Entry._fields))
    broken = None
    if node.ledger_verdict not in ("verified", "not verified", ""):
        found = Break("broken", node.ledger_head[0], node.ledger_verdict)
        broken = KnownBreak(node.node_id, found, "capsule", node.collected_s)
    verified_s = node.collected_s if node.ledger_verdict == "verified" else None
    return Chain(node.node_id, Head(*node.ledger_head), verified_s, newest, broken)
