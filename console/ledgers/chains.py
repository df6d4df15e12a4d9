"""Ledgers as rows and lines: whether a chain can be believed, who did what, and what ran at a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from console import figures
from console.fleet.board import NodeState
from widgets.cells import wrap
from widgets.look import Look, Role, Span, Spans
from widgets.status import ALARM, OK, UNKNOWN, State, word
from widgets.table import Column, Row

if TYPE_CHECKING:
    from console.ledgers.past import Past
    from store.histories import Chain
    from store.ledger import Entry

CHAINS: Final = (
    Column("state", "STATE", 5),
    Column("node", "NODE", 12, flex=1, width_max=24),
    Column("entries", "ENTRIES", 7, fold=2, right=True),
    Column("verified", "SEEN", 4, fold=1, right=True),
    Column("who", "WHO", 8, fold=3, flex=1, width_max=16),
    Column("did", "DID LAST", 18, flex=2, width_max=34),
    Column("at", "WHEN", 12, fold=4),
    Column("chain", "CHAIN", 14, fold=5, flex=2),
)
ENTRIES: Final = (
    Column("seq", "SEQ", 6, right=True),
    Column("at", "TIME", 12),
    Column("who", "WHO", 8, flex=1, width_max=16),
    Column("did", "DID", 20, flex=1, width_max=26),
    Column("of", "OF", 10, fold=2, flex=1, width_max=34),
    Column("detail", "", 16, fold=1, flex=4),
)
# A copy that was verified this long ago may lack what was done since.
OLD_S: Final = 900.0
DIGEST_CELLS: Final = 19
UUID_CHARS: Final = 32
ID_CELLS: Final = 8


@dataclass(frozen=True, slots=True)
class Judged:
    """One node's chain: its state, and the sentence that says why."""

    state: State
    text: str


def node_id_of(state: NodeState) -> str:
    """The id under which the node's copy is kept; "" while it was never seen."""
    view = state.view
    return view.address.node_id or (view.status.node_id if view.status else "") or _told(state)


def _told(state: NodeState) -> str:
    return state.view.telemetry.node_id if state.view.telemetry is not None else ""


def judge(state: NodeState, chain: Chain | None, wall_s: float) -> Judged:
    """Broken is an alarm; never verified, or not lately, is unknown and never ok."""
    if chain is not None and chain.broken is not None:
        found = chain.broken.found
        return Judged(ALARM, f"{found.kind.upper()} at entry {found.seq}: {found.text}")
    if state.view.ledger_break:
        return Judged(ALARM, state.view.ledger_break)
    if chain is None or chain.verified_wall_s is None:
        return Judged(UNKNOWN, "never verified here" + ("; v does it" if state.known else f"; {state.reason}"))
    age_s = wall_s - chain.verified_wall_s
    if age_s > OLD_S:
        return Judged(UNKNOWN, f"verified {figures.age(age_s)} ago, not since" + ("; v does it" if state.known else ""))
    return Judged(OK, "one chain, verified")


def order(states: Mapping[str, NodeState], chains: Mapping[str, Chain], wall_s: float) -> list[str]:
    """Broken ones first, then unknown ones; by name."""
    ranks = {ALARM: 0, UNKNOWN: 1, OK: 2}
    judged = {name: judge(s, chains.get(node_id_of(s)), wall_s).state for name, s in states.items()}
    return sorted(states, key=lambda name: (ranks[judged[name]], name))


def chain_row(state: NodeState, chain: Chain | None, wall_s: float, look: Look) -> Row:
    """One node of the ledger screen. What is not ok says why instead of who did what."""
    judged = judge(state, chain, wall_s)
    cells: dict[str, Span] = {
        "state": word(judged.state, look),
        "node": (state.view.name, "strong" if judged.state is not OK else "base"),
        "entries": (f"{chain.head.seq:,}" if chain else figures.UNKNOWN, "base"),
        "verified": (_seen(chain, wall_s), "base"),
    }
    if judged.state is not OK:
        role: Role = "strong" if judged.state is ALARM else "unknown"
        return Row(cells, sentence=(judged.text, role), keep=("state", "node", "entries", "verified"))
    assert chain is not None
    if chain.newest is not None:
        cells |= {
            "who": (who(chain.newest), "base"),
            "did": (did(chain.newest), "base"),
            "at": (figures.day_and_time(chain.newest.wall_us, state.view.clock_offset_s), "dim"),
        }
    return Row(cells | {"chain": (judged.text, "dim")})


def _seen(chain: Chain | None, wall_s: float) -> str:
    if chain is None or chain.verified_wall_s is None:
        return figures.UNKNOWN
    return figures.age(max(0.0, wall_s - chain.verified_wall_s))


def did(entry: Entry) -> str:
    """`deployment.committed` as it is read: `deployment committed`."""
    return entry.action.replace(".", " ").replace("_", " ")


def who(entry: Entry) -> str:
    """The name alone; how it was proved stands in the entry."""
    return entry.actor.partition(" (")[0]


def of(entry: Entry) -> str:
    """What it was done to; of a long number its beginning."""
    subject = entry.subject
    return subject[:ID_CELLS] if len(subject) == UUID_CHARS and subject.isalnum() else subject


def details(entry: Entry) -> str:
    """What was written down beside it."""
    told = ((str(name).replace("_", " "), value) for name, value in entry.detail.items() if value not in ("", None))
    return ", ".join(f"{name} {_short(value)}" for name, value in told)


def _short(value: object) -> str:
    text = str(value)
    return text[:DIGEST_CELLS] if text.startswith("sha256:") else text


def entry_row(entry: Entry, offset_s: float | None) -> Row:
    """One entry of a chain."""
    person: Role = "dim" if entry.actor == "agent" else "strong"
    return Row(
        {
            "seq": (str(entry.seq), "dim"),
            "at": (figures.day_and_time(entry.wall_us, offset_s), "dim"),
            "who": (who(entry), person),
            "did": (did(entry), "base"),
            "of": (of(entry), "base"),
            "detail": (details(entry), "dim"),
        }
    )


def entry_spans(entry: Entry, offset_s: float | None) -> Spans:
    """One entry as a line under the list."""
    person: Role = "dim" if entry.actor == "agent" else "strong"
    text = "  ".join(part for part in (did(entry), of(entry), details(entry)) if part)
    at = figures.day_and_time(entry.wall_us, offset_s)
    return ((f" {at:<12} ", "dim"), (f"{who(entry):<10} ", person), (text, "base"))


def entry_lines(entry: Entry, offset_s: float | None, width: int) -> list[Spans]:
    """One entry, whole."""
    facts = [
        ("entry", str(entry.seq)),
        ("time", f"{figures.day_and_time(entry.wall_us, offset_s)} {figures.moment(entry.wall_us, offset_s)}"),
        ("node clock", f"{figures.day_and_time(entry.wall_us)} {figures.moment(entry.wall_us)}"),
        ("who", entry.actor),
        ("did", entry.action),
        ("of", entry.subject),
        ("boot", entry.boot_id),
        *((str(name), str(value)) for name, value in entry.detail.items()),
        ("hash", entry.hash),
        ("before it", entry.previous),
    ]
    return [
        ((f" {name if i == 0 else '':<18.18} ", "dim"), (line, "base"))
        for name, text in facts
        for i, line in enumerate(wrap(text, width - 21))
    ]


def past_lines(node: str, at_us: int, found: Past | None, offset_s: float | None, width: int) -> list[Spans]:
    """What ran at a moment, what stood, and who did what before and after it."""
    if found is None:
        return [((f" {node}: nothing of its ledger was ever verified here; v fetches it while the node answers",
                  "unknown"),)]  # fmt: skip
    when = figures.day_and_time(at_us)
    lines: list[Spans] = [((f" {node} at {when}", "title"),)]
    if not found.before:
        lines.append(((" its ledger begins after that time", "unknown"),))
    for ran in found.ran:
        revision = "stopped" if ran.revision is None else f"{ran.version} r{ran.revision} {ran.state.lower()}"
        since = figures.day_and_time(ran.since_us, offset_s)
        told = f"since {since} by {ran.by}   {ran.digest[:19]}"
        lines.append(((f" {ran.bundle} {revision}", "strong"), (f"   {told}", "base")))
    if not found.ran and found.before:
        lines.append(((" nothing ran", "strong"),))
    lines += [((f" {name}: {text}", "warn"),) for name, text in found.standing.items()]
    lines.append(())
    lines += [entry_spans(entry, offset_s) for entry in found.before]
    lines.append(((f" {'-' * 4} {when} {'-' * max(4, width - len(when) - 8)}", "dim"),))
    lines += [entry_spans(entry, offset_s) for entry in found.after]
    if not found.after:
        lines.append(((" nothing has been written since", "dim"),))
    if found.clock_steps:
        steps = ", ".join(map(str, found.clock_steps[:5]))
        lines += [
            (),
            ((f" the node's clock went back at entry {steps}: times around it are not of one clock", "warn"),),
        ]
    return lines


def newest_lines(entries: Sequence[Entry], offset_s: float | None, lines: int) -> list[Spans]:
    """The newest entries, newest first, in at most `lines` lines."""
    return [entry_spans(entry, offset_s) for entry in list(reversed(entries))[: max(0, lines)]]
