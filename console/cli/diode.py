"""`outstation diode ...`: nodes behind a data diode; their signed reports come in as files, nothing goes to them."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from console import figures
from console.cli.arguments import add_verb, add_yes, duration_s, pair
from console.cli.session import Session
from console.diode.folder import take_folder
from console.diode.intake import Taken, decoded
from console.diode.standing import view_of
from console.diode.watch import FOLDER_SETTING
from console.failure import FAILED, OK, Failure
from console.fleet.board import NodeState, judge
from console.fleet.view import LinkState, NodeAddress, NodeView
from console.home import check_node_name, row_of
from console.receipts import is_removable
from nodeagent.protocol import ONE_WAY_NAMESPACE
from store import signers
from store.errors import from_os
from store.oneway import Reports

AGE_S_DEFAULT = 900.0
AGE_S_MIN = 10.0
HOST = "one-way"
SAID_MAX = 20


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    parser = verbs.add_parser("diode", help="nodes behind a data diode: add, take their reports, list")
    group = parser.add_subparsers(dest="diode_verb", required=True, metavar="VERB")
    added = add_verb(group, "add", add_node, summary="add a one-way node with the key that its reports are signed with")
    added.add_argument("name", help="what the node is called here")
    added.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="what `outstation-agent export --public-key` printed"
    )
    added.add_argument(
        "--age", type=duration_s, default=AGE_S_DEFAULT, metavar="TIME",
        help="past this age a report says nothing any more (default: 15m)",
    )  # fmt: skip
    for place in ("site", "line", "machine"):
        added.add_argument(f"--{place}", default="", help=f"the {place} it belongs to")
    added.add_argument("--label", action="append", default=[], type=pair, metavar="NAME=VALUE")
    add_yes(added)
    taken = add_verb(group, "import", import_reports, summary="take reports from a stick or a folder")
    taken.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="a folder of reports, or one of them")
    watched = add_verb(
        group, "watch", watch, summary="take what comes into a folder while the console runs", json=False
    )
    watched.add_argument("folder", nargs="?", type=Path, help="the folder that the diode writes to; none: end that")
    add_verb(group, "list", list_nodes, summary="one-way nodes, and how old the newest report of each is")
    accepted = add_verb(group, "accept", accept, summary="end the problem of a number that came twice", json=False)
    accepted.add_argument("name", metavar="NODE")
    add_yes(accepted)


async def add_node(session: Session, args: argparse.Namespace) -> int:
    """Shows the key and asks: nothing else can vouch for it here."""
    name = check_node_name(args.name)
    if session.catalog.node(name) is not None:
        raise Failure(f"there is a node {name} already", f"`outstation node remove {name}` first, or take another name")
    if args.age < AGE_S_MIN:
        raise Failure(f"--age is at least {AGE_S_MIN:.0f} s")
    key, fingerprint, node_id = _read_key(args.key)
    other = next((row.name for row in session.catalog.nodes() if row.node_id == node_id), None)
    if other is not None:
        raise Failure(f"{node_id} is {other} already", f"`outstation node remove {other}` first")
    session.line(f"{name}: {node_id}, reports signed by {fingerprint}")
    await session.agreed("whoever holds that key says how this node does.", name)
    address = NodeAddress(
        name=name, host=HOST, site=args.site, line=args.line, machine=args.machine, labels=tuple(args.label),
        node_id=node_id, one_way_key=key, one_way_age_s=args.age,
    )  # fmt: skip
    session.catalog.put_node(row_of(address))
    if session.as_json:
        session.json({"node": name, "node_id": node_id, "key": fingerprint, "age_s": args.age})
    else:
        session.line(f"added {name}; now `outstation diode import FOLDER`, or `outstation diode watch FOLDER`")
    return OK


def _read_key(path: Path) -> tuple[str, str, str]:
    """The key as `TYPE BASE64`, its fingerprint, and the node's id."""
    try:
        words = path.read_text("utf-8").split()
    except OSError as error:
        raise from_os(error, "read", path) from error
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is no public key") from error
    if len(words) != 3:
        hint = "`outstation-agent export --public-key` on the node prints it: the key's type, the key, the node's id"
        raise Failure(f"{path} is not one line of a node's report key", hint)
    found = signers.parse(f'{words[2]} namespaces="{ONE_WAY_NAMESPACE}" {words[0]} {words[1]}\n')
    return f"{words[0]} {words[1]}", found[0].key.fingerprint, words[2]


async def import_reports(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 where one is refused, or two bear one number; the others are taken all the same."""
    session.catalog.nodes()  # The database is there before it is opened a second time.
    taken = await asyncio.to_thread(take_folder, session.home.catalog, args.paths)
    bad = [each for each in taken if each.outcome in ("refused", "doubled")]
    if session.as_json:
        session.json([{"file": str(t.path), "node": t.node, "sequence": t.sequence, "outcome": t.outcome,
                       "text": t.text} for t in taken])  # fmt: skip
        return FAILED if bad else OK
    _say(session, taken)
    names = sorted({each.node for each in taken if each.outcome in ("new", "late", "known")})
    if names:
        _table(session, [state for state in _states(session) if state.view.name in names])
    if not taken:
        session.line("no reports lie there (NODE_ID-NUMBER.status)")
    return FAILED if bad else OK


def _say(session: Session, taken: Sequence[Taken]) -> None:
    counts = Counter((each.node or "?", each.outcome) for each in taken)
    for (node, outcome), number in sorted(counts.items()):
        session.line(f"{node}: {number} {outcome}")
    spoken = [each for each in taken if each.text]
    for each in spoken[-SAID_MAX:]:
        session.line(f"  {each.path.name}: {each.text}")


async def watch(session: Session, args: argparse.Namespace) -> int:
    """The application looks there every few seconds; `status` and `diode list` show what came."""
    if args.folder is None:
        session.catalog.set_setting(FOLDER_SETTING, "")
        session.line("no folder is watched")
        return OK
    folder = args.folder.expanduser().absolute()
    if not folder.is_dir():
        raise Failure(f"{folder} is no folder")
    if await asyncio.to_thread(is_removable, folder):
        hint = "name a folder of this machine; reports on a stick are taken with `outstation diode import FOLDER`"
        raise Failure(f"{folder} is on removable media, which is never opened by itself", hint)
    session.catalog.set_setting(FOLDER_SETTING, str(folder))
    session.line(f"{folder} is watched while the console runs")
    return OK


async def list_nodes(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 where a report is too old, or none came: what is not known is not ok."""
    states = _states(session)
    if session.as_json:
        session.json([status_json(state) for state in states])
    elif not states:
        session.line("no one-way nodes; add one with `outstation diode add NAME --key FILE`")
    else:
        _table(session, states)
    return OK if all(state.known for state in states) else FAILED


def _table(session: Session, states: Sequence[NodeState]) -> None:
    rows = [
        (
            state.condition.name,
            state.view.name,
            state.view.link_error or "-",
            figures.age(state.view.age_s(time.monotonic())),
            figures.countdown(state.view.address.one_way_age_s),
            str(state.view.report_number or "-"),
            str(state.view.reports_lost),
            state.reason,
        )
        for state in states
    ]
    session.table(("STATE", "NODE", "DIODE", "AGE", "LIMIT", "REPORT", "LOST", "NOTE"), rows, right=(3, 4, 5, 6))


async def accept(session: Session, args: argparse.Namespace) -> int:
    """A person's word that the two reports are explained."""
    (address,) = session.addresses([args.name])
    await session.agreed(f"{args.name}: reports with one number are taken as explained.", args.name)
    with Reports(session.home.catalog) as reports:
        if not reports.accept(address.node_id):
            raise Failure(f"{args.name} has no such problem")
    session.line(f"{args.name}: accepted")
    return OK


def _states(session: Session) -> list[NodeState]:
    return one_way_states(session, [a for a in session.addresses() if a.one_way_key])


def one_way_states(session: Session, addresses: Sequence[NodeAddress]) -> list[NodeState]:
    """How these one-way nodes stand by what came of them."""
    now_s, wall_s = time.monotonic(), time.time()
    found = []
    with Reports(session.home.catalog) as reports:
        for address in addresses:
            newest = reports.newest(address.node_id)
            report = None if newest is None else decoded(newest.document)
            view = view_of(NodeView(address, LinkState.ONE_WAY), newest, report, now_s=now_s, wall_s=wall_s)
            found.append(judge(view, now_s))
    return found


def status_json(state: NodeState) -> dict[str, object]:
    """A one-way node as scripts read it; `reached` is false, since nobody asked it."""
    view = state.view
    return {
        "node": view.name, "reached": False, "one_way": True, "known": state.known, "condition": state.condition.name,
        "as_of": view.link_error, "age_s": view.age_s(time.monotonic()), "report": view.report_number,
        "lost": view.reports_lost, "reason": state.reason, "status": view.status if state.known else None,
    }  # fmt: skip
