"""`outstation ledger ...`: a node's history, verified against what this console and others saw of it before."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from console import figures
from console.cli.arguments import add_verb, add_yes
from console.cli.keys import add_key, signer_of
from console.cli.session import Session
from console.client.clean import clean, clean_all
from console.client.client import AgentClient
from console.client.wire import AgentError
from console.failure import FAILED, NOT_REACHED, OK, USAGE, Failure, account
from console.fleet.view import NodeAddress
from console.ledgers import copies
from console.ledgers.copies import CopyRefused, Header
from console.ledgers.past import Past, past
from console.ledgers.visits import AT_ONCE_MAX, HereBook, Visit, in_words, visit
from console.link.errors import LinkError
from console.moments import EXAMPLES, MomentError, parse_moment
from store.histories import Histories
from store.ledger import Break, Entry

LIMIT = 50
LIMIT_MAX = 100_000
AROUND = 10
TEXT_CHARS_MAX = 200
HINT = "compare with another console (`outstation ledger import`); then `outstation ledger accept NODE --reason ...`"


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the group."""
    ledger = verbs.add_parser("ledger", help="a node's history: show, verify, export, import, what was at a time")
    group = ledger.add_subparsers(dest="ledger_verb", required=True, metavar="VERB")
    shown = add_verb(group, "show", show, summary="the newest entries, verified")
    shown.add_argument("node")
    shown.add_argument("-n", "--limit", type=int, default=LIMIT)
    verified = add_verb(group, "verify", verify, summary="fetch what is new and verify that it extends what was seen")
    verified.add_argument("nodes", nargs="*", metavar="NODE")
    exported = add_verb(group, "export", export, summary="this console's verified copy, as a file for another console")
    exported.add_argument("node")
    exported.add_argument("-o", "--out", type=Path, default=Path(), help="a file, or the folder it goes to")
    add_key(exported, required=False)
    exported.add_argument("--unsigned", action="store_true", help="nobody vouches for it; it does not merge unasked")
    taken = add_verb(group, "import", import_copies, summary="merge copies that another console exported")
    taken.add_argument("files", nargs="+", type=Path, metavar="FILE")
    taken.add_argument("--signers", type=Path, metavar="FILE", help="allowed signers of exports (the console's own)")
    taken.add_argument("--unsigned", action="store_true", help="merge what nobody known has signed, after asking")
    add_yes(taken)
    at = add_verb(group, "at", show_past, summary="what ran at a time, and who did what")
    at.add_argument("time", type=moment_us, help=f"local time: {EXAMPLES}; or with an offset as +01:00")
    at.add_argument("node")
    at.add_argument("-n", "--around", type=int, default=AROUND, help="entries before and after (10)")
    accepted = add_verb(group, "accept", accept, summary="end a broken chain's alarm, under your name")
    accepted.add_argument("node")
    accepted.add_argument("--reason", required=True, help="why it is accepted; kept with the old chain")
    add_yes(accepted)


def moment_us(text: str) -> int:
    """A time in microseconds since the Unix epoch. Raises ArgumentTypeError."""
    try:
        return parse_moment(text, time.time())
    except MomentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@contextmanager
def opened(session: Session) -> Iterator[Histories]:
    """This console's copies."""
    session.home.make()
    with Histories(session.home.catalog) as histories:
        yield histories


async def _visit(session: Session, histories: Histories, name: str) -> Visit:
    async with session.client(name) as client:
        return await visit(client, HereBook(histories))


async def witness(session: Session, client: AgentClient) -> None:
    """What every verb that changes a node does with its ledger: verifies and keeps what is new; red goes to stderr."""
    try:
        with opened(session) as histories:
            found = await visit(client, HereBook(histories))
    except (AgentError, LinkError) as error:
        print(clean(f"{client.node}: its ledger was not verified: {account(error).what}"), file=sys.stderr)
        return
    if found.broken is not None:
        told = f"X {client.node}: {in_words(found.broken)}; next: {HINT.replace('NODE', client.node)}"
        print(clean(told), file=sys.stderr)


async def _node_id(session: Session, name: str) -> str:
    """The id that is pinned; the node is asked for it, and it is pinned, where none is yet. Raises as a visit."""
    (address,) = session.addresses([name])
    if address.node_id:
        return address.node_id
    async with session.client(name) as client:
        node_id = await client.identify()
    session.catalog.learn_node_id(name, node_id)
    return node_id


def _red(session: Session, name: str, told: str) -> None:
    session.line(f"X {name}: {told}")
    session.line(f"  next: {HINT.replace('NODE', name)}")


async def show(session: Session, args: argparse.Namespace) -> int:
    """The newest entries of the verified copy; a broken chain shows what was verified before it broke."""
    with opened(session) as histories:
        found = await _visit(session, histories, args.node)
        first = max(0, found.head.seq - _within(args.limit, LIMIT_MAX))
        entries = histories.entries(found.node_id, after=first)
    if session.as_json:
        chain = in_words(found.broken) if found.broken else "verified"
        session.json({"chain": chain, "head": found.head, "entries": [_plain(entry) for entry in entries]})
    else:
        _table(session, entries)
        if found.broken is None:
            session.line(f"chain verified: {found.head.seq} entries, {found.new} new, lead to the node's head")
        else:
            _red(session, args.node, in_words(found.broken))
    return OK if found.broken is None else FAILED


async def verify(session: Session, args: argparse.Namespace) -> int:
    """Every named node, or all, some at once. Exit code 1 when a chain is broken, 3 when a node is not reached."""
    room = asyncio.Semaphore(AT_ONCE_MAX)
    with opened(session) as histories:
        async with session.fleet(args.nodes) as fleet:

            async def one(address: NodeAddress) -> tuple[tuple[str, str, int, int, str], int]:
                async with room:
                    return await _verified(fleet.client(address.name), histories, address)

            found = await asyncio.gather(*(one(address) for address in session.addresses(args.nodes)))
    rows, codes = [row for row, _ in found], {code for _, code in found}
    if session.as_json:
        keys = ("node", "mark", "entries", "new", "text")
        session.json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        lines = [(mark, name, str(seq), str(new), text) for name, mark, seq, new, text in rows]
        session.table(("", "NODE", "ENTRIES", "NEW", "CHAIN"), lines, right=(2, 3))
        if FAILED in codes:
            session.line(f"next: {HINT}")
    return FAILED if FAILED in codes else max(codes, default=OK)


async def _verified(
    client: AgentClient, histories: Histories, address: NodeAddress
) -> tuple[tuple[str, str, int, int, str], int]:
    """One node's line and exit code."""
    try:
        found = await visit(client, HereBook(histories))
    except (AgentError, LinkError) as error:
        known = histories.broken(address.node_id)
        told = str(known) if known is not None else f"not verified now: {account(error).what}"
        row = (address.name, "X" if known else "?", histories.head(address.node_id).seq, 0, told)
        return row, FAILED if known else account(error).code
    words = "" if found.broken is None else in_words(found.broken)
    row = (address.name, "X" if words else " ", found.head.seq, found.new, words or "extends the anchor")
    return row, FAILED if words else OK


async def export(session: Session, args: argparse.Namespace) -> int:
    """Visits the node where it is reached; otherwise what was verified before is written. Signed by who exports it."""
    if not args.unsigned and args.key is None and args.ssh_agent is None:
        raise Failure("an export is signed", "give --key FILE or --ssh-agent SHA256:..., or say --unsigned", USAGE)
    node_id = await _node_id(session, args.node)
    with opened(session) as histories:
        note = await _refreshed(session, histories, args.node)
        entries, head = histories.entries(node_id), histories.head(node_id)
        if not entries:
            raise Failure(f"{args.node}: nothing of its ledger was ever verified here", note, NOT_REACHED)
        sign = None if args.unsigned else await signer_of(session, args, copies.NAMESPACE)
        path = args.out / f"{args.node}-{head.seq}.ledger" if args.out.is_dir() else args.out
        header = Header(
            format=copies.FORMAT,
            node_id=node_id,
            node=args.node,
            exported_by=session.operator,
            exported_wall_s=time.time(),
            entries=len(entries),
            head_hash=head.hash,
        )
        copies.write(path, header, entries, sign)
        broken = histories.broken(node_id)
    if session.as_json:
        session.json({"file": str(path), "entries": len(entries), "head": head, "note": note})
    else:
        told = f"verified, {'UNSIGNED' if args.unsigned else 'signed'}" + (f"; {note}" if note else "")
        session.line(f"{path}: {len(entries)} entries of {args.node}, {told}")
        if broken is not None:
            session.line(f"X the chain broke after them: {broken}")
    return OK


async def _refreshed(session: Session, histories: Histories, name: str) -> str:
    """Visits the node; why the copy may be older than the node's ledger, "" if it is not."""
    try:
        await _visit(session, histories, name)
    except (AgentError, LinkError) as error:
        return f"as of the last visit: {account(error).what}"
    return ""


async def import_copies(session: Session, args: argparse.Namespace) -> int:
    """Each file extends this console's copy, says nothing new, or shows that a node told two histories.

    What nobody known has signed is shown as that, and merges only where the person says so a second time.
    """
    names = {address.node_id: address.name for address in session.addresses() if address.node_id}
    signers = _signers(session, args.signers)
    found: list[tuple[Path, str, str, int, int, Break | None, bool]] = []
    with opened(session) as histories:
        for path in args.files:
            with _refusals(path):
                copy = copies.read(path)
                signer, doubt = copies.signer_of(copy, signers, time.time())
            header, name = copy.header, names.get(copy.header.node_id, copy.header.node)
            by = f"{signer.principal} {signer.fingerprint}" if signer else doubt
            if signer is None and not await _taken_on_trust(session, args, path, name, doubt):
                found.append((path, name, by, 0, header.entries, None, False))
                continue
            source = path.name if signer else f"{path.name}, {doubt}, taken by {session.operator}"
            new, broken = histories.merge(header.node_id, copy.entries, source=source, wall_s=time.time())
            found.append((path, name, by, new, header.entries, broken, True))
    if session.as_json:
        keys = ("file", "node", "signed_by", "new", "entries", "broken", "merged")
        told = [(str(path), *rest[:4], broken and in_words(broken), merged) for path, *rest, broken, merged in found]
        session.json([dict(zip(keys, row, strict=True)) for row in told])
    else:
        for path, name, by, new, count, broken, merged in found:
            if broken is not None:
                session.line(f"{path}: {by}")
                _red(session, name, in_words(broken))
            elif merged:
                session.line(f"{path}: {name}: {new} of {count} entries were new here; one chain; {by}")
            else:
                session.line(f"X {path}: {name}: NOT merged. {by}")
    return FAILED if any(broken or not merged for *_, broken, merged in found) else OK


def _signers(session: Session, file: Path | None) -> str:
    """Whose exports this console takes: allowed_signers lines with the namespace outstation-ledger."""
    path = file or session.home.allowed_signers
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        if file is None:
            return ""
        raise Failure(f"there is no file {path}", code=USAGE) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} cannot be read: {error}", code=USAGE) from error


async def _taken_on_trust(session: Session, args: argparse.Namespace, path: Path, name: str, doubt: str) -> bool:
    if not args.unsigned:
        return False
    question = f"{path}: {name}. {doubt}.\nIt becomes part of what this console says of the node, under your name."
    await session.agreed(question, name)
    return True


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except CopyRefused as error:
        told = str(error)
        raise Failure(told if told.startswith(str(path)) else f"{path}: {told}", error.hint) from error


async def show_past(session: Session, args: argparse.Namespace) -> int:
    """Answered from the verified copy; the node is asked for what is new where it is reached."""
    node_id = await _node_id(session, args.node)
    with opened(session) as histories:
        note = await _refreshed(session, histories, args.node)
        entries, broken = histories.entries(node_id), histories.broken(node_id)
    if not entries:
        raise Failure(f"{args.node}: nothing of its ledger was ever verified here", note, NOT_REACHED)
    found = past(entries, args.time, around=_within(args.around, LIMIT_MAX))
    if session.as_json:
        plain = {"before": [_plain(e) for e in found.before], "after": [_plain(e) for e in found.after]}
        shown = {"ran": found.ran, "standing": found.standing, "clock_steps": found.clock_steps, **plain}
        session.json({"node": args.node, "note": note, "broken": str(broken) if broken else "", **shown})
    else:
        _tell_past(session, args.node, args.time, found, entries)
        session.lines([line for line in (note, f"X {broken}" if broken else "") if line])
    return FAILED if broken else OK


def _tell_past(session: Session, node: str, at_us: int, found: Past, entries: Sequence[Entry]) -> None:
    when = figures.day_and_time(at_us)
    if not found.before:
        session.line(f"{node}: its ledger begins after {when}, at {figures.day_and_time(entries[0].wall_us)}")
    rows = [
        (
            ran.bundle,
            ran.version if ran.revision is not None else "stopped",
            f"r{ran.revision}" if ran.revision is not None else figures.NONE,
            ran.state,
            figures.day_and_time(ran.since_us),
            ran.by,
            ran.signer.partition(" ")[0] or figures.NONE,
            ran.digest[:19],
        )
        for ran in found.ran
    ]
    session.line(f"{node} at {when}, by its own clock:")
    if rows:
        session.table(("BUNDLE", "VERSION", "REV", "STATE", "SINCE", "BY", "SIGNED BY", "DIGEST"), rows)
    else:
        session.line("nothing ran")
    session.lines([f"{name}: {text}" for name, text in found.standing.items()])
    session.line()
    _table(session, found.before)
    session.line(f"---- {when} ----")
    if found.after:
        _table(session, found.after)
    if found.clock_steps:
        steps = ", ".join(map(str, found.clock_steps[:5]))
        session.line(f"! the node's clock went back at entry {steps}: times before and after it are not of one clock")


def _table(session: Session, entries: Sequence[Entry]) -> None:
    cleaned = [clean_all(entry._asdict(), TEXT_CHARS_MAX) for entry in entries]
    rows = [
        (str(e.seq), figures.day_and_time(e.wall_us), e.actor, e.action, e.subject, _detail(e))
        for e in (Entry(**plain) for plain in cleaned)
    ]
    session.table(("SEQ", "TIME", "WHO", "WHAT", "OF", ""), rows, right=(0,))


def _plain(entry: Entry) -> dict[str, object]:
    return entry._asdict()


def _detail(entry: Entry) -> str:
    return ", ".join(f"{name} {value}" for name, value in entry.detail.items() if value not in ("", None))


async def accept(session: Session, args: argparse.Namespace) -> int:
    """The old chain and the break are kept; what the node shows now is verified from its first entry on."""
    node_id = await _node_id(session, args.node)
    with opened(session) as histories:
        known = histories.broken(node_id)
        if known is None:
            raise Failure(f"{args.node}: no break of its ledger is known here", code=USAGE)
        await session.agreed(f"{args.node}: {known}.\nIts alarm ends; its history begins anew here.", args.node)
        histories.accept(node_id, by=session.operator, why=args.reason)
        note = await _refreshed(session, histories, args.node)
        after, head = histories.broken(node_id), histories.head(node_id)
    told = f"{head.seq} entries verified from the first one on" + (f"; {note}" if note else "")
    if session.as_json:
        session.json({"accepted": str(known), "broken": str(after) if after else "", "head": head})
    else:
        session.line(f"{args.node}: accepted by {session.operator}; {after or told}")
    return FAILED if after else OK


def _within(wanted: int, most: int) -> int:
    if not 0 < wanted <= most:
        raise Failure(f"from 1 to {most}", code=USAGE)
    return wanted
