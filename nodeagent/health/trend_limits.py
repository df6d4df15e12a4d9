"""The limits that stand in a bundle's charts: of the alert rules in force, and of the bundle's own decision. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from nodeagent.health.rules import Rule
from nodeagent.protocol import TrendLimit

DECIDE: Final = "DECIDE"
FIGURES: Final = (
    "bundle.inferences_per_s",
    "bundle.latency_ms_p95",
    "bundle.latency_ms_p99",
    "bundle.rejects_share",
    "bundle.score",
    "host.cpu_percent",
    "host.memory_percent",
)
_SIDES: Final[tuple[Literal["high", "low"], ...]] = ("high", "low")


def of_rules(in_force: Iterable[Rule], bundle: str) -> list[TrendLimit]:
    """Those that concern a bundle (empty: the host alone). Of rules with the same code the first one counts."""
    found: list[TrendLimit] = []
    seen: set[str] = set()
    for rule in in_force:
        options = rule.options
        of_bundle = options.figure.startswith("bundle.")
        subject = bundle if of_bundle else ""
        if options.figure not in FIGURES or options.code in seen or (of_bundle and not bundle):
            continue
        if not rule.concerns(subject, subject):
            continue
        seen.add(options.code)
        for side in _SIDES:
            value = getattr(options, side)
            if options.enabled and value is not None:
                found.append(TrendLimit(figure=options.figure, value=value, side=side, code=options.code))
    return found


def of_decision(pipeline: Mapping[str, Any]) -> list[TrendLimit]:
    """The limits on the score in a pipeline's `[decide]`; none where it decides otherwise or by a binding."""
    decide = pipeline.get("decide")
    if not isinstance(decide, Mapping):
        return []
    return [
        TrendLimit(figure="bundle.score", value=float(value), side=side, code=DECIDE)
        for side in _SIDES
        if isinstance(value := decide.get(side), int | float) and math.isfinite(value)
    ]
