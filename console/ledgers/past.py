"""What was true on a node at a moment of the past, read from its ledger alone. Pure.

Entries are in the order in which things happened; their wall times are the node's own clock, which may have been wrong.
So the moment is a place in the chain: behind the last entry that was written at or before it, by that clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store.ledger import Entry

CLOCK_STEP_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Ran:
    """One bundle as it ran. `revision` None: it was stopped. `state`: TRIAL, COMMITTED or ROLLED_BACK."""

    bundle: str
    revision: int | None
    version: str
    digest: str
    state: str
    by: str
    signer: str
    since_us: int
    deployment: str


@dataclass(frozen=True, slots=True)
class Past:
    """A moment: what ran, what stood, who did what up to it and after it. `clock_steps`: seqs at which it went back."""

    ran: list[Ran]
    standing: dict[str, str]
    before: list[Entry]
    after: list[Entry]
    clock_steps: list[int]


@dataclass
class _Reading:
    """What the entries up to a place say."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    revisions: dict[tuple[str, int], Ran] = field(default_factory=dict)
    active: dict[str, Ran] = field(default_factory=dict)
    standing: dict[str, str] = field(default_factory=dict)


def past(entries: Sequence[Entry], at_us: int, *, around: int = 10) -> Past:
    """The moment `at_us` (microseconds since the Unix epoch node clock), `around` entries on each side."""
    place = max((index + 1 for index, entry in enumerate(entries) if entry.wall_us <= at_us), default=0)
    reading = _Reading()
    for entry in entries[:place]:
        _read(reading, entry)
    steps = [
        later.seq for earlier, later in itertools.pairwise(entries) if later.wall_us < earlier.wall_us - CLOCK_STEP_US
    ]
    return Past(
        ran=[reading.active[name] for name in sorted(reading.active)],
        standing=reading.standing,
        before=list(entries[max(0, place - around) : place]),
        after=list(entries[place : place + around]),
        clock_steps=steps,
    )


def _read(reading: _Reading, entry: Entry) -> None:
    detail, id_ = entry.detail, entry.subject
    match entry.action:
        case "deployment.receive":
            reading.known[id_] = {**detail, "actor": entry.actor}
        case "deployment.trial":
            _began(reading, entry)
        case "deployment.committed" | "deployment.rolled_back":
            _ended(reading, entry)
        case "hold.set" | "out_of_service.set":
            name = entry.action.removesuffix(".set").replace("_", " ")
            reading.standing[name] = f"by {entry.actor}: {detail.get('reason') or 'no reason given'}"
        case "hold.lift" | "out_of_service.lift":
            reading.standing.pop(entry.action.removesuffix(".lift").replace("_", " "), None)
        case "lease.take" | "lease.break":
            broken = f", broken from {detail['broken']}" if "broken" in detail else ""
            reading.standing["lease, last"] = f"{entry.subject}{broken}"
        case _:
            return


def _began(reading: _Reading, entry: Entry) -> None:
    detail, bundle = entry.detail, str(entry.detail.get("bundle", ""))
    told = reading.known.get(entry.subject, {})
    revision = detail.get("revision")
    if not isinstance(revision, int):
        return  # A trial that was extended or resumed has another action; this is none that the store writes.
    ran = Ran(
        bundle=bundle,
        revision=revision,
        version=str(told.get("version", "?")),
        digest=str(told.get("digest", "?")),
        state="TRIAL",
        by=str(told.get("actor", entry.actor)),
        signer=str(told.get("signer", "")),
        since_us=entry.wall_us,
        deployment=entry.subject,
    )
    reading.revisions[bundle, revision] = reading.active[bundle] = ran
    told["previous"] = detail.get("previous_revision")
    reading.known[entry.subject] = told


def _ended(reading: _Reading, entry: Entry) -> None:
    bundle = str(entry.detail.get("bundle", ""))
    now = reading.active.get(bundle)
    if now is None or now.deployment != entry.subject:
        return
    if entry.action == "deployment.committed":
        kept = _with(now, state="COMMITTED")
        reading.active[bundle] = kept
        if kept.revision is not None:
            reading.revisions[bundle, kept.revision] = kept
        return
    previous = reading.known.get(entry.subject, {}).get("previous")
    before = reading.revisions.get((bundle, previous)) if isinstance(previous, int) else None
    stopped = _with(now, revision=None, state="ROLLED_BACK", since_us=entry.wall_us)
    reading.active[bundle] = stopped if before is None else _with(before, since_us=entry.wall_us)


def _with(ran: Ran, **changes: Any) -> Ran:
    return replace(ran, **changes)
