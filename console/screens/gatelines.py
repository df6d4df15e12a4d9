"""A recorder gate's verdict as lines of spans: the verdict, what it was made of, the worst rows. Pure."""

from __future__ import annotations

from console import figures
from console.delivery.gate import by_context, percent
from nodeagent.protocol import GateRow, GateVerdict
from widgets.cells import wrap
from widgets.look import Role, Spans

WORST_MAX = 3
CONTEXTS_MAX = 4
ROLES: dict[str, Role] = {"passed": "base", "failed": "alarm", "unknown": "unknown"}


def gate_lines(
    verdict: GateVerdict, width: int, *, title: str = "recorder gate", worst: int = WORST_MAX
) -> list[Spans]:
    """Never wider than `width`; `worst` rows at most."""
    head = f" {title}: "
    rows = f"; {verdict.rows:,} rows" if verdict.rows else ""
    lines: list[Spans] = [
        ((head, "strong"), (verdict.verdict, ROLES[verdict.verdict]), (f"{rows}{_since(verdict)}"[: width - 24], "dim"))
    ]
    for reason in verdict.reasons:
        lines += [((f"   {line}", "base"),) for line in wrap(reason, width - 4)[:2]]
    if verdict.rows:
        lines += [_pair(name, now, was) for name, now, was in _figures(verdict)]
        lines += [((f"   {'by product' if n == 0 else '':<15}", "base"), (line[: width - 20], "base"))
                  for n, line in enumerate(by_context(verdict)[:CONTEXTS_MAX])]  # fmt: skip
        flips = ", ".join(f"{count:,} x {what}" for what, count in verdict.flips.items()) or "none"
        lines += [((f"   {'flips' if n == 0 else '':<15}", "base"), (line, "base")) for n, line in
                  enumerate(wrap(flips, width - 20)[:2])]  # fmt: skip
    for row in verdict.worst[:worst] if verdict.verdict != "passed" else ():
        lines += [((f"   {'worst' if row is verdict.worst[0] else '':<15}", "dim"), (_row(row)[: width - 20], "base"))]
    for note in verdict.notes:
        lines += [((f"   {line}", "warn"),) for line in wrap(note, width - 4)]
    return lines


def gate_line(verdict: GateVerdict, width: int) -> Spans:
    """The verdict in one line."""
    agreed = "" if verdict.agreement is None else f", agreement {percent(verdict.agreement)}"
    rows = f"; {verdict.rows:,} rows{agreed}" if verdict.rows else f"; {'; '.join(verdict.reasons)}"
    return (
        (" recorder gate ", "base"),
        (verdict.verdict, ROLES[verdict.verdict]),
        (rows[: max(0, width - 24)], "base"),
    )


def _since(verdict: GateVerdict) -> str:
    if verdict.first_wall_us is None or verdict.last_wall_us is None:
        return ""
    return f", {figures.day_and_time(verdict.first_wall_us)} to {figures.day_and_time(verdict.last_wall_us)}"


def _figures(verdict: GateVerdict) -> list[tuple[str, str, str]]:
    """(name, of the candidate, of the active revision)."""
    found = [
        ("agreement", verdict.agreement, verdict.active_agreement),
        ("p50 ms", verdict.latency_ms_p50, verdict.active_latency_ms_p50),
        ("p95 ms", verdict.latency_ms_p95, verdict.active_latency_ms_p95),
    ]
    told = [(name, _said(name, now), _said(name, was)) for name, now, was in found]
    if verdict.score_shift_mean is not None:
        most = "?" if verdict.score_shift_max is None else f"{verdict.score_shift_max:.3g}"
        told.insert(1, ("score shift", f"{verdict.score_shift_mean:+.3g}", f"at most {most}"))
    return told


def _said(name: str, value: float | None) -> str:
    if value is None:
        return figures.UNKNOWN
    return percent(value) if name == "agreement" else f"{value:.3g}"


def _pair(name: str, now: str, was: str) -> Spans:
    text = was if was.startswith("at most") else f"active {was}"
    return ((f"   {name:<15}", "base"), (f"{now:<10}", "strong"), (text, "dim"))


def _row(row: GateRow) -> str:
    scores = " > ".join(figures.UNKNOWN if value is None else f"{value:.4g}" for value in
                        (row.score_before, row.score_after))  # fmt: skip
    return f"{figures.day_and_time(row.wall_us)}  {row.decision_before} > {row.decision_after}  {scores}"
