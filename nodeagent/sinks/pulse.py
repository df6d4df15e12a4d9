"""What a bundle says of itself beside its decisions: a count that goes on, and one word for how it does.

It is for a plant's own alarm system: a count that stands still is a node that is dead, cut off or stopped, whatever
the word beside it was.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from nodeagent.pipeline.outcome import ERROR, IDLE, Outcome

BEAT_S: Final = 1.0
DECISION_S_MIN: Final = 30.0
INTERVALS_MAX: Final = 3
# The numbers are for registers, and never change their meaning. 0 is what nobody has ever written.
CODES: Final = {"starting": 1, "running": 2, "idle": 3, "no decision": 4, "error": 5, "held": 6}


class Pulse(NamedTuple):
    """One beat. `work` is a word of CODES, `reason` why it is not running."""

    number: int
    work: str
    reason: str

    @property
    def code(self) -> int:
        """The word as a number."""
        return CODES[self.work]

    @property
    def alive(self) -> bool:
        """Whether there are decisions, or a machine that stands still and needs none."""
        return self.work in ("running", "idle")

    def fields(self) -> dict[str, Any]:
        """As a message tells it."""
        return {"heartbeat": self.number, "work": self.work, "code": self.code, "alive": self.alive, "why": self.reason}


@runtime_checkable
class HasPulse(Protocol):
    """A sink that passes beats on, where its options say so."""

    def pulse(self, beat: Pulse) -> None:
        """The newest beat; never blocks, never raises, and what was not passed on is forgotten."""


class Heart:
    """Makes beats of what was decided. Times are CLOCK_BOOTTIME in microseconds."""

    def __init__(self) -> None:
        self._count = 0
        self._last: Outcome | None = None
        self._decided_us = 0
        self._interval_us = 0

    def saw(self, outcome: Outcome, now_us: int) -> None:
        """The newest outcome."""
        if self._last is not None:
            self._interval_us = now_us - self._decided_us
        self._last, self._decided_us = outcome, now_us

    def beat(self, now_us: int, *, held: bool) -> Pulse:
        """The next beat. A decision is missed after three times the last interval, and after 30 s at least."""
        self._count += 1
        return Pulse(self._count, *self._work(now_us, held))

    def _work(self, now_us: int, held: bool) -> tuple[str, str]:
        if held:
            return "held", "outputs are held at their safe values"
        if self._last is None:
            return "starting", "nothing was decided yet"
        waited_us = now_us - self._decided_us
        if waited_us > max(DECISION_S_MIN * 1e6, INTERVALS_MAX * self._interval_us):
            return "no decision", f"none for {waited_us / 1e6:.0f} s"
        if self._last.valid:
            return "running", ""
        if self._last.decision == IDLE:
            return "idle", self._last.reason
        return ("error" if self._last.decision == ERROR else "no decision"), self._last.reason
