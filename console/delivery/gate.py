"""Recorder gate and shadow from the console: what is asked of a candidate, and the verdict as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from console import figures
from nodeagent.protocol import GateRow, GateVerdict, ShadowVerdict

ROWS = 1_000
SHADOW_S = 1_800.0
WORST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class GateOrder:
    """What a candidate has to show on recorded inputs. None: not judged.

    `past`: go on whatever the verdict is; `known`: an unknown verdict stops it too.
    """

    rows: int = ROWS
    agreement_min: float = 0.9
    score_shift_max: float | None = None
    latency_ratio_max: float | None = None
    past: bool = False
    rows_min: int = 50
    latency_ms_p95_max: float | None = None
    known: bool = False

    def stops(self, verdict: GateVerdict) -> bool:
        """Whether the switch is not made."""
        return not self.past and (verdict.verdict == "failed" or (self.known and verdict.verdict == "unknown"))


@dataclass(frozen=True, slots=True)
class ShadowOrder:
    """For how long, and what the candidate has to show. None: not judged. `known`: an unknown verdict stops it too."""

    seconds: float = SHADOW_S
    rows_min: int = 50
    agreement_min: float = 0.9
    score_shift_max: float | None = None
    latency_ratio_max: float | None = None
    known: bool = False

    def stops(self, verdict: ShadowVerdict) -> bool:
        """Whether the candidate is not to be switched to."""
        return verdict.verdict == "failed" or (self.known and verdict.verdict == "unknown")


def verdict_of(preflight: Mapping[str, Any]) -> GateVerdict | None:
    """The verdict that is kept with a deployment; None where its gate was never asked."""
    kept = preflight.get("gate")
    try:
        return None if kept is None else msgspec.convert(kept, GateVerdict)
    except msgspec.ValidationError:
        return GateVerdict(verdict="unknown", reasons=["the verdict is of another version of the agent"])


def in_short(verdict: GateVerdict) -> str:
    """One line: `gate passed: 1,000 rows, agreement 99.8 %, p95 1.2 ms (1.1 before)`."""
    parts = [f"{verdict.rows:,} rows"]
    if verdict.agreement is not None:
        parts.append(f"agreement {percent(verdict.agreement)}")
    if verdict.latency_ms_p95 is not None:
        before = verdict.active_latency_ms_p95
        was = "" if before is None else f" ({_ms(before)} before)"
        parts.append(f"p95 {_ms(verdict.latency_ms_p95)} ms{was}")
    why = f": {'; '.join(verdict.reasons)}" if verdict.reasons else ""
    return f"gate {verdict.verdict}{why}: {', '.join(parts)}" if verdict.rows else f"gate {verdict.verdict}{why}"


def by_context(verdict: GateVerdict) -> list[str]:
    """The agreement of each product and the like, the most frequent first; nothing where there was one alone."""
    return [
        f"{percent(each.agreed / each.decided)} of {each.decided:,} under {each.context or 'no context'}"
        for each in verdict.contexts
        if each.decided
    ]


def in_full(verdict: GateVerdict, *, machine: str = "the node") -> list[str]:
    """The verdict with every figure and the worst rows; latencies are those of `machine`."""
    lines = [in_short(verdict)]
    if not verdict.rows:
        return lines
    if verdict.first_wall_us is not None and verdict.last_wall_us is not None:
        first, last = figures.day_and_time(verdict.first_wall_us), figures.day_and_time(verdict.last_wall_us)
        lines.append(f"  recorded {first} to {last}")
    if verdict.active_agreement is not None:
        lines.append(f"  the active revision agrees with its own records on {percent(verdict.active_agreement)}")
    lines += [f"  {line}" for line in by_context(verdict)]
    flips = [f"{count:,} x {what}" for what, count in verdict.flips.items()]
    lines.append(f"  flips: {', '.join(flips) or 'none'}")
    if verdict.score_shift_mean is not None:
        lines.append(
            f"  score: mean {verdict.score_shift_mean:+.4g}, p95 {_number(verdict.score_shift_p95)}, "
            f"at most {_number(verdict.score_shift_max)}"
        )
    before = (
        ""
        if verdict.active_latency_ms_p50 is None
        else (f"; active revision {_ms(verdict.active_latency_ms_p50)} and {_ms(verdict.active_latency_ms_p95)}")
    )
    lines.append(
        f"  latency on {machine}: p50 {_ms(verdict.latency_ms_p50)}, p95 {_ms(verdict.latency_ms_p95)} ms{before}"
    )
    lines += [f"  worst: {_row(row)}" for row in verdict.worst[:WORST_SHOWN]]
    return lines + [f"  ! {note}" for note in verdict.notes]


def shadow_of(preflight: Mapping[str, Any]) -> ShadowVerdict | None:
    """The shadow that is kept with a deployment; None where it never was one."""
    kept = preflight.get("shadow")
    try:
        return None if kept is None else msgspec.convert(kept, ShadowVerdict)
    except msgspec.ValidationError:
        return ShadowVerdict(verdict="unknown", reasons=["the verdict is of another version of the agent"])


def shadow_lines(verdict: ShadowVerdict) -> list[str]:
    """The verdict with its figures; latencies are those of the pipeline on the node."""
    first, *rest = in_full(verdict)
    rest = [line.replace("  recorded ", "  from ", 1) for line in rest]
    return [_as_shadow(first), f"  {times(verdict)}", *rest]


def shadow_line(verdict: ShadowVerdict) -> str:
    """One line: how it stands, or how it ended."""
    if not verdict.running:
        return _as_shadow(in_short(verdict))
    agreed = "" if verdict.agreement is None else f", agreement {verdict.agreement:.1%}"
    return f"shadow runs: {verdict.rows:,} sweeps{agreed}, {figures.countdown(verdict.left_s)} left"


def _as_shadow(line: str) -> str:
    """The gate's line, in a shadow's words."""
    return f"shadow {line.removeprefix('gate ')}".replace(" rows,", " sweeps,", 1)


def times(verdict: ShadowVerdict) -> str:
    """How long it was compared, and how long load was shed."""
    shed = f", not fed for {figures.countdown(verdict.shed_s)} to leave room" if verdict.shed_s else ""
    return f"compared for {figures.countdown(verdict.compared_s)}{shed}; {verdict.unpaired:,} answers without a partner"


def percent(share: float) -> str:
    """A share that is not whole never reads as 100 %."""
    return f"{min(share * 100, 99.99) if share < 1 else 100:.4g} %"


def _row(row: GateRow) -> str:
    scores = f"{_number(row.score_before)} -> {_number(row.score_after)}"
    key = f" key {row.key}" if row.key else ""
    return f"{figures.day_and_time(row.wall_us)}{key}: {row.decision_before} -> {row.decision_after}, {scores}"


def _ms(value: float | None) -> str:
    return figures.UNKNOWN if value is None else f"{value:.3g}"


def _number(value: float | None) -> str:
    return figures.UNKNOWN if value is None else f"{value:.4g}"
