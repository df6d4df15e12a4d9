"""The fleet as it is now, and what a person does about it: status, alerts, ack, hold, release, service."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from console import figures
from console.cli.arguments import add_verb, add_yes
from console.cli.diode import one_way_states, status_json
from console.cli.ledger import opened
from console.cli.session import Session
from console.client.client import AgentClient
from console.client.wire import AgentError
from console.failure import FAILED, NOT_REACHED, OK, Account, account
from console.fleet.board import NodeState, suppressing
from console.link.errors import LinkError
from nodeagent.protocol import Alert, BundleTelemetry, Status

T = TypeVar("T")
Outcome = tuple[str, T | None, Account | None]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    add_verb(verbs, "status", status, summary="how nodes do now").add_argument("nodes", nargs="*", metavar="NODE")
    add_verb(verbs, "alerts", alerts, summary="alerts of nodes").add_argument("nodes", nargs="*", metavar="NODE")
    ack = add_verb(verbs, "ack", acknowledge, summary="acknowledge an alert under your name")
    ack.add_argument("node")
    ack.add_argument("alert", type=int, help="its number in `outstation alerts`")
    ack.add_argument("--note", default="", help="what you know about it")
    held = add_verb(verbs, "hold", hold, summary="outputs of a node to the safe value, now")
    held.add_argument("node")
    held.add_argument("--reason", default="", help="why, for the ledger")
    add_yes(held)
    released = add_verb(verbs, "release", release, summary="end a hold")
    released.add_argument("node")
    released.add_argument("--reason", default="")
    add_yes(released)


async def _from_each(
    session: Session, names: list[str], ask: Callable[[AgentClient], Awaitable[T]]
) -> list[Outcome[T]]:
    """Asks every node at the same time; who fails does not stop the others."""
    async with session.fleet(names) as fleet:

        async def one(name: str) -> Outcome[T]:
            try:
                return name, await ask(fleet.client(name)), None
            except (LinkError, AgentError) as error:
                return name, None, account(error)

        return await asyncio.gather(*(one(name) for name in fleet.views()))


async def status(session: Session, args: argparse.Namespace) -> int:
    """One line a node; exit code 3 when one is not reached: unknown is never ok. A broken ledger is an alarm, and 1."""
    addresses = session.addresses(args.nodes)
    behind = one_way_states(session, [address for address in addresses if address.one_way_key])
    linked = [address.name for address in addresses if not address.one_way_key]
    found = await _from_each(session, linked, lambda client: client.status()) if linked or not behind else []
    with opened(session) as histories:
        breaks = {broken.node_id: str(broken) for broken in histories.breaks()}
    ids = {address.name: address.node_id for address in session.addresses()}
    broken = {name: breaks[told] for name, answer, _ in found
              if (told := ids.get(name) or (answer.node_id if answer else "")) in breaks}  # fmt: skip
    if session.as_json:
        shown = [_status_json(name, answer, failure, broken.get(name, "")) for name, answer, failure in found]
        session.json([*shown, *map(status_json, behind)])
    else:
        rows = [_status_row(name, answer, failure, broken.get(name, "")) for name, answer, failure in found]
        rows += [_one_way_row(state) for state in behind]
        session.table(("STATE", "NODE", "MODEL", "INF/S", "P95 ms", "CPU %", "DISK", "NOTE"), rows, right=(3, 4, 5, 6))
    unknown = NOT_REACHED if any(not state.known for state in behind) else OK
    return max(_code(found), unknown, FAILED if broken else OK)


def _one_way_row(state: NodeState) -> tuple[str, ...]:
    """What its newest report says, and as of when; nothing of it where that is too old."""
    view = state.view
    if not state.known or view.status is None:
        return ("UNKN", view.name, "?", "?", "?", "?", "?", state.reason)
    word, name, *cells, note = _status_row(view.name, view.status, None, view.ledger_break)
    return (word, name, *cells, f"diode, {view.link_error}. {note}".strip(" "))


def _status_json(name: str, answer: Status | None, failure: Account | None, broken: str) -> dict[str, object]:
    if failure is not None:
        return {"node": name, "reached": False, "ledger": broken, "error": failure.what, "hint": failure.hint}
    return {"node": name, "reached": True, "ledger": broken, "status": answer}


def _status_row(name: str, answer: Status | None, failure: Account | None, broken: str) -> tuple[str, ...]:
    if answer is None:
        note = broken or (failure.what if failure else "")
        return ("ALRM" if broken else "UNKN", name, "?", "?", "?", "?", "?", note)
    telemetry, host = answer.telemetry, answer.telemetry.host
    bundles = telemetry.bundles
    latencies = [b.latency_ms_p95 for b in bundles if b.latency_ms_p95 is not None]
    return (
        "ALRM" if broken else condition(answer),
        name,
        ", ".join(model_text(bundle) for bundle in bundles) or "nothing installed",
        figures.rate(sum(b.inferences_per_s for b in bundles)) if bundles else figures.NONE,
        figures.number(max(latencies)) if latencies else figures.NONE,
        figures.whole(host.cpu_percent),
        figures.size(host.disk_bytes_free),
        broken or _note(answer),
    )


def condition(answer: Status) -> str:
    """MMNT while a person works on the machine, otherwise ALRM, WARN, TRIAL or OK, by what stands on the node."""
    telemetry = answer.telemetry
    standing = [alert.priority for alert in telemetry.alerts if alert.cleared_us is None]
    if suppressing(telemetry) is not None:
        return "MMNT"
    if telemetry.mode == "safe" or telemetry.hold or (standing and min(standing) <= 2):
        return "ALRM"
    if standing or any(bundle.state != "serving" for bundle in telemetry.bundles):
        return "WARN"
    left_s = min((bundle.trial.seconds_left for bundle in telemetry.bundles if bundle.trial), default=None)
    return "OK" if left_s is None else f"TRIAL {figures.countdown(left_s)}"


def model_text(bundle: BundleTelemetry) -> str:
    """`bearing 2.1 r14`, `bearing trial 3:12`, and the state where it is not serving."""
    if bundle.trial is not None:
        return f"{bundle.bundle} {bundle.version} trial {figures.countdown(bundle.trial.seconds_left)}"
    state = "" if bundle.state == "serving" else f" {bundle.state}"
    return f"{bundle.bundle} {bundle.version} r{bundle.revision}{state}"


def _note(answer: Status) -> str:
    telemetry = answer.telemetry
    if telemetry.mode == "safe":
        return "SAFE: the agent's database cannot be used"
    if telemetry.hold:
        return f"HOLD by {telemetry.hold.by}: {telemetry.hold.reason}"
    if telemetry.out_of_service:
        return f"out of service by {telemetry.out_of_service.by}: {telemetry.out_of_service.reason}"
    if telemetry.alerts:
        return min(telemetry.alerts, key=lambda alert: alert.priority).message
    return next((bundle.reason for bundle in telemetry.bundles if bundle.reason), "")


def _code(found: list[Outcome[T]]) -> int:
    codes = {failure.code for _, _, failure in found if failure is not None}
    return NOT_REACHED if NOT_REACHED in codes else FAILED if codes else OK


async def alerts(session: Session, args: argparse.Namespace) -> int:
    """Highest priority first, over all nodes asked."""
    found = await _from_each(session, args.nodes, lambda client: client.alerts())
    standing = sorted(
        ((name, alert) for name, answer, _ in found for alert in answer or ()),
        key=lambda item: (item[1].priority, -item[1].raised_us),
    )
    if session.as_json:
        session.json([{"node": name, "alert": alert} for name, alert in standing])
    else:
        session.table(
            ("PRI", "NODE", "NUMBER", "SINCE", "STATE", "WHAT", "DO"),
            [_alert_row(name, alert) for name, alert in standing],
            right=(2,),
        )
    for name, _, failure in found:
        if failure is not None and not session.as_json:
            session.line(f"?  {name}: not known: {failure.what}")
    return _code(found)


def _alert_row(name: str, alert: Alert) -> tuple[str, ...]:
    by = f" by {alert.acknowledged_by}" if alert.acknowledged_by else ""
    what = f"{alert.subject}: {alert.message}" if alert.subject else alert.message
    since = figures.day_and_time(alert.raised_us)
    return (str(alert.priority), name, str(alert.id), since, f"{alert.state}{by}", what, alert.advice)


async def acknowledge(session: Session, args: argparse.Namespace) -> int:
    """Works in MONITOR too."""
    async with session.client(args.node) as client:
        alert = await client.acknowledge(args.alert, args.note)
    if session.as_json:
        session.json(alert)
    else:
        session.line(f"{args.node}: alert {alert.id} acknowledged by {alert.acknowledged_by}")
    return OK


async def hold(session: Session, args: argparse.Namespace) -> int:
    """Needs one person and no lease; a login that may only watch may hold."""
    await session.agreed(f"{args.node}: every output goes to its safe value at once; recording goes on.", args.node)
    async with session.client(args.node) as client:
        held = await client.hold(args.reason)
    if session.as_json:
        session.json(held)
    else:
        session.line(f"{args.node}: HELD by {held.by}. End it with `outstation release {args.node}`")
    return OK


async def release(session: Session, args: argparse.Namespace) -> int:
    """The outputs follow the models again."""
    await session.agreed(f"{args.node}: outputs follow the models' decisions again.", args.node)
    async with session.operate([args.node]) as lane:
        after = await lane.client(args.node).release(args.reason)
    if session.as_json:
        session.json(after)
    else:
        session.line(f"{args.node}: released" if after.telemetry.hold is None else f"{args.node}: still held")
    return OK if after.telemetry.hold is None else FAILED
