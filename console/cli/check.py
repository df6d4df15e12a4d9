"""`outstation check` and `outstation clock`: nodes look at themselves; whose clock is wrong, and by how much."""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib.metadata import version

from console.cli.arguments import add_break_lease, add_verb, add_yes, duration_s
from console.cli.session import Session
from console.client import clocks
from console.client.wire import AgentError
from console.delivery.lease import held_lease
from console.failure import FAILED, NOT_REACHED, OK, Account, account
from console.fleet.checks import ASCII_SIGNS, ORDER, SIGNS, Checked, check_node, summary, worst_first
from console.link.errors import LinkError

Outcome = Checked | tuple[str, Account]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    checked = add_verb(verbs, "check", check, summary="let nodes look at themselves")
    checked.add_argument("nodes", nargs="*", metavar="NODE", help="all, where none is named")
    checked.add_argument("--all", action="store_true", help="also what is well, where several nodes are asked")
    rehearsed = add_verb(
        verbs, "rehearse", rehearse, summary="would these nodes predict after a power cut, by themselves"
    )
    rehearsed.add_argument("nodes", nargs="+", metavar="NODE")
    rehearsed.add_argument("--budget", type=duration_s, default=10.0, metavar="TIME", help="to the first prediction")
    clock = verbs.add_parser("clock", help="a node's clock against yours")
    group = clock.add_subparsers(dest="clock_verb", required=True, metavar="VERB")
    shown = add_verb(group, "show", show, summary="how far nodes' clocks are off")
    shown.add_argument("nodes", nargs="*", metavar="NODE")
    for name, text in (
        ("set", "set a node's clock from yours; it goes into its ledger"),
        ("note", "keep the difference on the node, which re-times its records; its clock stays as it is"),
    ):
        given = add_verb(group, name, give, summary=text)
        given.add_argument("node", metavar="NODE")
        add_break_lease(given)
        add_yes(given)


async def check(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 when something does not work, 3 when a node is not reached."""
    found = await _ask_all(session, args.nodes)
    if session.as_json:
        session.json([_json(outcome) for outcome in found])
    else:
        for outcome in found:
            _show(session, outcome, everything=args.all or len(found) == 1)
    if any(not isinstance(outcome, Checked) for outcome in found):
        return NOT_REACHED
    return FAILED if any(isinstance(each, Checked) and each.count("bad") for each in found) else OK


async def _ask_all(session: Session, names: list[str]) -> list[Outcome]:
    own = version("outstation")
    async with session.fleet(names) as fleet:

        async def one(name: str) -> Outcome:
            try:
                return await check_node(fleet.client(name), own, session.home.path, fleet.way(name))
            except (LinkError, AgentError) as error:
                return name, account(error)

        return await asyncio.gather(*(one(name) for name in fleet.views()))


def _json(outcome: Outcome) -> dict[str, object]:
    if isinstance(outcome, Checked):
        return {"node": outcome.node, "reached": True, "checks": list(outcome.checks)}
    name, failure = outcome
    return {"node": name, "reached": False, "error": failure.what, "hint": failure.hint}


def _show(session: Session, outcome: Outcome, *, everything: bool) -> None:
    signs = SIGNS if (sys.stdout.encoding or "").lower().startswith("utf") else ASCII_SIGNS
    if not isinstance(outcome, Checked):
        name, failure = outcome
        session.line(f"? {name}: not known: {failure.what}")
        if failure.hint:
            session.line(f"    > {failure.hint}")
        return
    session.line(f"{outcome.node}: {summary(outcome.checks)}")
    shown = [each for each in worst_first(outcome.checks) if everything or ORDER[each.verdict] < ORDER["unknown"]]
    width = max((len(each.name) for each in shown), default=0)
    for each in shown:
        session.line(f"{signs[each.verdict]} {each.name:{width}}  {each.text}")
        if each.advice and each.verdict != "ok":
            session.line(f"  {'':{width}}  > {each.advice}")


async def rehearse(session: Session, args: argparse.Namespace) -> int:
    """One node after the other, since each takes memory and processor time of its line. Exit code 1: one would not."""
    well = True
    async with session.operate(args.nodes) as lane:
        for name in args.nodes:
            found = await lane.client(name).rehearse(args.budget)
            well = well and found.passed
            if session.as_json:
                session.json({"node": name, "rehearsal": found})
                continue
            network = "without a network" if found.isolated else "with no connector opened"
            session.line(f"{name}: {'passed' if found.passed else 'FAILED'}, {network}, clock at 1970: {found.text}")
            for one in found.bundles:
                agreed = f", {one.agreement:.0%} decided as before" if one.agreement is not None else ""
                first = f"first prediction after {one.first_s:.1f} s" if one.first_s is not None else "no prediction"
                cases = f"{one.golden_cases} golden cases"
                session.line(f"  {one.bundle} {one.version}: {first}; {one.rows} recorded inputs{agreed}; {cases}")
            session.flush()
    return OK if well else FAILED


async def show(session: Session, args: argparse.Namespace) -> int:
    """One line a node: the offset and what the measurement could be wrong by."""
    async with session.fleet(args.nodes) as fleet:

        async def one(name: str) -> tuple[str, clocks.Offset | Account]:
            try:
                return name, await clocks.measure(fleet.client(name))
            except (LinkError, AgentError) as error:
                return name, account(error)

        found = await asyncio.gather(*(one(name) for name in fleet.views()))
    if session.as_json:
        session.json([_clock_json(name, offset) for name, offset in found])
    else:
        session.table(("NODE", "OFFSET s", "ERROR s", "NOTE"), [_clock_row(*each) for each in found], right=(1, 2))
    return NOT_REACHED if any(isinstance(offset, Account) for _, offset in found) else OK


def _clock_json(name: str, offset: clocks.Offset | Account) -> dict[str, object]:
    if isinstance(offset, Account):
        return {"node": name, "reached": False, "error": offset.what, "hint": offset.hint}
    return {
        "node": name,
        "reached": True,
        "offset_s": round(offset.seconds, 6),
        "error_s": round(offset.error_s, 6),
        "may_set": offset.may_set,
    }


def _clock_row(name: str, offset: clocks.Offset | Account) -> tuple[str, ...]:
    if isinstance(offset, Account):
        return (name, "?", "?", offset.what)
    return (
        name,
        f"{offset.seconds:+.3f}",
        f"{offset.error_s:.3f}",
        "" if offset.may_set else "may not be set from here",
    )


async def give(session: Session, args: argparse.Namespace) -> int:
    """Measures, asks, sets or notes, and measures again."""
    only_note = args.clock_verb == "note"
    async with session.operate([args.node]) as lane:
        client = lane.client(args.node)
        before = await clocks.measure(client)
        now = f"{args.node}: its clock is {before.seconds:+.3f} s from yours, to within {before.error_s:.3f} s"
        act = "the difference is noted on it, and its records are shown by it" if only_note else "it is set from yours"
        await session.agreed(f"{now}; {act}. No deadline on the node depends on it.", args.node)
        async with held_lease(client, session.operator, break_held=args.break_lease) as lease:
            done = await clocks.give(client, before, lease=lease.token, only_note=only_note)
        after = await clocks.measure(client)
    if session.as_json:
        session.json({"done": done, "offset_s": round(after.seconds, 6), "error_s": round(after.error_s, 6)})
    elif only_note:
        session.line(f"{args.node}: noted a difference of {-done.moved_us / 1e6:+.3f} s; the ledger has it")
    else:
        session.line(f"{args.node}: moved by {done.moved_us / 1e6:+.3f} s, now {after.seconds:+.3f} s from yours")
    return OK
