"""From marked nodes to a stored plan: which bundle, which policy, then every node is asked once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from console.rollout.presets import PolicyEntry
from console.rollout.terms import PlanTerms
from console.screens.deploy import ChooseView
from console.screens.policies import PolicyView
from console.seat.operations import BundleEntry, OnStep
from console.seat.work import Work

if TYPE_CHECKING:
    from console.seat.seat import Seat


def plan_rollout(seat: Seat) -> None:
    """Asks for the bundle, then for the policy. Nothing on a node changes, so MONITOR is enough."""
    nodes = tuple(sorted(seat.marked))
    title = f"Roll out to {len(nodes)} marked nodes" if nodes else "Roll out to every node that runs it"
    view = ChooseView(seat.look, "", (), title=f"{title}: which bundle")
    seat.push_screen(view, partial(_chosen, seat, nodes))


def _chosen(seat: Seat, nodes: tuple[str, ...], entry: object) -> None:
    if isinstance(entry, BundleEntry):
        seat.push_screen(PolicyView(seat.look, entry, nodes), partial(_agreed, seat, nodes, entry))


def _agreed(
    seat: Seat, nodes: tuple[str, ...], entry: BundleEntry, chosen: tuple[PolicyEntry, PlanTerms] | None
) -> None:
    if chosen is None:
        return
    policy, terms = chosen
    operations = seat.operations

    async def make(on_step: OnStep) -> str:
        return await operations.plan_rollout(entry.digest, policy.text, nodes, terms)

    seat.say(f"asking {len(nodes) or 'the'} nodes about {entry.title}")
    seat.begin("rollout", f"plan {entry.title}", "", make, then=partial(_planned, seat))


def _planned(seat: Seat, work: Work) -> None:
    seat.rollout = work.result
    seat.say(f"{work.result} is planned and stored; nothing was changed. c carries it out")
    seat.go("rollouts")
