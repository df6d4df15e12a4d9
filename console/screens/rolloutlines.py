"""A rollout as lines of spans: waves as lanes with a cell a node, the gate's figures, causes, trials. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console import figures
from console.delivery.gate import percent
from console.rollout.causes import Cause
from console.rollout.gates import Figure, Verdict
from console.rollout.report import NodeReport, Report, WaveReport
from console.screens.gatelines import gate_lines
from console.screens.planlines import plan_lines
from widgets.cells import pad, spans_width, wrap
from widgets.look import Look, Role, Span, Spans

NAME_CELLS = 16
STATE_CELLS = 9
FIGURES_MAX = 8
TRIALS_MAX = 6
NAMES_MAX = 6
RECORDERS_MAX = 2
SHADOW_LINES_MAX = 20
# State -> its cell, in ASCII, its role. What is normal is quiet.
CELLS: dict[str, tuple[str, str, Role]] = {
    "waiting": ("·", ".", "dim"),
    "staging": ("▫", ",", "dim"),
    "staged": ("▪", ":", "dim"),
    "shadow": ("~", "~", "strong"),
    "switching": ("◌", ">", "base"),
    "trial": ("◐", "t", "strong"),
    "confirming": ("◑", "c", "strong"),
    "ok": ("●", "#", "ok"),
    "going back": ("◁", "<", "warn"),
    "reverting": ("◁", "<", "strong"),
    "reverted": ("◀", "<", "base"),
    "not reverted": ("X", "X", "alarm"),
    "failed": ("X", "X", "alarm"),
    "interrupted": ("!", "!", "warn"),
    "unconfirmed": ("!", "!", "warn"),
    "owed": ("o", "o", "warn"),
    "skipped": ("-", "-", "dim"),
    "unknown": ("?", "?", "unknown"),
}
STATE_ROLES: dict[str, Role] = {"paused": "warn", "partial": "warn", "aborted": "dim", "running": "strong"}
WAVE_ROLES: dict[str, Role] = {"stopped": "alarm", "soaking": "strong", "running": "strong"}
FIGURE_ROLES: dict[str, Role] = {"fail": "alarm", "unknown": "unknown"}


def state_span(report: Report) -> Span:
    """The rollout's state; loud where it stands with something missing."""
    if report.orphan:
        return "nobody runs it", "warn"
    text = report.state if not report.want else f"{report.state}, {wanted(report)}"
    return text, STATE_ROLES.get(report.state, "base")


def wanted(report: Report) -> str:
    """What a person asked of it that is not done yet."""
    return {"pause": "pausing", "keep": "aborting", "revert": "reverting"}.get(report.want, "")


def report_lines(report: Report, look: Look, width: int) -> list[Spans]:
    """Everything of one rollout, the most urgent first where there is little room."""
    title = f" {report.bundle} {report.version}  "
    told = wrap(_counts(report), width - len(title) - 1)
    lines: list[Spans] = [
        ((title if number == 0 else " " * len(title), "strong"), (line, "base")) for number, line in enumerate(told)
    ]
    why = "no console carries it out now: c goes on with it" if report.orphan else report.why
    lines += [((f" {line}", "warn"),) for line in wrap(why, width - 2)] if why else []
    if report.state == "planned":
        return [*lines, (), *plan_lines(report, width)]
    lines += [(), *(line for wave in report.waves for line in _lane(wave, look, width))]
    lines += [(), *_legend(report, look, width)]
    lines += _trials(report)
    for cause in report.causes:
        lines += _cause(cause, width)
    lines += _recorders(report, width)
    judged = [(wave, wave.verdict) for wave in report.waves if wave.verdict is not None]
    for wave, verdict in [pair for pair in judged if pair[0].state != "passed"] or judged[-1:]:
        lines += _gate(wave, verdict, width)
    return lines + _left_out(report, width)


def _recorders(report: Report, width: int) -> list[Spans]:
    """Verdicts of the recorder gate: in full for a node that it stopped, one line for all that it let through."""
    judged = [(node, node.gate) for wave in report.waves for node in wave.nodes if node.gate is not None]
    stopped = [pair for pair in judged if pair[1].verdict == "failed" and pair[0].state == "failed"]
    lines: list[Spans] = []
    for node in [node for wave in report.waves for node in wave.nodes if node.shadow and node.state == "failed"]:
        if node.shadow is not None and node.shadow.verdict != "passed" and len(lines) < SHADOW_LINES_MAX:
            lines += [(), *gate_lines(node.shadow, width, title=f"{node.node} as a shadow")]
    for node, verdict in stopped[:RECORDERS_MAX]:
        lines += [(), *gate_lines(verdict, width, title=f"{node.node} on its own records")]
    if let := [verdict for node, verdict in judged if (node, verdict) not in stopped]:
        agreed = [verdict.agreement for verdict in let if verdict.agreement is not None]
        least = f", agreement from {percent(min(agreed))}" if agreed else ""
        unknown = sum(verdict.verdict == "unknown" for verdict in let)
        text = f"{len(let) - unknown} passed{least}" + (f"; {unknown} not known" if unknown else "")
        lines += [(), ((" recorder gate: ", "strong"), (text, "base"))]
    return lines


def _left_out(report: Report, width: int) -> list[Spans]:
    lines: list[Spans] = [()] if report.left_out else []
    for out in report.left_out:
        lines += [((f" {line}", "dim"),) for line in wrap(f"left out: {out.name}, {out.reason}", width - 2)]
    return lines


def _counts(report: Report) -> str:
    total = sum(report.counts.values())
    if report.state == "planned":
        return f"planned for {total} nodes in {len(report.waves)} waves, not started; nothing was changed"
    rest = ", ".join(f"{count} {state}" for state, count in report.counts.items() if state != "ok")
    return f"{report.counts.get('ok', 0)} of {total} run it" + (f"; {rest}" if rest else "")


def cell(state: str, look: Look) -> Span:
    """One node of a lane."""
    sign, plain, role = CELLS.get(state, ("?", "?", "unknown"))
    return plain if look.ascii else sign, role


def _lane(wave: WaveReport, look: Look, width: int) -> Iterator[Spans]:
    """A wave: number, name, state, then a cell a node, as many lines as it takes."""
    state = "accepted" if wave.accepted_by else wave.state
    head: Spans = (
        (f" {wave.number:>2} ", "dim"),
        (pad(wave.name, NAME_CELLS), "base"),
        (" ", "base"),
        (state, WAVE_ROLES.get(wave.state, "dim")),
        (" " * (STATE_CELLS + 1 - len(state)), "base"),
    )
    room = max(8, width - NAME_CELLS - STATE_CELLS - 8)
    cells = [cell(node.state, look) for node in wave.nodes]
    for start in range(0, len(cells), room):
        lead: Spans = head if start == 0 else ((" " * (NAME_CELLS + STATE_CELLS + 6), "base"),)
        yield (*lead, *cells[start : start + room])


def _legend(report: Report, look: Look, width: int) -> list[Spans]:
    """The signs that are in the lanes now."""
    lines: list[list[Span]] = [[(" ", "base")]]
    for state in (state for state in CELLS if state in report.counts):
        if spans_width(lines[-1]) + len(state) + 4 > width:
            lines.append([(" ", "base")])
        lines[-1] += [cell(state, look), (f" {state}  ", "dim")]
    return [tuple(line) for line in lines]


def _trials(report: Report) -> list[Spans]:
    """Nodes that go back by themselves unless they are confirmed, the soonest first."""
    found = sorted(
        (node for wave in report.waves for node in wave.nodes if node.trial_left_s > 0 and _on_trial(node)),
        key=lambda node: node.trial_left_s,
    )
    lines: list[Spans] = [
        (
            (f" {node.node} ", "strong"),
            (f"on trial for {figures.countdown(node.trial_s)}, goes back by itself in ", "base"),
            (figures.countdown(node.trial_left_s), "strong"),
        )
        for node in found[:TRIALS_MAX]
    ]
    if len(found) > TRIALS_MAX:
        lines.append(((f" and {len(found) - TRIALS_MAX} more on trial", "dim"),))
    return [(), *lines] if lines else []


def _on_trial(node: NodeReport) -> bool:
    return node.state in ("trial", "confirming", "going back", "reverting")


def _cause(cause: Cause, width: int) -> list[Spans]:
    names = ", ".join(cause.nodes[:NAMES_MAX])
    names += f" and {len(cause.nodes) - NAMES_MAX} more" if len(cause.nodes) > NAMES_MAX else ""
    lines: list[Spans] = [(), ((f" {len(cause.nodes)} x {cause.cause}: ", "warn"), (names, "base"))]
    for label, text in (("why", cause.detail), ("do", cause.action)):
        for number, line in enumerate(wrap(text, width - 9)[:2]) if text else ():
            lines.append(((f"   {label if number == 0 else '':<4} ", "dim"), (line, "base")))
    return lines


def _gate(wave: WaveReport, verdict: Verdict, width: int) -> list[Spans]:
    left = f", {figures.countdown(verdict.soak_left_s)} left" if verdict.soak_left_s > 0 else ""
    said: Role = "alarm" if verdict.says == "fail" else "unknown" if verdict.says == "unknown" else "base"
    lines: list[Spans] = [
        (),
        (
            (f" gate of wave {wave.number}: ", "strong"),
            (verdict.says, said),
            (f"; {verdict.ok} ok, {verdict.failed} failed, stops at {verdict.failures_max}{left}", "base"),
        ),
    ]
    for reason in verdict.reasons[:FIGURES_MAX]:
        lines += [((f"   {line}", "base"),) for line in wrap(reason, width - 4)[:2]]
    order = {"fail": 0, "unknown": 1}
    shown = sorted(verdict.figures, key=lambda figure: order.get(figure.says, 2))
    return lines + [_figure(figure) for figure in shown[:FIGURES_MAX]]


def _figure(figure: Figure) -> Spans:
    was = figures.number(figure.before) if figure.before is not None else figures.NONE
    return (
        (f"   {pad(figure.node, 12)} {pad(figure.name, 15)} ", "base"),
        (f"{was:>7} > {figures.number(figure.now):>7}  ", "base"),
        (f"{pad(figure.limit, 22)} ", "dim"),
        (figure.says if figure.says != "none" else "nothing before", FIGURE_ROLES.get(figure.says, "dim")),
    )
