"""Like with like: what two revisions did under the contexts (product, shift) that both saw. Pure.

A revision that makes another product than the one before is not slower or worse for it: figures of before are weighed
by how much of each context the new revision saw, and where there is none that both saw, nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

UNKNOWN: Final = "=?"
PREDICTIONS_LEAST: Final = 20


class ContextSample(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision did under one context. Counts are since its worker started."""

    context: str
    predictions: int = 0
    rejects: int = 0
    alarms: int = 0
    outcomes: int = 0
    good: int = 0
    rate: float | None = None
    latency_ms_p95: float | None = None


class Figures(NamedTuple):
    """What a gate compares of one revision; None: not known. Shares are 0 to 1."""

    rejects: float | None = None
    score: float | None = None
    good: float | None = None
    rate: float | None = None
    latency_ms_p95: float | None = None


class Alike(NamedTuple):
    """Both revisions over `contexts`; `predictions` of the new one in them, `share` of all that it made."""

    contexts: tuple[str, ...]
    predictions: int
    share: float
    before: Figures
    now: Figures


def alike(before: Sequence[ContextSample], now: Sequence[ContextSample]) -> Alike | None:
    """None: one of them names no context, so that there is nothing to tell products apart by."""
    if not before or not now:
        return None
    old = {each.context: each for each in before if each.predictions >= PREDICTIONS_LEAST}
    pairs = [(old[each.context], each) for each in now if each.predictions and _is_common(each.context, old)]
    weights = [new.predictions for _, new in pairs]
    return Alike(
        tuple(new.context for _, new in pairs),
        sum(weights),
        sum(weights) / max(1, sum(each.predictions for each in now)),
        _weighed([was for was, _ in pairs], weights),
        _weighed([new for _, new in pairs], weights),
    )


def _is_common(context: str, old: dict[str, ContextSample]) -> bool:
    """A context of which a part is not known is no product: it is like nothing."""
    return context in old and UNKNOWN not in context


def _weighed(samples: Sequence[ContextSample], weights: Sequence[int]) -> Figures:
    def mean(of: Callable[[ContextSample], float | None]) -> float | None:
        values = [
            (weight, value) for weight, each in zip(weights, samples, strict=True) if (value := of(each)) is not None
        ]
        total = sum(weight for weight, _ in values)
        return sum(weight * value for weight, value in values) / total if total else None

    return Figures(
        rejects=mean(lambda each: _share(each.rejects, each.predictions + each.rejects)),
        score=mean(lambda each: _share(each.alarms, each.predictions)),
        good=mean(lambda each: _share(each.good, each.outcomes)),
        rate=mean(lambda each: each.rate),
        latency_ms_p95=mean(lambda each: each.latency_ms_p95),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
