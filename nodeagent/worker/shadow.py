"""A candidate's answers against the active revision's, frame by frame, while both see the same plant. Never acted on.

The active worker sends what it said behind each sweep that it passes on; the candidate pairs it with what it made of
that sweep, by the sweep's source time. What has no partner is counted and forgotten.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from nodeagent.pipeline.outcome import ERROR, Outcome
from nodeagent.runtime.agreements import Agreements
from nodeagent.serving.statistics import Latencies

WAITING_MAX: Final = 8_192
SHIFTS_KEPT: Final = 20_000
FLIPS_MAX: Final = 50
WORST_ROWS: Final = 10


class Said(NamedTuple):
    """One answer: of which sweep, when, what, and how long the pipeline took for it."""

    source_us: int
    wall_us: int
    score: float | None
    label: str
    decision: str
    cost_us: int
    context: str = ""


def said(outcomes: Iterable[Outcome], cost_us: int) -> list[Said]:
    """What is compared of outcomes; skipped and idle ones count as answers without a score."""
    return [Said(o.source_us, o.wall_us, o.score, o.label, o.decision, cost_us, o.context) for o in outcomes]


class Shadow:
    """Bounded whatever comes: answers that wait for a partner, shifts kept for percentiles, worst rows."""

    def __init__(self) -> None:
        self._active: dict[int, Said] = {}
        self._candidate: dict[int, Said] = {}
        self._flips: Counter[str] = Counter()
        self._shifts: list[float] = []
        self._worst: list[tuple[tuple[int, float], int, dict[str, Any]]] = []
        self._latencies, self._active_latencies = Latencies(), Latencies()
        self._agreements = Agreements()
        self._dice = random.Random(0)
        self._first_us = self._last_us = 0
        self._shift_sum = self._shift_max = 0.0
        self._shift_count = 0
        self.rows = self.agreed = self.errors = self.unpaired = 0

    def heard(self, rows: Sequence[Said]) -> None:
        """What the active revision said."""
        for row in rows:
            self._meet(row, self._active, self._candidate, active=True)

    def made(self, rows: Sequence[Said]) -> None:
        """What the candidate made of the same sweeps."""
        for row in rows:
            self._meet(row, self._candidate, self._active, active=False)

    def forget_waiting(self) -> None:
        """The feed was interrupted: nothing that waits will find its partner."""
        self.unpaired += len(self._active) + len(self._candidate)
        self._active.clear()
        self._candidate.clear()

    def _meet(self, row: Said, own: dict[int, Said], others: dict[int, Said], *, active: bool) -> None:
        other = others.pop(row.source_us, None)
        if other is not None:
            self._pair(*((row, other) if active else (other, row)))
            return
        own[row.source_us] = row
        if len(own) > WAITING_MAX:
            del own[next(iter(own))]
            self.unpaired += 1

    def _pair(self, active: Said, candidate: Said) -> None:
        if active.score is None and candidate.score is None and ERROR not in (active.decision, candidate.decision):
            return  # Idle, or no input that was fit: neither model was asked.
        self.rows += 1
        self._first_us = self._first_us or active.wall_us
        self._last_us = active.wall_us
        self._latencies.add(candidate.cost_us)
        self._active_latencies.add(active.cost_us)
        self.errors += candidate.decision == ERROR
        both = bool(active.label and candidate.label)
        same = active.decision == candidate.decision and (not both or active.label == candidate.label)
        self.agreed += same
        self._agreements.add(active.context, same=same)
        if not same and (len(self._flips) < FLIPS_MAX or _flip(active, candidate) in self._flips):
            self._flips[_flip(active, candidate)] += 1
        shift = None if active.score is None or candidate.score is None else candidate.score - active.score
        if shift is not None:
            self._shifted(shift)
        self._rank(active, candidate, same, shift)

    def _shifted(self, shift: float) -> None:
        self._shift_count += 1
        self._shift_sum += shift
        self._shift_max = max(self._shift_max, abs(shift))
        if len(self._shifts) < SHIFTS_KEPT:
            self._shifts.append(abs(shift))
        elif (place := self._dice.randrange(self._shift_count)) < SHIFTS_KEPT:
            self._shifts[place] = abs(shift)

    def _rank(self, active: Said, candidate: Said, same: bool, shift: float | None) -> None:
        badness = (int(active.decision != candidate.decision), abs(shift) if shift is not None else 0.0)
        if badness <= (0, 0.0) and same:
            return
        row = {
            "key": 0,
            "wall_us": active.wall_us,
            "score_before": active.score,
            "score_after": candidate.score,
            "decision_before": active.decision,
            "decision_after": candidate.decision,
        }
        entry = (badness, self.rows, row)
        if len(self._worst) < WORST_ROWS:
            heapq.heappush(self._worst, entry)
        elif entry > self._worst[0]:
            heapq.heapreplace(self._worst, entry)

    def figures(self) -> dict[str, Any]:
        """As `Replayed` has them, with those of the active revision under `active`; milliseconds of the pipeline."""
        ordered = sorted(self._shifts)
        return {
            "rows": self.rows,
            "errors": self.errors,
            "decided": self.rows,
            "agreed": self.agreed,
            "first_wall_us": self._first_us or None,
            "last_wall_us": self._last_us or None,
            "flips": dict(self._flips.most_common(20)),
            "score_shift_mean": self._shift_sum / self._shift_count if self._shift_count else None,
            "score_shift_p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else None,
            "score_shift_max": self._shift_max if self._shift_count else None,
            "latency_ms_p50": self._latencies.quantile_ms(0.5),
            "latency_ms_p95": self._latencies.quantile_ms(0.95),
            "contexts": [msgspec.structs.asdict(each) for each in self._agreements.told()],
            "worst": [row for _, _, row in sorted(self._worst, reverse=True)],
            "active": {
                "rows": self.rows,
                "latency_ms_p50": self._active_latencies.quantile_ms(0.5),
                "latency_ms_p95": self._active_latencies.quantile_ms(0.95),
            },
            "unpaired": self.unpaired + max(0, len(self._active) - 1) + max(0, len(self._candidate) - 1),
        }


def _flip(active: Said, candidate: Said) -> str:
    if active.decision != candidate.decision:
        return f"{active.decision} -> {candidate.decision}"
    return f"{active.label} -> {candidate.label}"
