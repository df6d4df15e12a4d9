"""`outstation handover`: what one shift leaves to the next, and who of the next takes what over."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from console import figures
from console.cli.arguments import add_verb, add_yes
from console.cli.ledger import opened
from console.cli.session import Session
from console.client.client import AgentClient
from console.client.clocks import Offset, measure
from console.client.wire import AgentError
from console.failure import FAILED, NOT_REACHED, OK, USAGE, Failure, account
from console.handover import Item, Owed, standing, with_takers
from console.home import operator_name
from console.ledgers.visits import HereBook, in_words, visit
from console.link.errors import LinkError
from nodeagent.protocol import AgentUpgrade
from store.histories import Histories
from store.rollouts import Rollouts

CLOCK_ROUNDS = 3
# A rollout that is over owes nobody anything.
OWING = frozenset({"planned", "running", "paused", "partial"})


@dataclass(frozen=True, slots=True)
class Found:
    """One node: what stands there, or why that is not known."""

    node: str
    items: tuple[Item, ...] = ()
    unknown: str = ""
    broken: str = ""


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verb."""
    summary = "what a shift leaves to the next: trials, leases, holds, shelved alerts, debts; --take takes it over"
    given = add_verb(verbs, "handover", handover, summary=summary)
    given.add_argument("nodes", nargs="*", metavar="NODE", help="left out: all")
    given.add_argument("--take", metavar="NAME", default="", help="take them over, one by one, under this name")
    given.add_argument("--note", default="", help="what the ledger is to say of it")
    add_yes(given)


async def handover(session: Session, args: argparse.Namespace) -> int:
    """Exit code 0 where nothing stands, or all was taken; 1 where something does; 3 where a node is not reached."""
    if args.take:
        try:
            session.operator = operator_name(args.take, {})
        except ValueError as error:
            raise Failure(str(error), code=USAGE) from error
    owed = _owed(session)
    with opened(session) as histories:
        async with session.fleet(args.nodes) as fleet:
            clients = {name: fleet.client(name) for name in fleet.views()}
            asked = (_of_node(client, histories, owed.get(name, ())) for name, client in clients.items())
            found = await asyncio.gather(*asked)
            if args.take:
                return await _take(session, args, found, clients)
    _show(session, found)
    return _code(found)


def _code(found: Sequence[Found]) -> int:
    if any(one.items or one.broken for one in found):
        return FAILED
    return NOT_REACHED if any(one.unknown for one in found) else OK


def _owed(session: Session) -> Mapping[str, list[Owed]]:
    """Which nodes this console's rollouts owe a bundle."""
    found: dict[str, list[Owed]] = {}
    with Rollouts(session.home.catalog) as rows:
        for rollout in rows.rollouts():
            if rollout.state not in OWING:
                continue
            for target in rows.targets(rollout.id):
                if target.debt and target.state == "skipped":
                    found.setdefault(target.node, []).append(Owed(rollout.id, _bundle(rollout.plan, rollout.digest)))
    return found


def _bundle(plan: bytes, digest: str) -> str:
    from console.rollout.plan import read_plan

    bundle = read_plan(plan, digest).bundle
    return f"{bundle.name} {bundle.version}"


async def _of_node(client: AgentClient, histories: Histories, owed: Sequence[Owed]) -> Found:
    try:
        status = await client.status()
        offset: Offset = await measure(client, rounds=CLOCK_ROUNDS)
        seen = await visit(client, HereBook(histories))
        upgrade = await _upgrade(client)
    except (LinkError, AgentError) as error:
        items = tuple(Item(client.node, "owed", "", f"{one.bundle}, by rollout {one.rollout}") for one in owed)
        return Found(client.node, items, account(error).what)
    items = tuple(with_takers(
        standing(client.node, status, offset=offset, upgrade=upgrade, owed=owed), histories.entries(seen.node_id)
    ))  # fmt: skip
    return Found(client.node, items, broken=in_words(seen.broken) if seen.broken else "")


async def _upgrade(client: AgentClient) -> AgentUpgrade | None:
    """None where the agent cannot tell, as one that is older than upgrades cannot."""
    try:
        return await client.upgrade()
    except AgentError as error:
        if error.error.code in ("REQUEST.UNKNOWN_PATH", "REQUEST.METHOD"):
            return None
        raise


async def _take(
    session: Session, args: argparse.Namespace, found: Sequence[Found], clients: Mapping[str, AgentClient]
) -> int:
    """Each by itself: what is not typed is not taken. The names go into the ledger of its node."""
    left = [one for one in found if one.unknown or one.broken]
    told: list[tuple[Item, bool]] = []
    for one in found:
        for item in one.items:
            taken = not one.unknown and (session.yes or await _agreed(session, item))
            if taken:
                await clients[item.node].take_over([item.name], args.note)
            told.append((item, taken))
            if not session.as_json:
                word = f"taken by {session.operator}" if taken else "NOT taken"
                session.line(f"{item.node}: {item.kind}: {item.text}: {word}")
    if session.as_json:
        session.json([{**asdict(item), "taken": taken, "by": session.operator} for item, taken in told])
    else:
        _lines_of_unknown(session, left)
    if any(one.unknown for one in found):
        return NOT_REACHED
    return OK if all(taken for _, taken in told) else FAILED


async def _agreed(session: Session, item: Item) -> bool:
    question = f"{item.node}: {item.kind}: {item.text}\ntype {item.node} to take it over, enter to leave it:"
    return await session.person.typed(question) == item.node


def _show(session: Session, found: Sequence[Found]) -> None:
    if session.as_json:
        session.json([asdict(one) for one in found])
        return
    items = [item for one in found for item in one.items]
    if items:
        session.table(("NODE", "KIND", "LEFT", "WHAT", "TAKEN BY", "NEXT"), [_row(item) for item in items], right=(2,))
    elif not any(one.unknown or one.broken for one in found):
        session.line(f"nothing stands on {figures.counted(len(found), 'node')}")
    _lines_of_unknown(session, found)
    if items:
        session.line("next: outstation handover --take YOUR-NAME")


def _lines_of_unknown(session: Session, found: Sequence[Found]) -> None:
    for one in found:
        if one.unknown:
            session.line(f"?  {one.node}: not known what stands there: {one.unknown}")
        if one.broken:
            session.line(f"X  {one.node}: {one.broken}; next: outstation ledger verify {one.node}")


def _row(item: Item) -> tuple[str, ...]:
    left = "" if item.left_s is None else "over" if item.left_s < 0 else figures.countdown(item.left_s)
    by = f"{item.taken_by}, {figures.day_and_time(item.taken_us)}" if item.taken_us is not None else figures.NONE
    return (item.node, item.kind, left, item.text, by, item.next)
