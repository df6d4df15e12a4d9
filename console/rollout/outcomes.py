"""What a node's answer makes of its row: the node is believed, nothing is inferred. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from console.client.wire import AgentError
from console.delivery.deploy import BOTTOM, DeployFailed
from console.delivery.gate import shadow_line, shadow_of, verdict_of
from console.link.errors import LinkError
from console.rollout.gates import Sample
from nodeagent.protocol import Deployment, DeploymentState, RollbackReason
from store.rollouts import TargetRow

Op = Literal["stage", "shadow", "activate", "look", "watch", "call", "confirm", "rollback", "revert"]
WRITES = frozenset({"stage", "shadow", "activate", "confirm", "rollback", "revert"})
ABORTED = "aborted"
GATE = "gate"
RECORDER = "recorder gate"
SHADOW = "shadow"
# So often one deployment is asked to begin its trial before that counts as a failure.
FLIPS_MAX = 20
# The node has other things to do now; asked again later, and not counted.
LATER = frozenset({"LEASE.HELD", "LEASE.FENCED", "LIMIT.BUSY", "DEPLOYMENT.TRIAL_RUNNING", "REQUEST.TIMEOUT"})
# The row on the node is not what was thought: it is asked for.
ASK = frozenset({"DEPLOYMENT.ALREADY_ROLLED_BACK", "DEPLOYMENT.STATE", "DEPLOYMENT.OLD_LOGIN", "DEPLOYMENT.UNKNOWN"})
# A person took the node out of this, or has not let it in; the machine is not there: no fault of the bundle's.
SKIP = frozenset(
    {
        *("DEPLOYMENT.OUT_OF_SERVICE", "DEPLOYMENT.HOLD", "DEPLOYMENT.MACHINE_STATE"),
        *("ACCESS.MONITOR_ONLY", "ACCESS.RELEASE_ONLY"),
        *("CHANGE.NUMBER", "CHANGE.SECOND_PERSON", "CHANGE.SAME_PERSON", "CHANGE.UNPROVEN"),
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer. lost: whether it happened is not known; ask: the node is to be asked what is so;
    later: it did not happen and may be tried again; skip: a person's no; failed: the node's or the bundle's no.
    `gate`: the recorder gate's verdict as JSON, where that was the reason.
    """

    kind: Literal["lost", "ask", "later", "skip", "failed"]
    cause: str
    text: str
    hint: str = ""
    gate: str = ""


Answer = Deployment | Sample | Problem | None


def deployment_id(rollout: str, node: str, goal: str, attempt: int) -> str:
    """The same on every console that carries out this rollout, so that a node is never asked twice for one thing."""
    return hashlib.sha256(f"{rollout}\n{node}\n{goal}\n{attempt}".encode()).hexdigest()[:32]


def problem_of(error: LinkError | AgentError | DeployFailed) -> Problem | Deployment:
    """What an expected error means for a rollout; a deployment that came to its end is an answer like any other."""
    if isinstance(error, LinkError):
        return Problem("lost", f"link {error.state.value}", error.message, error.hint)
    if isinstance(error, AgentError):
        code, told = error.error.code, error.error
        kind: Literal["later", "ask", "skip", "failed"] = (
            "later" if code in LATER else "ask" if code in ASK else "skip" if code in SKIP else "failed"
        )
        return Problem(kind, code, told.message, told.hint)
    if error.step == "gate":
        text = f"on its own records: {error.message}"
        hint = "look at its worst rows: outstation rollout show"
        return Problem("failed", RECORDER, text, hint, verdict_text(error.deployment))
    if error.deployment is not None and error.deployment.state in BOTTOM:
        return error.deployment
    if error.passport is not None:
        names = ", ".join(item.name for item in error.passport.items if item.verdict == "no")
        return Problem("failed", f"passport {names}".strip(), error.message, error.hint)
    return Problem("failed", error.step, error.message, error.hint)


def verdict_text(found: Deployment | None) -> str:
    """The recorder gate's verdict in a deployment, as the rows keep it; empty where its gate was not asked."""
    verdict = verdict_of(found.preflight) if found is not None else None
    return "" if verdict is None else msgspec.json.encode(verdict).decode()


def after(target: TargetRow, op: Op, answer: Answer, *, digest: str, retries: int) -> TargetRow:
    """The row after the answer. `digest` of the bundle that goes out; `retries` of what was only interrupted."""
    if isinstance(answer, Problem):
        return _after_problem(target, op, answer)
    if isinstance(answer, Sample):
        return _after_sample(target, op, answer, digest)
    settled = replace(target, asked="", gate=verdict_text(answer) or target.gate)
    if answer is None:
        if target.flips and target.goal == "new":  # It was staged there before. A revert begins with its request.
            text = "the node does not know the deployment that it was asked to switch to"
            return replace(settled, state="failed", cause="DEPLOYMENT.UNKNOWN", detail=text)
        return replace(settled, state="waiting")
    return _after_deployment(settled, answer, retries)


def _after_problem(target: TargetRow, op: Op, problem: Problem) -> TargetRow:
    if op not in WRITES or problem.kind in ("lost", "ask"):
        return (
            replace(target, detail=problem.text, hint=problem.hint) if target.cause not in (GATE, ABORTED) else target
        )
    told = replace(target, asked="", detail=problem.text, hint=problem.hint, gate=problem.gate or target.gate)
    if problem.kind == "later":
        return replace(told, flips=max(0, target.flips - 1))
    state = "skipped" if problem.kind == "skip" else "failed"
    return replace(told, state=state, cause=problem.cause)


def _after_sample(target: TargetRow, op: Op, sample: Sample, digest: str) -> TargetRow:
    """What a node that answers showed; time since its commit goes by its own CLOCK_BOOTTIME."""
    if op == "call":  # A node that was owed answers again.
        return replace(target, state="waiting", cause="", detail="", hint="")
    if target.state == "ok" and sample.digest != digest:
        return replace(
            target, state="failed", cause="replaced", detail=f"runs {sample.version or 'something else'} now"
        )
    text = msgspec.json.encode(sample).decode()
    if target.state != "ok":
        return replace(target, after=text) if sample.digest == digest else target
    if not target.seen_boot:
        passed_us = 0
    elif sample.boot_id == target.seen_boot:
        passed_us = max(0, sample.boottime_us - target.seen_us)
    else:  # Rebooted: what it ran before the last look is known, and since this boot; nothing between.
        passed_us = sample.boottime_us
    return replace(
        target,
        after=text,
        soaked_us=target.soaked_us + passed_us,
        seen_boot=sample.boot_id,
        seen_us=sample.boottime_us,
    )


def _after_deployment(target: TargetRow, found: Deployment, retries: int) -> TargetRow:
    state = found.state
    if state is DeploymentState.RECEIVING:
        return replace(target, state="waiting")
    shadow = shadow_of(found.preflight)
    if shadow is not None and shadow.running and state is DeploymentState.PREFLIGHT_OK:
        return replace(target, state="shadow", cause="", detail=shadow_line(shadow), hint="")
    if shadow is not None and shadow.compared_s and not target.shadow:
        target = replace(target, shadow=msgspec.json.encode(shadow).decode())
    if state in (DeploymentState.STAGED, DeploymentState.PREFLIGHT_OK):
        if target.flips >= FLIPS_MAX:
            text = f"asked {target.flips} times, the node did not begin its trial"
            return replace(target, state="failed", cause="no trial", detail=text)
        return replace(target, state="staged" if target.goal == "new" else "waiting", cause="", detail="", hint="")
    if state is DeploymentState.TRIAL:
        left_s = found.seconds_left if found.seconds_left is not None else found.window_s
        trial = replace(target, state="trial", trial_s=max(0.0, found.window_s - left_s), trial_left_s=left_s)
        return trial if target.cause in (GATE, ABORTED) else replace(trial, cause="", detail="", hint="")
    if state is DeploymentState.COMMITTED:
        return replace(target, state="ok", trial_left_s=0.0, cause="", detail="", hint="", soaked_us=0, seen_boot="")
    return _after_end(target, found, retries)


def _after_end(target: TargetRow, found: Deployment, retries: int) -> TargetRow:
    """ROLLED_BACK and REFUSED."""
    told = found.error
    if target.cause == ABORTED and (found.reason in (None, RollbackReason.REVERTED)):
        return replace(target, state="skipped", detail="taken back: the rollout was aborted")
    if found.reason in (RollbackReason.INTERRUPTED, RollbackReason.UNCONFIRMED):
        return _again(target, found.reason, retries)
    if target.cause in (GATE, SHADOW):
        return replace(target, state="failed")
    verdict = verdict_of(found.preflight)
    if found.state is DeploymentState.REFUSED and verdict is not None and verdict.verdict != "passed":
        text = f"on its own records: {'; '.join(verdict.reasons)}"
        return replace(target, state="failed", cause=RECORDER, detail=text)
    cause = (told.code if told else "") or f"rolled back {found.reason or ''}".strip()
    detail = told.message if told and told.message else f"the node says {found.state} {found.reason or ''}".strip()
    return replace(target, state="failed", cause=cause, detail=detail, hint=told.hint if told else "")


def _again(target: TargetRow, reason: RollbackReason, retries: int) -> TargetRow:
    """Not the bundle's fault: another attempt with a deployment of its own, so often as the policy says."""
    state = reason.value.lower()
    text = "the node was restarted in its trial" if state == "interrupted" else "nobody confirmed it in time"
    if target.cause == ABORTED:
        return replace(target, state="skipped", detail=text)
    if target.attempt > retries:
        return replace(target, state=state, cause=state, detail=f"{text}, {target.attempt} times")
    number = target.attempt + 1
    id_ = deployment_id(target.rollout, target.node, target.goal, number)
    return replace(target, state="waiting", attempt=number, deployment=id_, flips=0, trial_s=0.0, detail=text)
