"""How a rollout is given up: trials end, what was only staged is withdrawn; the rest stays or is reverted."""

from __future__ import annotations

from dataclasses import replace

from console.rollout.moves import Act, Room, settle
from console.rollout.outcomes import ABORTED, deployment_id
from console.rollout.standing import Standing, is_terminal
from store.rollouts import TargetRow

Rollout = tuple[tuple[str, str], ...]
BACK = "the rollout was aborted"


def decide_abort(now: Standing) -> tuple[Rollout, tuple[TargetRow, ...], tuple[Act, ...]]:
    """What to write, else whom to ask, until nothing of the rollout is under way."""
    if given_up := _give_up(now):
        return (), given_up, ()
    if now.rollout.want == "revert" and (turned := _turn_back(now)):
        return (), turned, ()
    if acts := _acts(now):
        return (), (), acts
    return _finished(now), (), ()


def _free(now: Standing, target: TargetRow) -> bool:
    return not target.asked and not now.contact(target.node).busy


def _give_up(now: Standing) -> tuple[TargetRow, ...]:
    return tuple(
        replace(target, state="skipped", cause=ABORTED, detail=BACK)
        for target in now.targets
        if target.goal == "new" and target.state == "waiting" and _free(now, target)
    )


def _turn_back(now: Standing) -> tuple[TargetRow, ...]:
    """Committed nodes of the latest wave that has any, once the waves behind it are back."""
    if any(target.goal == "new" and not is_terminal(target) and target.state != "unknown" for target in now.targets):
        return ()
    kept = [target for target in now.targets if target.goal == "new" and target.state == "ok"]
    if not kept or any(target.goal == "old" and not is_terminal(target) for target in now.targets):
        return ()
    if any(now.contact(target.node).busy for target in kept):
        return ()
    last = max(target.wave for target in kept)
    return tuple(
        replace(
            target,
            goal="old",
            state="waiting",
            attempt=1,
            flips=0,
            trial_s=0.0,
            deployment=deployment_id(target.rollout, target.node, "old", 1),
        )
        for target in kept
        if target.wave == last
    )


def _acts(now: Standing) -> tuple[Act, ...]:
    room, groups = Room(now), set(now.groups_moving)
    found: list[Act] = []
    for target in now.targets:
        contact = now.contact(target.node)
        if contact.busy or contact.backoff:
            continue
        act = _act(now, target, room, groups)
        if act is not None:
            found.append(act)
            room.take(act)
            if act.op == "revert":
                groups.add(now.group(target.node))
    return tuple(found)


def _act(now: Standing, target: TargetRow, room: Room, groups: set[str]) -> Act | None:
    if target.asked or target.state == "unknown" or target.goal == "old":
        if act := settle(now, target):
            return act
        may = room.switches > 0 and now.group(target.node) not in groups
        return Act("revert", target.node) if target.state == "waiting" and may else None
    if target.state in ("trial", "staged", "shadow"):
        return Act("rollback", target.node, ABORTED, BACK)
    return None


def _finished(now: Standing) -> Rollout:
    """The end; nodes of which it is not known how they stand are named, and `resume` asks them again."""
    if now.in_flight() or any(not _is_given_up(now, target) for target in now.targets if not is_terminal(target)):
        return ()
    open_ = [target.node for target in now.targets if not is_terminal(target)]
    ok = [target for target in now.targets if target.state == "ok"]
    new, old = (sum(target.goal == goal for target in ok) for goal in ("new", "old"))
    why = f"{new} nodes keep the new bundle, {old} run the one before again"
    if open_:
        why += f"; not known, or not yet back: {', '.join(open_[:5])}"
    failed = sum(target.goal == "old" and is_terminal(target) and target.state != "ok" for target in now.targets)
    if failed:
        why += f"; {failed} could not be reverted"
    return (("state", "aborted"), ("want", "" if not open_ else now.rollout.want), ("why", why))


def _is_given_up(now: Standing, target: TargetRow) -> bool:
    """A node that does not answer for long, and one that must not move while such a one stands in for it."""
    limit_s = 2 * now.plan.policy.failures.unreachable_s
    lost = {other.node for other in now.targets if other.state == "unknown"}
    lost = {node for node in lost if now.contact(node).silent_s >= limit_s}
    groups = {now.group(node) for node in lost} - {""}
    return target.node in lost or (target.state == "waiting" and now.group(target.node) in groups)
