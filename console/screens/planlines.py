"""A stored plan as it is read before it is started: waves with their nodes, groups, bytes, time. Pure."""

from __future__ import annotations

from console import figures
from console.delivery.gate import percent
from console.rollout.outline import Outline, change_lines, transfer_lines
from console.rollout.report import Report
from widgets.cells import pad, wrap
from widgets.look import Spans

LABEL_CELLS = 10
NAME_CELLS = 16
NODE_LINES_MAX = 3


def plan_lines(report: Report, width: int) -> list[Spans]:
    """Nothing in it changes any more; another plan is another rollout."""
    told = report.outline
    lines = _pairs(told, width)
    lines += [(), ((f" {'wave':<5}{pad('name', NAME_CELLS)} {'nodes':>5} {'stops at':>9}  which", "dim"),)]
    for wave, stops_at in zip(report.waves, told.stops_at, strict=True):
        head = f" {wave.number:<5}{pad(wave.name, NAME_CELLS)} {len(wave.nodes):>5} {stops_at:>9}  "
        names = wrap(", ".join(node.node for node in wave.nodes), max(10, width - len(head) - 1))
        for number, text in enumerate(names[:NODE_LINES_MAX]):
            lines.append(((head if number == 0 else " " * len(head), "strong"), (text, "base")))
        if len(names) > NODE_LINES_MAX:
            lines.append(((f"{'':<{len(head)}}and more: outstation rollout show", "dim"),))
    for group, members in _groups(told).items():
        lines += _labelled("apart", f"{', '.join(members)} stand in for each other ({group})", width)
    for node, why in told.logins.items():
        lines += _labelled("person", f"{node}: {why}", width)
    if report.left_out:
        lines.append(())
    for out in report.left_out:
        fix = f"; {out.fix}" if out.fix else ""
        lines += _labelled("left out", f"{out.name}: {out.reason}{fix}", width)
    return [*lines, (), ((" c ", "key"), ("carry it out    ", "base"), (" K ", "key"), ("give the plan up", "base"))]


def _pairs(told: Outline, width: int) -> list[Spans]:
    sent = "every node has it before the first is switched" if told.stage == "everywhere" else "sent wave by wave"
    gate = f"tried on {told.recorder_rows:,} records of each node, {percent(told.agreement_min)} agree"
    parts = (
        ("policy", told.policy or "no name"),
        *(("change", line) for line in change_lines(told)),
        ("sends", f"at most {figures.size(told.bytes_max)}, {figures.size(told.bundle_bytes)} a node; {sent}"),
        ("takes", f"at least {figures.countdown(told.least_s)}, without uploads; {told.concurrency} nodes at once"),
        *(("transfer", line) for line in transfer_lines(told)),
        ("trial", f"{figures.countdown(told.trial_window_s)}, confirmed after {figures.countdown(told.trial_soak_s)}; "
                  f"a wave is watched for {figures.countdown(told.wave_soak_s)}, then "
                  f"{'the next' if told.success == 'next' else 'a pause'}"),
        ("gate", gate if told.recorder_rows else "nothing is tried on the nodes' records"),
    )  # fmt: skip
    if told.shadow_s:
        parts = (*parts, ("shadow", f"fed live beside what runs for {figures.countdown(told.shadow_s)}, then judged"))
    return [line for label, text in parts for line in _labelled(label, text, width)]


def _labelled(label: str, text: str, width: int) -> list[Spans]:
    return [
        ((f" {label if number == 0 else '':<{LABEL_CELLS}}", "dim"), (line, "base"))
        for number, line in enumerate(wrap(text, width - LABEL_CELLS - 2))
    ]


def _groups(told: Outline) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node, group in told.groups.items():
        found.setdefault(group, []).append(node)
    return {group: members for group, members in found.items() if len(members) > 1}
