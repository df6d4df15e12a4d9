"""What is done next. decide(standing) -> Step, pure: the executor makes no choices, and a killed console loses none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from console.rollout.aborting import decide_abort
from console.rollout.gates import Verdict
from console.rollout.moves import Act, node_acts
from console.rollout.standing import Standing, is_terminal
from store.rollouts import TargetRow, WaveRow

SILENT_TIMES_UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Step:
    """Rows to write now, or else nodes to ask. `rollout`: its state and why. Nothing at all: wait."""

    acts: tuple[Act, ...] = ()
    rollout: tuple[tuple[str, str], ...] = ()
    waves: tuple[WaveRow, ...] = ()
    targets: tuple[TargetRow, ...] = ()

    @property
    def changes(self) -> bool:
        return bool(self.rollout or self.waves or self.targets)


def decide(now: Standing) -> Step:
    """The next step of a running rollout."""
    if silent := _silent(now):
        return Step(targets=silent)
    if now.rollout.want in ("keep", "revert"):
        rollout, targets, acts = decide_abort(now)
        return Step(acts=acts, rollout=rollout, targets=targets)
    return _turn(now) or Step(acts=node_acts(now))


def _silent(now: Standing) -> tuple[TargetRow, ...]:
    """Nodes that have been silent too long: owed where nothing runs there yet, unknown where something may."""
    found = []
    for target in now.targets:
        contact = now.contact(target.node)
        if contact.busy or is_terminal(target) or target.state == "unknown":
            continue
        if contact.silent_s >= now.plan.policy.failures.unreachable_s:
            found.append(_owed(target) if _is_untouched(target) else replace(target, state="unknown"))
    return tuple(found)


def _is_untouched(target: TargetRow) -> bool:
    return (
        target.goal == "new"
        and target.state in ("waiting", "staged", "shadow")
        and (target.asked in ("", "stage", "shadow"))
    )


def _owed(target: TargetRow) -> TargetRow:
    return replace(target, state="skipped", asked="", debt=1, cause="not reached")


def _turn(now: Standing) -> Step | None:
    """A wave or the rollout going to its next state."""
    wave, pausing = now.current, now.rollout.want == "pause"
    if pausing and not now.in_flight():
        return _paused("a person paused it")
    if wave is None:
        return None if pausing else _next_wave(now)
    verdict = now.verdict(wave.number)
    if now.is_stopped(wave.number):
        return None if now.in_flight(wave.number) else _stopped(wave, verdict)
    if wave.accepted_by:
        verdict = msgspec.structs.replace(verdict, says="pass" if not _moving(now, wave) else "wait")
    if verdict.says == "wait":
        return _waiting(now, wave, verdict)
    if verdict.says == "pass":
        return None if pausing else _passed(now, wave, verdict)
    return _stopped(wave, verdict)


def _moving(now: Standing, wave: WaveRow) -> bool:
    return any(not is_terminal(target) for target in now.of_wave(wave.number))


def _waiting(now: Standing, wave: WaveRow, verdict: Verdict) -> Step | None:
    targets = now.of_wave(wave.number)
    unended = [target for target in targets if not is_terminal(target)]
    if not unended:
        return Step(waves=(_with(wave, "soaking", verdict),)) if wave.state == "running" else None
    limit_s = SILENT_TIMES_UNKNOWN * now.plan.policy.failures.unreachable_s
    if all(target.state == "unknown" and now.contact(target.node).silent_s >= limit_s for target in unended):
        names = ", ".join(target.node for target in unended[:5])
        return _paused(f"it is not known how it went on {names}", (_with(wave, wave.state, verdict),))
    return None


def _passed(now: Standing, wave: WaveRow, verdict: Verdict) -> Step:
    row = _with(wave, "passed", verdict)
    if now.plan.policy.success == "pause" and wave.number < len(now.waves):
        return _paused(f"wave {wave.number} passed its gate; the policy pauses after each wave", (row,))
    return Step(waves=(row,))


def _stopped(wave: WaveRow, verdict: Verdict) -> Step:
    why = f"wave {wave.number} stopped at its gate: {'; '.join(verdict.reasons[:3])}"
    return _paused(why, (_with(wave, "stopped", verdict),))


def _with(wave: WaveRow, state: str, verdict: Verdict) -> WaveRow:
    return replace(wave, state=state, verdict=msgspec.json.encode(verdict).decode())


def _paused(why: str, waves: Iterable[WaveRow] = ()) -> Step:
    return Step(rollout=(("state", "paused"), ("want", ""), ("why", why)), waves=tuple(waves))


def _next_wave(now: Standing) -> Step | None:
    """The next wave, once all before it passed and, where the policy says so, every node has the bundle."""
    waiting = next((wave for wave in now.waves if wave.state != "passed"), None)
    if waiting is None:
        return _finished(now)
    if now.plan.policy.stage == "everywhere" and any(
        target.state == "waiting" and now.waves[target.wave - 1].state == "waiting" for target in now.targets
    ):
        return None
    return Step(waves=(replace(waiting, state="running"),))


def _finished(now: Standing) -> Step | None:
    """done only if every node of the plan runs the bundle; anything else is partial, and says what is missing."""
    if any(not is_terminal(target) for target in now.targets) or now.in_flight():
        return None
    rest = [target for target in now.targets if target.state != "ok"]
    if not rest:
        return Step(rollout=(("state", "done"), ("want", ""), ("why", "")))
    owed = sum(target.debt for target in rest)
    why = f"{len(now.targets) - len(rest)} of {len(now.targets)} nodes run it" + (f", {owed} owed" if owed else "")
    return Step(rollout=(("state", "partial"), ("want", ""), ("why", why)))
