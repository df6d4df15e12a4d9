"""What screens ask for beside the live views: catalog, deployments, records, logs, and every change to a node.

A `Protocol`: the live one (live.py) goes over the links, the sample one (console/sample) is kept in
memory. Every method may take as long as a network does; screens call them as work that goes on by itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from console.seat.shelf import Shelf
from nodeagent.protocol import (
    Alert,
    AlertRules,
    Deployment,
    GateVerdict,
    LogsPage,
    Passport,
    RecordsPage,
    ReviewQueue,
    Tap,
    Trend,
)

if TYPE_CHECKING:
    from console.delivery.gate import GateOrder
    from console.fleet.checks import Checked
    from console.rollout.desk import Order
    from console.rollout.presets import PolicyEntry
    from console.rollout.report import Report
    from console.rollout.terms import PlanTerms


TREND_POINTS: Final = 360


class OperationFailed(Exception):
    """Something on a node or on the way to it said no.

    `why` is the chain of causes, outermost first; `hint` is what the operator can do next.
    """

    def __init__(self, what: str, *, node: str = "", why: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(what)
        self.what, self.node, self.why, self.hint = what, node, tuple(why), hint

    def __str__(self) -> str:
        where = f"{self.node}: " if self.node else ""
        why = f": {': '.join(self.why)}" if self.why else ""
        return f"{where}{self.what}{why}" + (f". Next: {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """A bundle in this console's catalog."""

    name: str
    version: str
    digest: str
    size_bytes: int
    signer: str = ""
    added_s: float = 0.0
    source: str = ""
    inputs: str = ""
    outputs: str = ""

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Step:
    """How far work on a node is. `rate` is bytes a second, `eta_s` what is left; None: not known."""

    step: str
    node: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    rate: float | None = None
    eta_s: float | None = None
    text: str = ""
    verdict: GateVerdict | None = None


OnStep = Callable[[Step], None]


class Operations(Shelf, Protocol):
    """Everything a screen may start. Each method raises OperationFailed and nothing else of ours."""

    @property
    def operator(self) -> str:
        """The person's name as nodes will write it down."""
        ...

    async def enter_operate(self) -> None:
        """Proves that the person may change nodes; until then no link of this console can."""
        ...

    async def leave_operate(self) -> None:
        """Closes what `enter_operate` opened, behind a change that is still under way."""
        ...

    async def bundles(self) -> list[BundleEntry]:
        """The catalog: by name, then the newest first."""
        ...

    async def passport(self, node: str, digest: str) -> Passport:
        """Whether a bundle fits a node, before any byte moves."""
        ...

    async def deploy(
        self, node: str, digest: str, *, window_s: float, on_step: OnStep, gate: GateOrder | None = None
    ) -> Deployment:
        """Brings a bundle to a node up to its trial; `gate`: what it has to show on the node's records before."""
        ...

    async def confirm(self, node: str, deployment: str) -> Deployment:
        """Makes a trial permanent, by a new login."""
        ...

    async def rollback(self, node: str, deployment: str, reason: str) -> Deployment:
        """Ends a trial: the previous revision takes over again."""
        ...

    async def revert(self, node: str, bundle: str, *, window_s: float, reason: str) -> Deployment:
        """Activates the bundle that was there before, with a trial of its own."""
        ...

    async def extend(self, node: str, deployment: str, window_s: float) -> Deployment:
        """Gives a trial a new window from now."""
        ...

    async def rollouts(self) -> list[Report]:
        """Rollouts of this console, newest first."""
        ...

    async def policies(self) -> list[PolicyEntry]:
        """How a rollout may go: files of this console, then those that come with the program."""
        ...

    async def plan_rollout(self, digest: str, policy: str, nodes: Sequence[str], terms: PlanTerms) -> str:
        """Asks the nodes and stores a plan of the policy under `terms`; nothing on a node changes. The rollout's id."""
        ...

    async def order_rollout(self, id_: str, order: Order, *, on_step: OnStep) -> Report | None:
        """Does it to its end: done, partial, paused or aborted. None: another console carries the rollout out."""
        ...

    async def hold(self, node: str, reason: str) -> None:
        """Outputs to the safe value; recording goes on."""
        ...

    async def release(self, node: str, reason: str) -> None:
        """Ends a hold."""
        ...

    async def out_of_service(self, node: str, reason: str, *, hours: float | None, lift: bool) -> None:
        """Takes the node out of service for an expected time, or lifts that."""
        ...

    async def acknowledge(self, node: str, alert: int, note: str) -> Alert:
        """Writes the person's name under an alert."""
        ...

    async def shelve(self, node: str, alert: int, hours: float, reason: str) -> Alert:
        """Keeps an alert quiet for a time; 0 hours: no longer."""
        ...

    async def label(self, node: str, bundle: str, key: int, label: str) -> None:
        """Says what a record really was; appended on the node, never edited."""
        ...

    async def deployments(self, node: str) -> list[Deployment]:
        """The node's deployments, newest first."""
        ...

    async def records(self, node: str, bundle: str, *, before: int | None, limit: int) -> RecordsPage:
        """The newest records, or those before a key; newest first."""
        ...

    def tap(self, node: str, bundle: str, stage: str) -> AsyncGenerator[Tap, None]:
        """Sweeps as they leave one stage of a running pipeline. Close it to stop."""
        ...

    async def review_queue(self, node: str, bundle: str) -> ReviewQueue:
        """What this person should label next."""
        ...

    async def trend(self, node: str, bundle: str, *, hours: float = 1.0, points: int = TREND_POINTS) -> Trend:
        """Rollups of a bundle of the last hours, oldest first, about `points` at most; and its limits."""
        ...

    async def checks(self, node: str) -> Checked:
        """What the node says of itself, and what only this console can see of it."""
        ...

    async def alert_rules(self, node: str) -> AlertRules:
        """The rules behind the node's alerts, as they are carried out."""
        ...

    async def logs(self, node: str, *, after: int | None, limit: int) -> LogsPage:
        """Log lines of a node in order; the newest ones without `after`."""
        ...

    async def make_capsule(self, nodes: Sequence[str], path: str, *, on_step: OnStep) -> str:
        """Keeps the last and next ten minutes of nodes in one signed file; what it holds, in words."""
        ...
