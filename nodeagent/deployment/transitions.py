"""Writes what the table says: for each event the store's function that does it, in one transaction with its ledger row.

Nothing here decides. `write` asks the table first, so an event that the state does not know never reaches the database.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Literal

from nodeagent.deployment.deployment import Event, Transition, step
from nodeagent.protocol import DeploymentState
from store import ledger
from store.ledger import Stamp
from store.node import deployments
from store.node.deployments import Deployment, Failure, Kind
from store.node.revisions import Revision

Fence = Callable[[sqlite3.Connection, Stamp], None]


def no_fence(_connection: sqlite3.Connection, _stamp: Stamp) -> None:
    """For what the node does by itself: no console's lease has a say in it."""


@dataclasses.dataclass(frozen=True)
class Known:
    """A deployment of a revision that the node has: `kind` says why, `binding_revision` under which bindings."""

    id: str
    kind: Kind
    revision: Revision
    binding_revision: int
    window_us: int


@dataclasses.dataclass(frozen=True)
class Details:
    """What an event brings along. Only what its transition needs is looked at."""

    signer: str = ""
    failure: Failure | None = None
    preflight: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    binding_revision: int = 0
    window_us: int = 0
    reachability: Literal["proved", "claimed"] = "claimed"


NO_DETAILS = Details()


def write(
    connection: sqlite3.Connection, stamp: Stamp, id_: str, event: Event, details: Details, fence: Fence = no_fence
) -> tuple[Deployment, Transition]:
    """One transition, durable with the caller's transaction. Raises UnknownEvent, Fenced, TrialRunning, WrongState."""
    fence(connection, stamp)
    row = deployments.get(connection, id_)
    if row is None:
        raise KeyError(id_)
    transition = step(DeploymentState(row.state), event)
    moved = _write(connection, stamp, row, event, transition, details)
    if moved.state != transition.state:
        raise AssertionError(f"{id_} is {moved.state} after {event}, not {transition.state}")
    return moved, transition


def stage_known(connection: sqlite3.Connection, stamp: Stamp, plan: Known) -> Deployment:
    """A deployment of what the node has already, STAGED with the caller's transaction."""
    known = plan.revision
    deployments.stage(
        connection,
        stamp,
        id_=plan.id,
        bundle=known.bundle,
        version=known.version,
        digest=known.digest,
        epoch=known.epoch,
        sequence=known.sequence,
        window_us=plan.window_us,
        signature=known.signature,
        kind=plan.kind,
        binding_revision=plan.binding_revision,
    )
    return deployments.set_staged(connection, stamp, plan.id, signer="")


def _write(
    connection: sqlite3.Connection,
    stamp: Stamp,
    row: Deployment,
    event: Event,
    transition: Transition,
    details: Details,
) -> Deployment:
    failure = details.failure or Failure("", "")
    match transition.state, event:
        case DeploymentState.ROLLED_BACK, _:
            assert transition.reason is not None
            return deployments.roll_back(connection, stamp, row.id, transition.reason.value, details.failure)
        case DeploymentState.REFUSED, _:
            return deployments.refuse(connection, stamp, row.id, failure)
        case DeploymentState.RECEIVING, _:
            return deployments.set_receiving(connection, stamp, row.id)
        case DeploymentState.COMMITTED, _:
            return deployments.commit(connection, stamp, row.id, reachability=details.reachability)
        case DeploymentState.PREFLIGHT_OK, _:
            revision = details.binding_revision
            return deployments.set_preflight_ok(connection, stamp, row.id, details.preflight, binding_revision=revision)
        case _, Event.VERIFIED:
            return deployments.set_staged(connection, stamp, row.id, signer=details.signer)
        case _, Event.CANDIDATE_LOST:
            return deployments.drop_preflight(connection, stamp, row.id)
        case _, Event.PREFLIGHT_DEFERRED:
            detail = {"code": failure.code, "message": failure.message}
            ledger.note(connection, stamp, "deployment.preflight_deferred", row.id, detail)
            return row
        case _, Event.FLIPPED:
            return deployments.begin_trial(connection, stamp, row.id, window_us=details.window_us)
        case _, Event.EXTENDED:
            return deployments.extend_trial(connection, stamp, row.id, window_us=details.window_us)
        case _, Event.RESUMED:
            return deployments.resume_trial(connection, stamp, row.id)
    raise AssertionError(f"no way to write {event} into {transition.state}")
