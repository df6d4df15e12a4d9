"""A deployment's life as a table: (state, event) -> next state, reason, actions. Pure; deployer.py does what it says.

The shape is Mender's (one aligned table, saved before acting) and the contract is gNMI's commit-confirmed: one
pending commit, confirmed or undone. An event that a state does not know is a bug of ours and raises.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

from nodeagent.protocol import DeploymentState, RollbackReason

# An agent that died this often inside one trial does not try again: it goes back.
TRIAL_RESUMES_MAX = 2
# How far one bundle may move the sequence number in one epoch: a stolen key cannot burn all numbers at once.
SEQUENCE_JUMP_MAX = 10_000


class Event(enum.StrEnum):
    """What can happen to a deployment."""

    VERIFIED = "verified"  # all blobs are in, hashed and signed
    PREFLIGHT_PASSED = "preflight passed"
    PREFLIGHT_FAILED = "preflight failed"  # the bundle's fault: final
    PREFLIGHT_DEFERRED = "preflight deferred"  # the node's fault: may be tried again
    CANDIDATE_LOST = "candidate lost"  # the prepared worker is gone (agent restart)
    DAMAGED = "damaged"  # a blob is not its digest any more
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    FLIPPED = "flipped"
    CONFIRMED = "confirmed"
    EXTENDED = "extended"
    RESUMED = "resumed"  # the agent came back in the same boot, before the deadline
    DEADLINE_PASSED = "deadline passed"
    GUARD_TRIPPED = "guard tripped"
    SWITCH_FAILED = "switch failed"
    REBOOTED = "rebooted"
    RESUMED_TOO_OFTEN = "resumed too often"
    REVERTED = "reverted"


class Action(enum.StrEnum):
    """What the deployer owes after the transition was committed. Each may be done twice."""

    ARM = "arm"  # the launcher keeps the deadline too
    DISARM = "disarm"
    SWITCH = "switch"
    SWITCH_BACK = "switch back"
    DISCARD = "discard"  # the prepared candidate
    RETIRE = "retire"  # the warm previous
    ARM_OUTPUTS = "arm outputs"  # those that were a dry run until the commit
    RAISE_FLOOR = "raise floor"  # inside the same transaction


class UnknownEvent(Exception):
    """A bug: this state has no answer to this event."""


@dataclasses.dataclass(frozen=True)
class Transition:
    """Where an event leads. `reason` is set where the next state is ROLLED_BACK."""

    state: DeploymentState
    reason: RollbackReason | None = None
    actions: tuple[Action, ...] = ()


_S, _R, _E, _A = DeploymentState, RollbackReason, Event, Action
_COMMIT = (_A.RAISE_FLOOR, _A.DISARM, _A.RETIRE, _A.ARM_OUTPUTS)
_BACK = (_A.DISARM, _A.SWITCH_BACK)

# fmt: off
TABLE: dict[tuple[DeploymentState, Event], Transition] = {
    (_S.RECEIVING,    _E.VERIFIED):           Transition(_S.STAGED),
    (_S.RECEIVING,    _E.REFUSED):            Transition(_S.REFUSED),
    (_S.RECEIVING,    _E.WITHDRAWN):          Transition(_S.REFUSED),
    (_S.STAGED,       _E.PREFLIGHT_PASSED):   Transition(_S.PREFLIGHT_OK),
    (_S.STAGED,       _E.PREFLIGHT_FAILED):   Transition(_S.REFUSED),
    (_S.STAGED,       _E.PREFLIGHT_DEFERRED): Transition(_S.STAGED),
    (_S.STAGED,       _E.DAMAGED):            Transition(_S.RECEIVING),
    (_S.STAGED,       _E.REFUSED):            Transition(_S.REFUSED),
    (_S.STAGED,       _E.WITHDRAWN):          Transition(_S.REFUSED),
    (_S.PREFLIGHT_OK, _E.CANDIDATE_LOST):     Transition(_S.STAGED),
    (_S.PREFLIGHT_OK, _E.DAMAGED):            Transition(_S.RECEIVING,   None,            (_A.DISCARD,)),
    (_S.PREFLIGHT_OK, _E.REFUSED):            Transition(_S.REFUSED,     None,            (_A.DISCARD,)),
    (_S.PREFLIGHT_OK, _E.WITHDRAWN):          Transition(_S.REFUSED,     None,            (_A.DISCARD,)),
    (_S.PREFLIGHT_OK, _E.FLIPPED):            Transition(_S.TRIAL,       None,            (_A.ARM, _A.SWITCH)),
    (_S.TRIAL,        _E.CONFIRMED):          Transition(_S.COMMITTED,   None,            _COMMIT),
    (_S.TRIAL,        _E.EXTENDED):           Transition(_S.TRIAL,       None,            (_A.ARM,)),
    (_S.TRIAL,        _E.RESUMED):            Transition(_S.TRIAL,       None,            (_A.ARM,)),
    (_S.TRIAL,        _E.DEADLINE_PASSED):    Transition(_S.ROLLED_BACK, _R.UNCONFIRMED,  _BACK),
    (_S.TRIAL,        _E.GUARD_TRIPPED):      Transition(_S.ROLLED_BACK, _R.FAILED,       _BACK),
    (_S.TRIAL,        _E.SWITCH_FAILED):      Transition(_S.ROLLED_BACK, _R.FAILED,       _BACK),
    (_S.TRIAL,        _E.DAMAGED):            Transition(_S.ROLLED_BACK, _R.FAILED,       _BACK),
    (_S.TRIAL,        _E.REBOOTED):           Transition(_S.ROLLED_BACK, _R.INTERRUPTED,  _BACK),
    (_S.TRIAL,        _E.RESUMED_TOO_OFTEN):  Transition(_S.ROLLED_BACK, _R.INTERRUPTED,  _BACK),
    (_S.TRIAL,        _E.REVERTED):           Transition(_S.ROLLED_BACK, _R.REVERTED,     _BACK),
}
# fmt: on

FINAL = frozenset({_S.COMMITTED, _S.ROLLED_BACK, _S.REFUSED})


def step(state: DeploymentState, event: Event) -> Transition:
    """The row of the table. Raises UnknownEvent where there is none: that is never an answer to an operator."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise UnknownEvent(f"{event!r} in state {state}") from None


@dataclasses.dataclass(frozen=True)
class TrialFacts:
    """What a TRIAL row says: the boot it began in, its deadline on that boot's CLOCK_BOOTTIME, resumes so far."""

    boot_id: str
    deadline_us: int
    resumes: int


def judge(trial: TrialFacts, *, boot_id: str, now_us: int) -> Event | None:
    """Whether a trial is over, by the clock alone; None: it goes on. The wall clock has no say."""
    if trial.boot_id != boot_id:
        return Event.REBOOTED
    return Event.DEADLINE_PASSED if now_us >= trial.deadline_us else None


def recover(
    state: DeploymentState, trial: TrialFacts | None, *, intact: bool, boot_id: str, now_us: int
) -> Event | None:
    """What a starting agent owes to a deployment; None: nothing. `intact`: each of its blobs is its digest."""
    if state in (DeploymentState.STAGED, DeploymentState.PREFLIGHT_OK) and not intact:
        return Event.DAMAGED
    if state is DeploymentState.PREFLIGHT_OK:
        return Event.CANDIDATE_LOST
    if state is not DeploymentState.TRIAL:
        return None
    if trial is None:
        raise UnknownEvent("a TRIAL without its boot id and deadline")
    if over := judge(trial, boot_id=boot_id, now_us=now_us):
        return over
    if not intact:
        return Event.DAMAGED
    return Event.RESUMED_TOO_OFTEN if trial.resumes >= TRIAL_RESUMES_MAX else Event.RESUMED


def floor_error(floor: Sequence[int], offered: Sequence[int]) -> str | None:
    """The TRUST code that refuses `offered` (epoch, sequence) over the floor, or None. Equal to the floor may pass.

    (0, 0) is the floor of a name that was never committed: any first number is accepted.
    """
    epoch, sequence = offered
    floor_epoch, floor_sequence = floor
    if (epoch, sequence) < (floor_epoch, floor_sequence):
        return "TRUST.ROLLBACK"
    if (floor_epoch, floor_sequence) == (0, 0):
        return None
    if epoch > floor_epoch + 1 or (epoch == floor_epoch and sequence > floor_sequence + SEQUENCE_JUMP_MAX):
        return "TRUST.FAST_FORWARD"
    return None


@dataclasses.dataclass(frozen=True)
class GuardLimits:
    """What a trial must stay under. `latency_ms_p99_max` 0: not judged."""

    error_share_max: float
    reject_share_max: float
    latency_ms_p99_max: float
    samples_min: int
    disk_bytes_free_min: int


@dataclasses.dataclass(frozen=True)
class GuardFacts:
    """What a trial did since its flip. None: not known, and what is not known trips nothing."""

    predictions: int
    errors: int
    rejects: int
    latency_ms_p99: float | None
    disk_bytes_free: int | None


def guard(facts: GuardFacts, limits: GuardLimits) -> str | None:
    """Why the trial must end, in words for the ledger, or None. Shares are judged from `samples_min` on."""
    asked = facts.predictions + facts.errors + facts.rejects
    if asked >= max(limits.samples_min, 1):
        if facts.errors / asked > limits.error_share_max:
            return f"{facts.errors} errors in {asked} predictions, more than {limits.error_share_max:.0%}"
        if facts.rejects / asked > limits.reject_share_max:
            return f"{facts.rejects} rejects in {asked} requests, more than {limits.reject_share_max:.0%}"
        if limits.latency_ms_p99_max and (facts.latency_ms_p99 or 0.0) > limits.latency_ms_p99_max:
            return f"latency p99 is {facts.latency_ms_p99:.1f} ms, more than {limits.latency_ms_p99_max:.1f} ms"
    if facts.disk_bytes_free is not None and facts.disk_bytes_free < limits.disk_bytes_free_min:
        return f"{facts.disk_bytes_free} bytes free on the disk, fewer than {limits.disk_bytes_free_min}"
    return None
