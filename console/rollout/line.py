"""One node as it was reached so far: silent since when, and not to be asked before."""

from __future__ import annotations

from dataclasses import dataclass

from console.rollout.outcomes import Answer, Problem
from console.rollout.standing import Contact

BACKOFF_S_FIRST, BACKOFF_S_MAX = 0.5, 15.0


@dataclass(slots=True)
class Line:
    """One node as it was reached so far; times on the loop's clock."""

    busy: bool = False
    asked_s: float = -1e9
    silent_since_s: float | None = None
    losses: int = 0
    not_before_s: float = 0.0

    def contact(self, now_s: float) -> Contact:
        silent_s = 0.0 if self.silent_since_s is None else now_s - self.silent_since_s
        return Contact(self.busy, now_s < self.not_before_s, now_s - self.asked_s, silent_s)

    def heard(self, answer: Answer, now_s: float) -> None:
        """Notes whether the node did what it was asked, or is to be left alone for a moment."""
        self.asked_s = now_s
        if not isinstance(answer, Problem) or answer.kind in ("skip", "failed"):
            self.silent_since_s, self.losses, self.not_before_s = None, 0, 0.0
            return
        if answer.kind != "ask" and self.silent_since_s is None:
            self.silent_since_s = now_s
        self.losses += 1
        self.not_before_s = now_s + min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2.0 ** min(self.losses, 10))
