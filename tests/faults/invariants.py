"""One check of what outstation promises, over a node's state folder: used by everything in here that breaks a node.

It knows nothing of what was done to the node. It reads what the rows, the ledger and the blobs say, and what the
outside world was told, and names each promise (docs/promises.md) that does not hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from store import bundle, db, ledger
from store.errors import StoreError
from store.node import deployments, revisions
from store.node.deployments import Deployment

RANK = {"RECEIVING": 0, "STAGED": 1, "PREFLIGHT_OK": 2, "TRIAL": 3, "COMMITTED": 4, "ROLLED_BACK": 4, "REFUSED": 4}
BEGIN = ledger.Head(0, ledger.GENESIS)
Told = dict[str, Any]


def blobs_of_manifest(manifest: bytes) -> Iterable[str]:
    """The blobs that a bundle's manifest names."""
    return bundle.blobs_named(bundle.parse_manifest(manifest))


def check(
    state: Path,
    told: Sequence[Told] = (),
    *,
    anchor: ledger.Head = BEGIN,
    named: Callable[[bytes], Iterable[str]] = blobs_of_manifest,
) -> list[str]:
    """What does not hold, in words. `told`: `{"id", "state"}` of deployments and `{"seq"}` of entries acknowledged.

    `anchor` is the head of the ledger at an earlier look.
    """
    with contextlib.closing(db.open_reader(state / "node.db", deadline_s=20.0)) as connection:
        connection.execute("BEGIN")  # one moment of it, also while the node works
        wrong = [] if db.is_sound(connection) else ["the database is damaged"]
        wrong += _ledger(connection, anchor)
        wrong += [text for promise in told for text in _kept(connection, promise)]
        rows = deployments.newest(connection, limit=1_000_000)
        wrong += _trials(connection, rows)
        for name in sorted({row.bundle for row in rows}):
            wrong += _active(connection, name, [row for row in rows if row.bundle == name])
        wrong += _blobs(state, connection, named)
    wrong += [f"I6: {path.name} is left" for path in state.rglob("*.tmp")]
    return wrong


def _ledger(connection: sqlite3.Connection, anchor: ledger.Head) -> list[str]:
    if ledger.verify(connection) is not None:
        return ["I15: the ledger's chain is broken"]
    after, head = anchor, ledger.head(connection)
    while after.seq < head.seq:
        page = ledger.page(connection, after.seq)
        if not page or ledger.first_break(after, page) is not None:
            return [f"I15: the ledger does not extend entry {after.seq}"]
        after = ledger.Head(page[-1].seq, page[-1].hash)
    return [] if head.seq >= anchor.seq else [f"I15: the ledger ends at {head.seq} and was at {anchor.seq}"]


def _kept(connection: sqlite3.Connection, promise: Told) -> list[str]:
    """What was acknowledged is there: a transition or a later one, an entry."""
    if "seq" in promise and ledger.head(connection).seq < int(promise["seq"]):
        return [f"I4: {promise} was told and is lost"]
    if "id" not in promise:
        return []
    row = deployments.get(connection, str(promise["id"]))
    now, then = row.state if row else "RECEIVING", str(promise["state"])
    if RANK[now] < RANK[then] or (RANK[then] == 4 and now != then):
        return [f"I5: {promise} was told, and {now} is found"]
    return []


def _trials(connection: sqlite3.Connection, rows: Sequence[Deployment]) -> list[str]:
    running = [row for row in rows if row.state == "TRIAL"]
    wrong = [] if len(running) <= 1 else [f"I2: {len(running)} trials at a time"]
    for row in running:
        entries = connection.execute(
            "SELECT detail FROM ledger WHERE subject = ? AND action IN (?, ?) ORDER BY seq",
            (row.id, "deployment.trial", "trial.extend"),
        ).fetchall()
        if not entries or f'"deadline_us":{row.deadline_us}' not in str(entries[-1][0]).replace(" ", ""):
            wrong.append(f"I3: the deadline of {row.id} is not the one that it began with")
    return wrong


def _active(connection: sqlite3.Connection, name: str, rows: Sequence[Deployment]) -> list[str]:
    """Exactly one of old and new is active, and the floor is where the commits put it."""
    committed = [row for row in rows if row.state == "COMMITTED"]
    trial = next((row.revision for row in rows if row.state == "TRIAL"), None)
    good = max((row.revision or 0 for row in committed), default=0) or None
    active = revisions.active(connection, name)
    wrong = []
    if (active.revision if active else None) != (trial or good):
        wrong.append(f"I1: {name} r{active and active.revision} is active, r{trial or good} should be")
    if (active.good if active else None) != good:
        wrong.append(f"I2: r{active and active.good} counts as good, r{good} was committed")
    if active and active.revision and revisions.revision(connection, name, active.revision) is None:
        wrong.append(f"I1: there is no revision {active.revision} of {name}")
    floor = revisions.floor(connection, name)
    highest = max(((row.epoch, row.sequence) for row in committed), default=None)
    if (tuple(floor) if floor else None) != highest:
        wrong.append(f"I16: the floor of {name} is {floor}, {highest} was committed")
    return wrong


def _blobs(state: Path, connection: sqlite3.Connection, named: Callable[[bytes], Iterable[str]]) -> list[str]:
    folder = state / "blobs" / "sha256"
    good, wrong = set(), []
    for path in folder.glob("*/*"):
        if path.suffix == ".tmp":
            continue
        with contextlib.suppress(FileNotFoundError):  # collected while we look
            if hashlib.sha256(path.read_bytes()).hexdigest() == path.name:
                good.add(f"sha256:{path.name}")
            else:
                wrong.append(f"I7: {path.name} is another content")
    for active in revisions.all_active(connection):
        row = revisions.revision(connection, active.bundle, active.revision) if active.revision else None
        if row is None:
            continue
        try:
            needs = set(named((folder / row.digest[7:9] / row.digest[7:]).read_bytes()))
        except (OSError, ValueError, StoreError, bundle.BundleMalformed) as error:
            wrong.append(f"I1: the active revision of {active.bundle} cannot be loaded: {error}")
            continue
        wrong += [f"I1: {digest} of the active revision is not there" for digest in sorted(needs - good)]
    return wrong
