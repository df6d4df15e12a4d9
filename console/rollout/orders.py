"""What a person orders: a plan kept, started, paused, resumed, retried, aborted. An executor acts on the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from console.rollout.outcomes import ABORTED, deployment_id
from console.rollout.outline import names_in_short
from console.rollout.plan import Plan, read_plan
from nodeagent.protocol import ASKS_NUMBER
from store.rollouts import RolloutRow, Rollouts, TargetRow, WaveRow

RETRIED = ("failed", "interrupted", "unconfirmed")
ENDED = ("done", "aborted")


class OrderRefused(Exception):
    """The rollout is not where this can be done."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def keep_plan(rows: Rollouts, plan: Plan, *, archive: str, operator: str, wall_s: float) -> str:
    """Stores a plan, to be read before it is started. The rollout's id: bundle, version and six hex digits."""
    mark = hashlib.sha256(f"{plan.digest} {wall_s} {operator}".encode()).hexdigest()[:6]
    id_ = f"{plan.bundle.name}-{plan.bundle.version}-{mark}"
    row = RolloutRow(
        id=id_,
        digest=plan.digest,
        plan=plan.encoded(),
        archive=archive,
        state="planned",
        want="",
        why="",
        operator=operator,
        created_wall_s=wall_s,
        changed_wall_s=wall_s,
    )
    waves = [WaveRow(id_, wave.number, changed_wall_s=wall_s) for wave in plan.waves]
    targets = [
        TargetRow(
            id_,
            node.name,
            node.wave,
            deployment=deployment_id(id_, node.name, "new", 1),
            changed_wall_s=wall_s,
        )
        for node in plan.nodes
    ]
    rows.plan(row, waves, targets)
    return id_


def find(rows: Rollouts, text: str) -> RolloutRow:
    """The rollout of that id, or of an id that begins or ends so. Raises OrderRefused."""
    found = rows.rollout(text)
    if found is not None:
        return found
    near = [row for row in rows.rollouts() if row.id.startswith(text) or row.id.endswith(text)]
    if len(near) == 1:
        return near[0]
    raise OrderRefused(
        f"{'no' if not near else 'more than one'} rollout is called {text}", "see `outstation rollout list`"
    )


def start(rows: Rollouts, id_: str, *, wall_s: float, brings: str = "") -> None:
    """Lets a planned rollout run. `brings`: a change number or an emergency that its plan has not. Raises OrderRefused,
    also where nodes ask for a number and there is none: before the first of them says so.
    """
    row = find(rows, id_)
    if row.state != "planned":
        raise OrderRefused(f"{row.id} is {row.state}", f"outstation rollout resume {row.id}")
    made = read_plan(row.plan, row.digest)
    if (asking := made.asking(ASKS_NUMBER)) and not (made.number or brings):
        text = f"{names_in_short(asking)} ask for a change number, and the plan has none"
        raise OrderRefused(text, "plan again: outstation rollout plan --change NUMBER")
    rows.set_rollout(row.id, wall_s=wall_s, state="running", why="")


def pause(rows: Rollouts, id_: str, *, running: bool, wall_s: float) -> None:
    """Nothing new is begun; trials that run are still confirmed. `running`: some console carries it out now."""
    row = find(rows, id_)
    if row.state != "running":
        raise OrderRefused(f"{row.id} is {row.state}")
    if row.want in ("keep", "revert"):
        raise OrderRefused(f"{row.id} is being aborted")
    if running:
        rows.set_rollout(row.id, wall_s=wall_s, want="pause")
    else:
        why = "a person paused it; no console carried it out then"
        rows.set_rollout(row.id, wall_s=wall_s, state="paused", want="", why=why)


def resume(
    rows: Rollouts, id_: str, *, operator: str, wall_s: float, accept: bool = False, write_off: Sequence[str] = ()
) -> None:
    """Goes on. Debts fire again. `accept`: past a gate that stopped it, under the operator's name; `write_off`: nodes
    of which it is not known how it went, and which are not waited for any more. Raises OrderRefused.
    """
    row = find(rows, id_)
    if row.state == "planned":
        raise OrderRefused(f"{row.id} was not started", f"outstation rollout start {row.id}")
    if row.state in ENDED and not row.want:
        raise OrderRefused(f"{row.id} is {row.state}")
    targets = {target.node: target for target in rows.targets(row.id)}
    for name in write_off:
        if name not in targets or targets[name].state != "unknown":
            raise OrderRefused(f"{name} is not a node of {row.id} of which it is not known how it went")
    aborting = row.want in ("keep", "revert")
    changed = [_written_off(targets[name], operator) for name in write_off]
    if not aborting:
        changed += [_fired(target) for target in targets.values() if target.state == "skipped" and target.debt]
    waves = [_resumed(wave, operator if accept else "") for wave in rows.waves(row.id) if wave.state == "stopped"]
    if accept and not waves:
        raise OrderRefused(f"no gate stopped {row.id}")
    rows.change(
        row.id,
        wall_s=wall_s,
        rollout={"state": "running", "want": row.want if aborting else "", "why": ""},
        waves=waves,
        targets=changed,
    )


def retry(rows: Rollouts, id_: str, *, nodes: Sequence[str], operator: str, wall_s: float) -> list[str]:
    """Nodes that failed (or those named) get another attempt with a deployment of its own; their names."""
    row = find(rows, id_)
    if row.state in ("planned", "aborted") or row.want in ("keep", "revert"):
        raise OrderRefused(f"{row.id} is {row.want or row.state}")
    found = [target for target in rows.targets(row.id) if _may_retry(target) and (not nodes or target.node in nodes)]
    missing = set(nodes) - {target.node for target in found}
    if missing or not found:
        raise OrderRefused(f"nothing to retry: {', '.join(sorted(missing)) or 'no node failed'}")
    if row.state != "running":
        resume(rows, row.id, operator=operator, wall_s=wall_s)
    rows.change(row.id, wall_s=wall_s, targets=[_retried(target) for target in found])
    return [target.node for target in found]


def abort(rows: Rollouts, id_: str, mode: str, *, wall_s: float) -> None:
    """`keep`: committed nodes stay as they are. `revert`: they go back too. Raises OrderRefused."""
    row = find(rows, id_)
    if row.state == "aborted" and not row.want and mode == "keep":
        raise OrderRefused(f"{row.id} is aborted")
    if row.want == "revert" and mode == "keep":
        raise OrderRefused(f"{row.id} is being reverted")
    if row.state == "planned":
        rows.set_rollout(row.id, wall_s=wall_s, state="aborted", why="it was never started")
        return
    rows.set_rollout(row.id, wall_s=wall_s, state="running", want=mode, why="")


def _written_off(target: TargetRow, operator: str) -> TargetRow:
    detail = f"written off by {operator}; it is not known what runs there"
    return replace(target, state="skipped", asked="", cause="written off", detail=detail)


def _fired(target: TargetRow) -> TargetRow:
    return replace(target, state="waiting", asked="", cause="", detail="", hint="")


def _resumed(wave: WaveRow, operator: str) -> WaveRow:
    return replace(wave, state="running", accepted_by=operator or wave.accepted_by)


def _may_retry(target: TargetRow) -> bool:
    return target.goal == "new" and (
        target.state in RETRIED or (target.state == "skipped" and not target.debt and target.cause != ABORTED)
    )


def _retried(target: TargetRow) -> TargetRow:
    number = target.attempt + 1
    id_ = deployment_id(target.rollout, target.node, target.goal, number)
    return replace(
        _fired(target), attempt=number, deployment=id_, flips=0, trial_s=0.0, before="", after="", gate="", shadow=""
    )
