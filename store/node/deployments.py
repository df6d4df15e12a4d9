"""Deployments and their transitions: each is one transaction, its ledger entry included, and the row is the answer.

A transition that the row's state does not allow raises WrongState, which carries the row: so a confirm and a timer that
race are decided by whoever comes first, and the other one answers with what it finds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from store import ledger
from store.db import transaction
from store.ledger import Stamp
from store.node import revisions
from store.node.revisions import Active, Floor, Revision

FINAL = frozenset({"COMMITTED", "ROLLED_BACK", "REFUSED"})
Reason = Literal["FAILED", "UNCONFIRMED", "INTERRUPTED", "REVERTED"]
Kind = Literal["bundle", "revert", "binding"]


class Deployment(NamedTuple):
    """One bundle to this node, as stored. Times: `deadline_us` on CLOCK_BOOTTIME of `boot_id`, `*_wall_us` wall.

    `actor` deployed it; `ended_by` confirmed, rolled back or refused it, a person or the node itself.
    """

    number: int
    id: str
    kind: Kind
    bundle: str
    version: str
    digest: str
    signature: str
    signer: str
    epoch: int
    sequence: int
    binding_revision: int
    state: str
    reason: Reason | None
    error_code: str
    error_message: str
    error_hint: str
    revision: int | None
    previous_revision: int | None
    boot_id: str
    deadline_us: int | None
    window_us: int
    tries: int
    preflight: dict[str, Any]
    switch_gap_us: int | None
    reachability: Literal["", "proved", "claimed"]
    actor: str
    created_wall_us: int
    changed_wall_us: int
    changed_boottime_us: int
    ended_by: str = ""


class Failure(NamedTuple):
    """Why a deployment was refused or rolled back, as the operator reads it."""

    code: str
    message: str
    hint: str = ""


class WrongState(Exception):
    """The deployment is not in a state that allows this; `row` is how it stands."""

    def __init__(self, row: Deployment, wanted: str) -> None:
        self.row = row
        super().__init__(f"deployment {row.id} is {row.state}, which does not allow {wanted}")


class TrialRunning(Exception):
    """Another deployment is in its trial; a node has one at a time."""

    def __init__(self, row: Deployment) -> None:
        self.row = row
        super().__init__(f"deployment {row.id} of {row.bundle} is in its trial")


_COLUMNS = ", ".join(Deployment._fields[:-1]) + (
    ", ifnull((SELECT actor FROM deployment_ends WHERE deployment_ends.id = deployments.id), '')"
)


def get(connection: sqlite3.Connection, id_: str) -> Deployment | None:
    """The deployment with this id."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM deployments WHERE id = ?", (id_,)).fetchone()
    return _deployment(row) if row else None


def newest(connection: sqlite3.Connection, bundle: str | None = None, limit: int = 100) -> list[Deployment]:
    """Newest first, of one bundle or of all."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM deployments WHERE ? IS NULL OR bundle = ? ORDER BY number DESC LIMIT ?",
        (bundle, bundle, limit),
    )
    return [_deployment(row) for row in rows]


def open_ones(connection: sqlite3.Connection) -> list[Deployment]:
    """Those that are not final, oldest first: what recovery looks at."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM deployments WHERE state NOT IN ('COMMITTED', 'ROLLED_BACK', 'REFUSED') ORDER BY number"
    )
    return [_deployment(row) for row in rows]


def of_bindings(connection: sqlite3.Connection, revision: int) -> list[Deployment]:
    """The deployments that try one revision of the bindings, in the order of their trials."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM deployments WHERE kind = 'binding' AND binding_revision = ? ORDER BY number",
        (revision,),
    )
    return [_deployment(row) for row in rows]


def trial(connection: sqlite3.Connection) -> Deployment | None:
    """The one deployment in its trial."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM deployments WHERE state = 'TRIAL'").fetchone()
    return _deployment(row) if row else None


def stage(
    connection: sqlite3.Connection,
    stamp: Stamp,
    *,
    id_: str,
    bundle: str,
    version: str,
    digest: str,
    epoch: int,
    sequence: int,
    window_us: int,
    signature: str = "",
    signer: str = "",
    kind: Kind = "bundle",
    binding_revision: int = 0,
    brought: str = "",
) -> Deployment:
    """Takes a deployment in as RECEIVING. The same id again answers with the row as it stands and writes nothing.

    Whether that row is about the same bundle is for the caller to compare.
    """
    with transaction(connection):
        row = get(connection, id_)
        if row is not None:
            return row
        connection.execute(
            "INSERT INTO deployments (id, kind, bundle, version, digest, signature, signer, epoch, sequence, "
            "binding_revision, state, window_us, actor, created_wall_us, changed_wall_us, changed_boottime_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'RECEIVING', ?, ?, ?, ?, ?)",
            (
                *(id_, kind, bundle, version, digest, signature, signer, epoch, sequence, binding_revision),
                *(window_us, stamp.actor, stamp.wall_us, stamp.wall_us, stamp.boottime_us),
            ),
        )
        detail = {"bundle": bundle, "version": version, "digest": digest, "kind": kind, "signer": signer}
        detail |= {"brought": brought} if brought else {}
        ledger.note(connection, stamp, "deployment.receive", id_, detail)
        return _must(connection, id_)


def set_staged(connection: sqlite3.Connection, stamp: Stamp, id_: str, *, signer: str) -> Deployment:
    """RECEIVING -> STAGED: every blob is here and durable, the signature is `signer`'s. Repeating is harmless."""
    with transaction(connection):
        return _move(connection, stamp, id_, {"RECEIVING"}, "STAGED", {"signer": signer})


def set_receiving(connection: sqlite3.Connection, stamp: Stamp, id_: str) -> Deployment:
    """Back to RECEIVING: a blob went missing or bad."""
    with transaction(connection):
        return _move(connection, stamp, id_, {"STAGED", "PREFLIGHT_OK"}, "RECEIVING", {})


def set_preflight_ok(
    connection: sqlite3.Connection, stamp: Stamp, id_: str, preflight: Mapping[str, Any], *, binding_revision: int
) -> Deployment:
    """STAGED -> PREFLIGHT_OK with what the candidate showed, under the bindings it was tried with."""
    with transaction(connection):
        showed = json.dumps({**_verdicts(_must(connection, id_)), **preflight})
        values = {"preflight": showed, "binding_revision": binding_revision}
        return _move(connection, stamp, id_, {"STAGED"}, "PREFLIGHT_OK", values)


def set_gate(connection: sqlite3.Connection, stamp: Stamp, id_: str, gate: Mapping[str, Any]) -> Deployment:
    """Keeps a gate's verdict with what the candidate showed; the ledger gets the verdict and its reasons."""
    with transaction(connection):
        row = _must(connection, id_)
        if row.state != "PREFLIGHT_OK":
            raise WrongState(row, "gate")
        showed = json.dumps({**row.preflight, "gate": gate})
        connection.execute("UPDATE deployments SET preflight = ? WHERE id = ?", (showed, id_))
        told = ("verdict", "reasons", "rows", "agreement")
        detail = {"bundle": row.bundle, **{name: gate.get(name) for name in told}}
        ledger.note(connection, stamp, "deployment.gate", id_, detail)
        return _must(connection, id_)


def set_shadow(connection: sqlite3.Connection, stamp: Stamp, id_: str, shadow: Mapping[str, Any]) -> Deployment:
    """Keeps that a shadow runs, or its verdict; the ledger gets which."""
    with transaction(connection):
        row = _must(connection, id_)
        if row.state != "PREFLIGHT_OK":
            raise WrongState(row, "shadow")
        showed = json.dumps({**row.preflight, "shadow": shadow})
        connection.execute("UPDATE deployments SET preflight = ? WHERE id = ?", (showed, id_))
        told = ("verdict", "reasons", "rows", "agreement", "seconds", "compared_s", "shed_s")
        detail = {"bundle": row.bundle, **{name: shadow.get(name) for name in told}}
        action = "deployment.shadow_begun" if shadow.get("running") else "deployment.shadow"
        ledger.note(connection, stamp, action, id_, detail)
        return _must(connection, id_)


def _verdicts(row: Deployment) -> dict[str, Any]:
    """What a candidate showed that is true whether or not it is still in memory."""
    return {name: row.preflight[name] for name in ("gate", "shadow") if name in row.preflight}


def drop_preflight(connection: sqlite3.Connection, stamp: Stamp, id_: str) -> Deployment:
    """PREFLIGHT_OK -> STAGED: the candidate is gone, as after a restart; verdicts on it stay."""
    with transaction(connection):
        kept = _verdicts(_must(connection, id_))
        return _move(connection, stamp, id_, {"PREFLIGHT_OK"}, "STAGED", {"preflight": json.dumps(kept)})


def refuse(connection: sqlite3.Connection, stamp: Stamp, id_: str, failure: Failure) -> Deployment:
    """Any state before TRIAL -> REFUSED. Nothing on the node had changed."""
    with transaction(connection):
        return _move(connection, stamp, id_, {"RECEIVING", "STAGED", "PREFLIGHT_OK"}, "REFUSED", _error(failure))


def begin_trial(connection: sqlite3.Connection, stamp: Stamp, id_: str, *, window_us: int) -> Deployment:
    """PREFLIGHT_OK -> TRIAL: the flip. One transaction makes the revision, the active row, the deadline and the entry.

    The deadline is `window_us` after the stamp, on CLOCK_BOOTTIME of the stamp's boot. Raises TrialRunning or
    WrongState; a repeat finds TRIAL, COMMITTED or ROLLED_BACK and raises WrongState with it.
    """
    with transaction(connection):
        row = _must(connection, id_)
        other = trial(connection)
        if other is not None and other.id != id_:
            raise TrialRunning(other)
        now = revisions.active(connection, row.bundle) or Active(row.bundle, None, None, None)
        number = revisions.next_number(connection, row.bundle)
        moved = _move(
            connection,
            stamp,
            id_,
            {"PREFLIGHT_OK"},
            "TRIAL",
            {
                "revision": number,
                "previous_revision": now.revision,
                "boot_id": stamp.boot_id,
                "deadline_us": stamp.boottime_us + window_us,
                "window_us": window_us,
                "tries": 0,
            },
        )
        revisions.add(connection, _revision_of(moved, number, stamp.wall_us))
        revisions.set_active(connection, now._replace(revision=number, previous=now.revision))
        return moved


def resume_trial(connection: sqlite3.Connection, stamp: Stamp, id_: str) -> Deployment:
    """Counts one more start of the agent within the trial. The deadline stays where it was (I3)."""
    with transaction(connection):
        row = _must(connection, id_)
        return _move(connection, stamp, id_, {"TRIAL"}, "TRIAL", {"tries": row.tries + 1}, action="trial.resume")


def extend_trial(connection: sqlite3.Connection, stamp: Stamp, id_: str, *, window_us: int) -> Deployment:
    """A new window from the stamp on. WrongState when the deadline passed, or the stamp is of another boot."""
    with transaction(connection):
        row = _must(connection, id_)
        if is_due(row, stamp):
            raise WrongState(row, "extend: the deadline passed")
        values = {"deadline_us": stamp.boottime_us + window_us, "window_us": window_us}
        return _move(connection, stamp, id_, {"TRIAL"}, "TRIAL", values, action="trial.extend")


def commit(
    connection: sqlite3.Connection, stamp: Stamp, id_: str, *, reachability: Literal["proved", "claimed"]
) -> Deployment:
    """TRIAL -> COMMITTED: permanent from here on (I5); raises the floor (I16). A repeat answers with the row.

    WrongState: rolled back already, or due: a deadline is judged before any confirm.
    """
    with transaction(connection):
        row = _must(connection, id_)
        if row.state == "COMMITTED":
            return row
        if row.state == "TRIAL" and is_due(row, stamp):
            raise WrongState(row, "confirm: the deadline passed")
        moved = _move(connection, stamp, id_, {"TRIAL"}, "COMMITTED", {"reachability": reachability})
        revisions.raise_floor(connection, row.bundle, Floor(row.epoch, row.sequence))
        now = _active(connection, row)
        revisions.set_active(connection, now._replace(good=row.revision))
        return moved


def roll_back(
    connection: sqlite3.Connection, stamp: Stamp, id_: str, reason: Reason, failure: Failure | None = None
) -> Deployment:
    """TRIAL -> ROLLED_BACK: the active row names the previous revision again. A repeat answers with the row."""
    with transaction(connection):
        row = _must(connection, id_)
        if row.state == "ROLLED_BACK":
            return row
        values = {"reason": reason, **(_error(failure) if failure else {})}
        moved = _move(connection, stamp, id_, {"TRIAL"}, "ROLLED_BACK", values)
        now = _active(connection, row)
        before = revisions.before(connection, row.bundle, row.previous_revision)
        revisions.set_active(connection, now._replace(revision=row.previous_revision, previous=before))
        return moved


def set_switch_gap(connection: sqlite3.Connection, stamp: Stamp, id_: str, gap_us: int) -> Deployment:
    """Keeps how long no revision held the plant while the bundle was switched, in microseconds."""
    with transaction(connection):
        row = _must(connection, id_)
        values = {"switch_gap_us": gap_us}
        return _move(connection, stamp, id_, {row.state}, row.state, values, action="deployment.switched")


def is_due(row: Deployment, stamp: Stamp) -> bool:
    """Whether a trial's time is over at `stamp`: the deadline passed, or the node booted since."""
    return row.boot_id != stamp.boot_id or row.deadline_us is None or stamp.boottime_us >= row.deadline_us


def _move(
    connection: sqlite3.Connection,
    stamp: Stamp,
    id_: str,
    allowed: Collection[str],
    state: str,
    values: Mapping[str, Any],
    action: str = "",
) -> Deployment:
    row = _must(connection, id_)
    if row.state not in allowed:
        raise WrongState(row, action or state)
    changed = {
        **values,
        "state": state,
        "changed_wall_us": stamp.wall_us,
        "changed_boottime_us": stamp.boottime_us,
    }
    assignments = ", ".join(f"{name} = ?" for name in changed)
    connection.execute(f"UPDATE deployments SET {assignments} WHERE id = ?", (*changed.values(), id_))
    if state in FINAL:
        connection.execute("INSERT OR REPLACE INTO deployment_ends VALUES (?, ?)", (id_, stamp.actor))
    detail = {"bundle": row.bundle, "from": row.state, "to": state, **values}
    detail.pop("preflight", None)
    ledger.note(connection, stamp, action or f"deployment.{state.lower()}", id_, detail)
    return _must(connection, id_)


def _must(connection: sqlite3.Connection, id_: str) -> Deployment:
    row = get(connection, id_)
    if row is None:
        raise KeyError(id_)
    return row


def _active(connection: sqlite3.Connection, row: Deployment) -> Active:
    now = revisions.active(connection, row.bundle)
    if now is None or now.revision != row.revision:
        raise WrongState(row, f"a change of the active row, which is {now}")
    return now


def _revision_of(row: Deployment, number: int, since_us: int) -> Revision:
    return Revision(
        row.bundle, number, row.version, row.digest, row.signature, row.epoch, row.sequence, row.binding_revision,
        row.id, since_us,
    )  # fmt: skip


def _error(failure: Failure) -> dict[str, Any]:
    return {"error_code": failure.code, "error_message": failure.message, "error_hint": failure.hint}


def _deployment(row: tuple[Any, ...]) -> Deployment:
    found = Deployment(*row)
    return found._replace(preflight=json.loads(row[Deployment._fields.index("preflight")]))
