"""`alert`: what stands, who has seen it, what is kept quiet for a time, and the rules behind it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import figures
from console.cli import fleet
from console.cli.arguments import add_verb, add_yes, duration_s
from console.cli.session import Session
from console.client.clean import clean
from console.failure import OK, USAGE, Failure
from nodeagent.protocol import Alert, AlertRules

RULES_BYTES_MAX = 64 << 10


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    summary = "alerts of nodes: list, acknowledge, shelve, and their rules"
    group = verbs.add_parser("alert", help=summary).add_subparsers(dest="alert_verb", metavar="VERB", required=True)
    add_verb(group, "list", fleet.alerts, summary="alerts of nodes").add_argument("nodes", nargs="*", metavar="NODE")
    ack = add_verb(group, "ack", fleet.acknowledge, summary="acknowledge an alert under your name")
    _of_an_alert(ack)
    ack.add_argument("--note", default="", help="what you know about it")
    shelved = add_verb(group, "shelve", shelve, summary="keep an alert quiet for a time")
    _of_an_alert(shelved)
    shelved.add_argument("--for", dest="for_s", type=duration_s, required=True, metavar="TIME", help="such as 4h")
    shelved.add_argument("--reason", required=True, help="why; it is shown to everybody")
    add_yes(shelved)
    taken = add_verb(group, "unshelve", unshelve, summary="let a shelved alert be heard again")
    _of_an_alert(taken)
    ruled = add_verb(group, "rules", rules, summary="the alert rules of a node; with --set, other ones")
    ruled.add_argument("node")
    ruled.add_argument("--set", dest="file", type=Path, metavar="FILE", help="TOML; `-` is standard input")
    ruled.add_argument("--clear", action="store_true", help="back to what bundles and defaults say")
    ruled.add_argument("--check", type=Path, metavar="FILE", help="only let the node read it")
    add_yes(ruled)


def _of_an_alert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node")
    parser.add_argument("alert", type=int, help="its number in `outstation alert list`")


async def shelve(session: Session, args: argparse.Namespace) -> int:
    """Needs OPERATE. It ends by itself, at the latest when the node starts anew."""
    span = figures.countdown(args.for_s)
    await session.agreed(
        f"{args.node}: alert {args.alert} is not announced for {span}, also if it comes again.", args.node
    )
    async with session.operate([args.node]) as lane:
        alert = await lane.client(args.node).shelve(args.alert, args.for_s / 3_600, args.reason)
    _say(session, args.node, alert)
    return OK


async def unshelve(session: Session, args: argparse.Namespace) -> int:
    """Nothing is asked: more is announced afterwards, not less."""
    async with session.operate([args.node]) as lane:
        alert = await lane.client(args.node).shelve(args.alert, 0.0)
    _say(session, args.node, alert)
    return OK


def _say(session: Session, node: str, alert: Alert) -> None:
    if session.as_json:
        session.json(alert)
    elif alert.shelved_s_left:
        session.line(f"{node}: alert {alert.id} {alert.code} is shelved by {alert.shelved_by} for "
                     f"{figures.countdown(alert.shelved_s_left)}: {alert.note}")  # fmt: skip
    else:
        session.line(f"{node}: alert {alert.id} {alert.code} is not shelved; it is announced while its condition lasts")


async def rules(session: Session, args: argparse.Namespace) -> int:
    """Shows or sets them. What the operator sets comes before bundles, these before the defaults."""
    if sum(bool(given) for given in (args.file, args.clear, args.check)) > 1:
        raise Failure("--set, --clear and --check exclude one another", code=USAGE)
    if args.check is not None:
        async with session.operate([args.node]) as lane:
            await lane.client(args.node).set_alert_rules(_text(args.check), dry_run=True)
        session.line(f"{args.check}: the node can read it; nothing was changed")
        return OK
    if args.file is None and not args.clear:
        async with session.client(args.node) as client:
            found = await client.alert_rules()
        _show(session, args.node, found)
        return OK
    text = "" if args.clear else _text(args.file)
    await session.agreed(
        f"{args.node}: its alerts follow {'the defaults' if args.clear else args.file} at once.", args.node
    )
    async with session.operate([args.node]) as lane:
        found = await lane.client(args.node).set_alert_rules(text)
    if session.as_json:
        session.json(found)
    else:
        session.line(f"{args.node}: {'the defaults are in force' if args.clear else f'{args.file} is in force'}")
    return OK


def _text(path: Path) -> str:
    """The rules in a file. Raises Failure."""
    try:
        data = sys.stdin.buffer.read(RULES_BYTES_MAX + 1) if str(path) == "-" else path.read_bytes()
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {error}", "nothing was changed", code=USAGE) from error
    if len(data) > RULES_BYTES_MAX:
        raise Failure(f"{path} is longer than {RULES_BYTES_MAX} bytes", "nothing was changed", code=USAGE)
    return text


def _show(session: Session, node: str, found: AlertRules) -> None:
    if session.as_json:
        session.json(found)
        return
    session.line(f"# {node}: set by the operator" + ("" if found.text else ": nothing"))
    for line in found.text.splitlines():
        session.line(clean(line))
    for rule in found.bundles:
        session.line(f"# of {clean(rule)}")
    session.line("# the defaults of this node")
    for line in found.defaults.splitlines():
        session.line(clean(line))
