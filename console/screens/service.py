"""Out of service: a person works on the machine. Set with a reason and an expected end, lifted by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from console import figures
from console.fleet.board import NodeState
from console.screens.confirm import Change, ConfirmView
from console.seat.operations import OnStep
from console.times import span_s

if TYPE_CHECKING:
    from console.seat.seat import Seat


def ask_service(seat: Seat, state: NodeState) -> None:
    """Sets it, or lifts it where it is set."""
    telemetry, node = state.view.telemetry, state.view.name
    assert telemetry is not None
    out = telemetry.out_of_service
    if out is None:
        change = Change(
            title=f"Take {node} out of service",
            what=("its alerts are recorded and not announced; deployments and write-back are refused",),
            nodes=f"{node}, 1 node",
            effect=(
                "Models and recording go on. It never ends by itself: past its expected end it raises an alert.",
                "It does not replace lock-out and tag-out.",
            ),
            undo="m again lifts it",
            asks="how long and why, such as: 4h new spindle",
            yes="take it out of service",
        )
        seat.push_screen(ConfirmView(seat.look, change), partial(_set, seat, node))
        return
    others = out.by != seat.operator
    change = Change(
        title=f"Bring {node} back into service",
        what=(f"out of service by {out.by} since {figures.day_and_time(out.since_us)}: {out.reason}",),
        nodes=f"{node}, 1 node",
        effect=("Its alerts are announced again; deployments and write-back are possible.",),
        undo="m takes it out of service again",
        asks=f"say why, since {out.by} set it" if others else "say why, or nothing",
        yes="bring it back",
    )
    seat.push_screen(ConfirmView(seat.look, change), partial(_lift, seat, node, others))


def _set(seat: Seat, node: str, answer: object) -> None:
    if not isinstance(answer, str):
        return
    span, _, reason = answer.partition(" ")
    seconds = span_s(span)
    if not seconds or not reason.strip():
        seat.say("say how long, and why: 4h new spindle; nothing was changed", "warn")
        return
    operations, hours = seat.operations, seconds / 3_600

    async def send(_: OnStep) -> None:
        await operations.out_of_service(node, reason.strip(), hours=hours, lift=False)

    said = f"{node} is out of service for {span}: {reason.strip()}"
    seat.begin("service", f"take {node} out of service", node, send, then=lambda _: seat.say(said))


def _lift(seat: Seat, node: str, needs_reason: bool, answer: object) -> None:
    if not isinstance(answer, str):
        return
    if needs_reason and not answer:
        seat.say("another person set it: say why you lift it; nothing was changed", "warn")
        return
    operations = seat.operations

    async def send(_: OnStep) -> None:
        await operations.out_of_service(node, answer, hours=None, lift=True)

    seat.begin("service", f"bring {node} back", node, send, then=lambda _: seat.say(f"{node} is in service"))
