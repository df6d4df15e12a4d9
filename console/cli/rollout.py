"""`outstation rollout ...`: one bundle to many nodes, in waves, from a policy file. The core is console/rollout."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.cli import rollout_text
from console.cli.arguments import add_change, add_verb, add_yes, duration_s
from console.cli.bundle import taken_bundle
from console.cli.session import Session
from console.cli.transfer import add_budget, seeds_of
from console.failure import FAILED, NOT_REACHED, OK, USAGE, Failure
from console.fleet.fleet import LiveFleet
from console.link.ready import make_pool
from console.rollout import orders
from console.rollout.book import ThreadBook
from console.rollout.carried import RolloutMalformed, packed, taken_in
from console.rollout.desk import open_archive, shipping_by, told
from console.rollout.executor import Executor
from console.rollout.nodes import LiveNodes
from console.rollout.orders import OrderRefused
from console.rollout.plan import Plan, read_plan
from console.rollout.planner import PlanRefused
from console.rollout.planning import narrowed, planned
from console.rollout.policy import Policy, PolicyError, parse_policy
from console.rollout.report import Report
from console.rollout.running import CarriedOut, carrying_out, is_carried_out
from console.rollout.survey import Noting
from store import durable
from store.archive import Archive, read_archive
from store.errors import from_os
from store.rollouts import RolloutRow, Rollouts


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    rollout = verbs.add_parser("rollout", help="bring a bundle to many nodes, in waves")
    group = rollout.add_subparsers(dest="rollout_verb", required=True, metavar="VERB")
    asked = add_verb(group, "plan", make_plan, summary="ask the nodes and store a plan; nothing is changed")
    asked.add_argument("policy", type=Path, help="a policy file, see docs/rollouts.md")
    asked.add_argument("bundle", help="a .ostn file, or NAME or NAME-VERSION of the catalog")
    asked.add_argument("nodes", nargs="*", metavar="NODE", help="these, whatever the policy selects")
    add_change(asked)
    started = add_verb(group, "start", start, summary="carry a stored plan out")
    resumed = add_verb(group, "resume", resume, summary="go on, after a pause or a killed console")
    resumed.add_argument("--past-gate", action="store_true", help="past the gate that stopped it")
    resumed.add_argument("--write-off", action="append", default=[], metavar="NODE", help="wait for NODE no more")
    resumed.add_argument("--wait", type=duration_s, default=0.0, metavar="TIME", help="wait so long for owed nodes")
    retried = add_verb(group, "retry", retry, summary="another attempt for nodes that failed")
    aborted = add_verb(group, "abort", abort, summary="give it up")
    mode = aborted.add_mutually_exclusive_group(required=True)
    mode.add_argument("--keep", dest="mode", action="store_const", const="keep", help="committed nodes stay")
    mode.add_argument("--revert", dest="mode", action="store_const", const="revert", help="they go back too")
    paused = add_verb(group, "pause", pause, summary="begin nothing new; running trials are still confirmed")
    shown = add_verb(group, "show", show, summary="waves, nodes, gates with their figures, causes")
    for parser in (started, resumed, retried, aborted, paused, shown):
        parser.add_argument("rollout", help="its id, or the end of it")
    for parser in (started, resumed, retried):
        add_change(parser, emergency=True)
    add_change(aborted)
    retried.add_argument("nodes", nargs="*", metavar="NODE", help="only these")
    for parser in (started, resumed, retried, aborted):
        add_yes(parser)
    for parser in (started, resumed, retried):
        add_budget(parser)
    sent = add_verb(
        group, "export", export_rollout, summary="write a rollout to a file, for another console", json=False
    )
    sent.add_argument("rollout", help="its id, or the end of it")
    sent.add_argument("-o", "--output", type=Path, metavar="FILE", help="ROLLOUT.json here")
    came = add_verb(group, "import", import_rollout, summary="take a rollout in from another console's file")
    came.add_argument("file", type=Path)
    add_verb(group, "list", list_rollouts, summary="rollouts of this console")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (OrderRefused, PlanRefused, CarriedOut) as error:
        raise Failure(str(error), error.hint) from error


def _rows(session: Session) -> Rollouts:
    session.home.make()
    return Rollouts(session.home.catalog)


# ---------------------------------------------------------------- planning


async def make_plan(session: Session, args: argparse.Namespace) -> int:
    """Stored, never edited, and readable before it is started."""
    policy = narrowed(_policy(args.policy), args.nodes)
    path = taken_bundle(session, args.bundle).absolute()
    with await asyncio.to_thread(read_archive, path) as archive:
        made = await _plan(session, policy, archive, args.change_number)
    with _rows(session) as rows:
        id_ = orders.keep_plan(rows, made, archive=str(path), operator=session.operator, wall_s=time.time())
    if session.as_json:
        session.json({"id": id_, "digest": made.digest, "plan": made})
    else:
        session.lines(rollout_text.plan_lines(id_, made))
    return OK


def _policy(path: Path) -> Policy:
    try:
        return parse_policy(path.read_text("utf-8"))
    except PolicyError as error:
        raise Failure(f"{path}: {error}", "see docs/rollouts.md", USAGE) from error
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: no UTF-8 text", code=USAGE) from error
    except OSError as error:
        raise from_os(error, "read", path) from error


async def _plan(session: Session, policy: Policy, archive: Archive, change: str) -> Plan:
    noted = Noting(session.prompter)
    addresses = session.addresses()
    fleet = LiveFleet(addresses, make_pool(session.home, noted), operator=session.operator)
    try:
        with _refusals():
            return await planned(fleet, addresses, policy, archive, noted, change=change)
    finally:
        await fleet.aclose()


# ---------------------------------------------------------------- carrying out


async def start(session: Session, args: argparse.Namespace) -> int:
    """Runs until it is done, partial or paused; the exit code is 0 only if every node of the plan runs the bundle."""
    with _refusals(), _rows(session) as rows:
        row = orders.find(rows, args.rollout)
        made = _own_number(session, row)
        question = (
            f"{row.id}: {made.bundle.name} {made.bundle.version} to {len(made.nodes)} nodes in {len(made.waves)} waves."
        )
        await session.agreed(question, row.id)
        brings = session.mandate.change_number or session.mandate.emergency
        orders.start(rows, row.id, wall_s=time.time(), brings=brings)
    return await _carry_out(session, row, bytes_per_s=args.budget)


async def resume(session: Session, args: argparse.Namespace) -> int:
    """Every node that was asked something is asked what became of it; nothing is assumed."""
    with _refusals(), _rows(session) as rows:
        row = orders.find(rows, args.rollout)
        _own_number(session, row)
        if args.past_gate or args.write_off:
            what = "past the gate that stopped it" if args.past_gate else f"without {', '.join(args.write_off)}"
            await session.agreed(f"{row.id} goes on {what}, under your name.", row.id)
        _check_free(session, row.id)
        orders.resume(
            rows,
            row.id,
            operator=session.operator,
            wall_s=time.time(),
            accept=args.past_gate,
            write_off=args.write_off,
        )
    return await _carry_out(session, row, wait_s=args.wait, bytes_per_s=args.budget)


async def retry(session: Session, args: argparse.Namespace) -> int:
    """Each gets a deployment of its own; what is on the node already is not sent again."""
    with _refusals(), _rows(session) as rows:
        row = orders.find(rows, args.rollout)
        _own_number(session, row)
        await session.agreed(
            f"{row.id}: {', '.join(args.nodes) or 'every node that failed'} gets another attempt.", row.id
        )
        _check_free(session, row.id)
        orders.retry(rows, row.id, nodes=args.nodes, operator=session.operator, wall_s=time.time())
    return await _carry_out(session, row, bytes_per_s=args.budget)


async def abort(session: Session, args: argparse.Namespace) -> int:
    """Trials end at once; `--revert` takes committed nodes back too, each with a trial of its own."""
    what = "committed nodes stay" if args.mode == "keep" else "committed nodes go back to the bundle before"
    with _refusals(), _rows(session) as rows:
        row = orders.find(rows, args.rollout)
        _own_number(session, row)
        await session.agreed(f"{row.id} is given up: trials end, {what}.", row.id)
        elsewhere = is_carried_out(session.home, row.id)
        orders.abort(rows, row.id, args.mode, wall_s=time.time())
        ended = orders.find(rows, row.id).state == "aborted"
    if elsewhere or ended:
        return _told(session, row.id, "the console that carries it out aborts it" if elsewhere else "aborted")
    return await _carry_out(session, row)


async def pause(session: Session, args: argparse.Namespace) -> int:
    """The console that carries it out ends by itself when nothing is in its trial any more."""
    with _refusals(), _rows(session) as rows:
        row = orders.find(rows, args.rollout)
        elsewhere = is_carried_out(session.home, row.id)
        orders.pause(rows, row.id, running=elsewhere, wall_s=time.time())
    return _told(session, row.id, "pauses when its running trials are at an end" if elsewhere else "paused")


def _own_number(session: Session, row: RolloutRow) -> Plan:
    """The plan. Raises Failure for another change number than the one that was planned under."""
    made = read_plan(row.plan, row.digest)
    if made.number and session.mandate.change_number not in ("", made.number):
        text = f"{row.id} was planned under the change number {made.number}"
        raise Failure(text, "leave --change away, or plan again under the other one", USAGE)
    return made


def _told(session: Session, id_: str, text: str) -> int:
    if session.as_json:
        session.json({"id": id_, "told": text})
    else:
        session.line(f"{id_}: {text}")
    return OK


def _check_free(session: Session, id_: str) -> None:
    with carrying_out(session.home, id_):
        return


async def _carry_out(
    session: Session, row: RolloutRow, *, wait_s: float = 0.0, bytes_per_s: float | None = None
) -> int:
    made, until_s = read_plan(row.plan, row.digest), time.monotonic() + wait_s
    archive = await asyncio.to_thread(open_archive, session.home, row, made)
    lane = session.operate(sorted({node.name for node in made.nodes}.union(seeds_of(made.policy.transfer.seed))))
    printer = rollout_text.Printer(row.id, quiet=session.as_json)
    book = ThreadBook(session.home.catalog)
    try:
        with _refusals(), carrying_out(session.home, row.id), archive:
            nodes = LiveNodes(
                lane,
                archive,
                operator=session.operator,
                policy=made.policy,
                on_progress=printer.progress,
                shipping=shipping_by(session.home, made, bytes_per_s),
                change=made.number,
            )
            executor = Executor(
                row.id, book=book, nodes=nodes, operator=session.operator, wall_s=time.time, on_change=printer.standing
            )
            ended = await executor.run()
            while ended.state == "partial" and time.monotonic() < until_s and await _fire_debts(session, book, row.id):
                ended = await executor.run()
        found = await book(lambda rows: told(session.home, rows, orders.find(rows, row.id)))
    finally:
        book.close()
        await lane.aclose()
    _show(session, found)
    return _code(found)


async def _fire_debts(session: Session, book: ThreadBook, id_: str) -> bool:
    """Lets owed nodes be asked again; False where nothing is owed."""

    def fire(rows: Rollouts) -> bool:
        if not any(target.debt and target.state == "skipped" for target in rows.targets(id_)):
            return False
        orders.resume(rows, id_, operator=session.operator, wall_s=time.time())
        return True

    return await book(fire)


# ---------------------------------------------------------------- reading


def _show(session: Session, found: Report) -> None:
    if session.as_json:
        session.json(found)
    else:
        session.lines(rollout_text.report_lines(found))


def _code(found: Report) -> int:
    """0: every node of the plan runs it, or it was aborted as asked; 3: of some it is not known, or they are owed."""
    if found.counts.get("unknown") or (found.state != "aborted" and found.counts.get("owed")):
        return NOT_REACHED
    aborted = found.state == "aborted" and not found.want and not found.counts.get("not reverted")
    return OK if found.success or aborted else FAILED


async def show(session: Session, args: argparse.Namespace) -> int:
    """Exit code 0 whatever it shows."""
    with _refusals(), _rows(session) as rows:
        row = orders.find(rows, args.rollout)
        found, made = told(session.home, rows, row), read_plan(row.plan, row.digest)
    if found.state == "planned" and not session.as_json:
        session.lines(rollout_text.plan_lines(found.id, made))
    else:
        _show(session, found)
    return OK


async def export_rollout(session: Session, args: argparse.Namespace) -> int:
    """It may go on meanwhile: whoever resumes asks the nodes."""
    with _refusals(), _rows(session) as rows:
        row = orders.find(rows, args.rollout)
        data, made = packed(rows, row), read_plan(row.plan, row.digest)
    path = args.output or Path(f"{row.id}.json")
    durable.write_file(path, data)
    session.line(f"{path}: {row.id}, {row.state}, {len(made.nodes)} nodes")
    session.line(
        f"  the other console needs {made.bundle.name} {made.bundle.version} and these nodes in its catalog, then"
    )
    session.line(f"  outstation rollout import {path.name}, and outstation rollout resume {row.id}")
    return OK


async def import_rollout(session: Session, args: argparse.Namespace) -> int:
    """Nothing on a node changes; `resume` then asks every node what is so."""
    try:
        data = args.file.read_bytes()
    except OSError as error:
        raise from_os(error, "read", args.file) from error
    try:
        with _rows(session) as rows:
            id_ = taken_in(rows, data, wall_s=time.time())
            found = told(session.home, rows, orders.find(rows, id_))
    except RolloutMalformed as error:
        raise Failure(f"{args.file}: {error}", error.hint) from error
    _show(session, found)
    return OK


async def list_rollouts(session: Session, args: argparse.Namespace) -> int:
    """Newest first."""
    with _rows(session) as rows:
        found = [told(session.home, rows, row) for row in rows.rollouts()]
    if session.as_json:
        session.json(found)
    else:
        session.table(rollout_text.LIST_HEADERS, [rollout_text.list_row(item) for item in found])
    return OK
