"""Nodes that did not get there, grouped by why, with one thing to do for each group. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from console.rollout.outcomes import ABORTED, GATE, RECORDER, SHADOW
from store.rollouts import TargetRow

_ACTIONS = {
    GATE: "look at the figures; retry if they had another reason, else abort",
    RECORDER: "look at the worst rows below; abort, or plan again with another [recorder]",
    SHADOW: "look at what it said beside the active one; abort, or plan again with another [shadow]",
    ABORTED: "",
    "not reached": "outstation rollout resume {id}, when they answer",
    "interrupted": "find out why they restart, then outstation rollout retry {id}",
    "unconfirmed": "look at the links, then outstation rollout retry {id}",
    "replaced": "ask who replaced it; see outstation history NODE",
    "written off": "outstation history NODE, when it answers",
    "unknown": "outstation rollout resume {id}, when they answer; or name them with --write-off",
    "DEPLOYMENT.DISK_FULL": "free space on them, then outstation rollout retry {id}",
    "DEPLOYMENT.OUT_OF_SERVICE": "when they are in service again: outstation rollout retry {id}",
    "DEPLOYMENT.HOLD": "release the hold, then outstation rollout retry {id}",
    "DEPLOYMENT.MACHINE_STATE": "when the machines are as the bundle asks: outstation rollout retry {id}",
    "DEPLOYMENT.WRITE_CONFLICT": "outstation node bind NODE..., then outstation rollout retry {id}",
    "CHANGE.NUMBER": "outstation rollout retry {id} --change NUMBER",
    "CHANGE.SECOND_PERSON": "another person: outstation approve {id}; then outstation rollout retry {id}",
    "TRUST.ROLLBACK": "a permit: outstation trust permit BUNDLE NODE...; then outstation rollout retry {id}",
}


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One reason, the nodes it has, what the first of them said, and what to do."""

    cause: str
    nodes: tuple[str, ...]
    detail: str
    action: str


def group(rollout: str, targets: Iterable[TargetRow]) -> tuple[Cause, ...]:
    """The largest group first. What goes its way, or has not begun, is in none."""
    found: dict[str, list[TargetRow]] = {}
    for target in targets:
        if target.state == "unknown":
            found.setdefault("unknown", []).append(target)
        elif target.state in ("failed", "interrupted", "unconfirmed", "skipped"):
            found.setdefault(target.cause or target.state, []).append(target)
    return tuple(
        Cause(
            cause=cause,
            nodes=tuple(target.node for target in members),
            detail=members[0].detail,
            action=_action(rollout, cause, members[0]),
        )
        for cause, members in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def _action(rollout: str, cause: str, first: TargetRow) -> str:
    known = _ACTIONS.get(cause)
    if known is not None:
        return known.format(id=rollout)
    return (
        f"{first.hint.rstrip('.')}, then outstation rollout retry {rollout}"
        if first.hint
        else f"outstation rollout retry {rollout}"
    )
