"""A rollout as a file: its plan and where it stands, for another console that goes on with it.

The file decides nothing: whoever resumes asks every node what is so. Deployments have the same ids on every console,
so that what the file does not know yet is found done, and is not done again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, fields
from typing import Any, Final

import msgspec

from console.rollout.outcomes import WRITES, deployment_id
from console.rollout.plan import Plan, read_plan
from store.rollouts import RolloutRow, Rollouts, TargetRow, WaveRow

FORMAT: Final = 1
FILE_BYTES_MAX: Final = 64 << 20
ROLLOUT_STATES: Final = frozenset({"planned", "running", "paused", "partial", "done", "aborted"})
WAVE_STATES: Final = frozenset({"waiting", "running", "soaking", "passed", "stopped"})
TARGET_STATES: Final = frozenset(
    {"waiting", "staged", "shadow", "trial", "ok", "failed", "interrupted", "unconfirmed", "skipped", "unknown"}
)
ATTEMPTS_MAX: Final = 1_000
TEXT_CHARS_MAX: Final = 200_000


class RolloutMalformed(Exception):
    """The file is not a rollout that could go on."""

    hint = "export it again: outstation rollout export ROLLOUT"


class Carried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document. `plan` are the stored bytes, which `digest` names."""

    format: int = FORMAT
    id: str
    digest: str
    plan: bytes
    state: str
    want: str
    why: str
    operator: str
    created_wall_s: float
    waves: list[dict[str, Any]]
    targets: list[dict[str, Any]]


def packed(rows: Rollouts, rollout: RolloutRow) -> bytes:
    """The file of a rollout as it stands."""
    return msgspec.json.encode(
        Carried(
            id=rollout.id,
            digest=rollout.digest,
            plan=rollout.plan,
            state=rollout.state,
            want=rollout.want,
            why=rollout.why,
            operator=rollout.operator,
            created_wall_s=rollout.created_wall_s,
            waves=[asdict(wave) for wave in rows.waves(rollout.id)],
            targets=[asdict(target) for target in rows.targets(rollout.id)],
        )
    )


def taken_in(rows: Rollouts, data: bytes, *, wall_s: float) -> str:
    """Keeps the rollout of a file; its id. Raises RolloutMalformed, also where it is here already."""
    if len(data) > FILE_BYTES_MAX:
        raise RolloutMalformed(f"a rollout's file has at most {FILE_BYTES_MAX >> 20} MB")
    try:
        found = msgspec.json.decode(data, type=Carried)
        plan = read_plan(found.plan, found.digest)
        waves = [msgspec.convert(wave, WaveRow) for wave in found.waves]
        targets = [msgspec.convert(target, TargetRow) for target in found.targets]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise RolloutMalformed(f"it is not a rollout: {error}") from error
    if wrong := _wrong(found, plan, waves, targets):
        raise RolloutMalformed(f"it is not a rollout that could go on: {wrong}")
    row = RolloutRow(
        id=found.id,
        digest=found.digest,
        plan=found.plan,
        archive="",
        state=found.state,
        want=found.want,
        why=found.why,
        operator=found.operator,
        created_wall_s=found.created_wall_s,
        changed_wall_s=wall_s,
    )
    try:
        rows.plan(row, waves, targets)
    except sqlite3.IntegrityError as error:
        raise RolloutMalformed(f"{found.id} is here already; the nodes tell what has happened: resume it") from error
    return found.id


def _wrong(found: Carried, plan: Plan, waves: list[WaveRow], targets: list[TargetRow]) -> str:
    """Why these rows are not those of the plan; empty where they are."""
    if found.format != FORMAT or found.state not in ROLLOUT_STATES:
        return f"format {found.format}, state {found.state[:20]}"
    if not found.id.startswith(f"{plan.bundle.name}-{plan.bundle.version}-") or found.want not in (
        *("", "pause", "keep", "revert"),
    ):
        return "its id or its order is none of a rollout of this bundle"
    if [wave.number for wave in waves] != [wave.number for wave in plan.waves]:
        return "its waves are not those of its plan"
    if {(target.node, target.wave) for target in targets} != {(node.name, node.wave) for node in plan.nodes}:
        return "its nodes are not those of its plan"
    if len(targets) != len(plan.nodes):
        return "a node is there twice"
    kept: list[WaveRow | TargetRow] = [*waves, *targets]
    for row in kept:
        if row.rollout != found.id or any(len(str(getattr(row, f.name))) > TEXT_CHARS_MAX for f in fields(row)):
            return "a row belongs to another rollout, or is too long"
    if any(wave.state not in WAVE_STATES for wave in waves):
        return "a wave is in no state that a wave has"
    return next((told for target in targets if (told := _wrong_target(target))), "")


def _wrong_target(target: TargetRow) -> str:
    if target.state not in TARGET_STATES or target.goal not in ("new", "old") or target.asked not in ("", *WRITES):
        return f"{target.node} is in no state that a node has"
    ids = deployment_id(target.rollout, target.node, target.goal, target.attempt)
    if not 1 <= target.attempt <= ATTEMPTS_MAX or target.deployment not in ("", ids):
        return f"the deployment of {target.node} is not that of its attempt"
    return ""
