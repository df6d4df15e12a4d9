"""Rollouts as text: a plan, a report, and what changes while one is carried out. Pure, but for the printer's stream."""

from __future__ import annotations

import sys

from console import figures
from console.cli.tables import table
from console.client.clean import clean
from console.delivery.deploy import Progress
from console.delivery.gate import in_full, in_short, percent, shadow_line, shadow_lines
from console.rollout.causes import Cause
from console.rollout.gates import Verdict
from console.rollout.outline import Outline, change_lines, names_in_short, outline, transfer_lines
from console.rollout.plan import Plan
from console.rollout.report import NodeReport, Report, WaveReport, state_word
from console.rollout.standing import Standing

LIST_HEADERS = ("ROLLOUT", "STATE", "NODES", "STARTED BY", "PLANNED", "WHY")
FIGURES_SHOWN = 12


def plan_lines(id_: str, plan: Plan) -> list[str]:
    """A plan as it is read before it is started."""
    policy, bundle, told = plan.policy, plan.bundle, outline(plan)
    lines = [
        f"{id_}: {bundle.name} {bundle.version} to {len(plan.nodes)} nodes in {len(plan.waves)} waves",
        f"  bundle {bundle.digest[:19]}..., {figures.size(bundle.size_bytes)}; plan {plan.digest[:19]}...",
        f"  {'first to every node, then switched' if policy.stage == 'everywhere' else 'sent wave by wave'}; "
        f"at most {policy.waves.concurrency} at once; trial {policy.trial.window_s:g} s, confirmed after "
        f"{policy.trial.soak_s:g} s; a wave is watched for {policy.waves.soak_s:g} s",
        f"  at most {figures.size(told.bytes_max)} are sent, what a node holds is not; the waves need at least "
        f"{figures.countdown(told.least_s)}",
        *(f"  {line}" for line in transfer_lines(told)),
        f"  {recorder_words(told)}",
        *(f"  change {line}" for line in change_lines(told)),
        "",
    ]
    rows = [
        (str(wave.number), wave.name, str(len(wave.nodes)), str(wave.failures_max), names_in_short(wave.nodes))
        for wave in plan.waves
    ]
    lines += table(("WAVE", "NAME", "NODES", "STOPS AT", "WHICH"), rows)
    for group, names in _members(told).items():
        lines.append(f"never together: {', '.join(names)} ({group})")
    if plan.left_out:
        lines += ["", *table(("LEFT OUT", "WHY", "FIX"), [(o.name, o.reason, o.fix) for o in plan.left_out])]
    if plan.logins:
        lines += ["", *(f"a person is needed at {node.name}: {node.person}" for node in plan.logins)]
    return [*lines, "", f"carry it out: outstation rollout start {id_}"]


def recorder_words(told: Outline) -> str:
    """What the recorder gate asks of each node's candidate."""
    beside = f"; each runs as a shadow for {figures.countdown(told.shadow_s)} first" if told.shadow_s else ""
    if not told.recorder_rows:
        return f"nothing is tried on the nodes' records{beside}"
    rows = f"each candidate is tried on {told.recorder_rows:,} records of its node"
    return f"{rows}: {percent(told.agreement_min)} agree{beside}"


def _members(told: Outline) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node, group in told.groups.items():
        found.setdefault(group, []).append(node)
    return {group: names for group, names in found.items() if len(names) > 1}


def report_lines(found: Report) -> list[str]:
    """A rollout as it stands."""
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items())
    lines = [f"{found.id}: {headline(found)}", f"  {found.bundle} {found.version}; {counts}"]
    for wave in found.waves:
        lines += ["", *_wave_lines(wave)]
    for cause in found.causes:
        lines += ["", *_cause_lines(cause)]
    if found.left_out:
        lines += ["", f"left out: {'; '.join(f'{out.name} ({out.reason})' for out in found.left_out)}"]
    if found.state not in ("done", "aborted") or found.want:
        lines += ["", f"go on: outstation rollout resume {found.id}"]
    return lines


def headline(found: Report) -> str:
    """The state in capitals where it is not yet, or never, what was wanted."""
    state = found.state if found.success or found.state in ("running", "planned") else found.state.upper()
    wants = {"pause": ", pausing", "keep": ", being aborted", "revert": ", being reverted"}
    nobody = ", BUT NO CONSOLE CARRIES IT OUT" if found.orphan else ""
    return f"{state}{nobody}{wants.get(found.want, '')}" + (f": {found.why}" if found.why else "")


def _wave_lines(wave: WaveReport) -> list[str]:
    by = f", accepted by {wave.accepted_by}" if wave.accepted_by else ""
    lines = [f"wave {wave.number} ({wave.name}): {wave.state}{by}"]
    if wave.verdict is not None:
        lines += [f"  gate: {line}" for line in verdict_lines(wave.verdict)]
    lines += [f"    {line}" for line in table(("NODE", "STATE", "TRY", ""), [_node_row(n) for n in wave.nodes])]
    for node in wave.nodes:
        lines += [f"    {line}" for line in recorder_lines(node)]
    return lines


def recorder_lines(node: NodeReport) -> list[str]:
    """What recorder gate and shadow of a node said: in full where that stopped the switch, otherwise in one line."""
    lines: list[str] = []
    if node.gate is not None:
        told = in_full(node.gate) if node.gate.verdict == "failed" else [in_short(node.gate)]
        lines += [f"{node.node}: recorder {told[0]}", *told[1:]]
    if node.shadow is not None:
        first, *rest = shadow_lines(node.shadow) if node.shadow.verdict != "passed" else [shadow_line(node.shadow)]
        lines += [f"{node.node}: {first}", *rest]
    return lines


def _node_row(node: NodeReport) -> tuple[str, ...]:
    text = node.detail
    if node.state == "trial":
        text = f"goes back by itself in {figures.countdown(node.trial_left_s)}"
    return node.node, node.state, str(node.attempt), text


def verdict_lines(verdict: Verdict) -> list[str]:
    """The verdict, its reasons, and the figures it was made of."""
    left = f", {figures.countdown(verdict.soak_left_s)} left" if verdict.says == "wait" and verdict.soak_left_s else ""
    counts = f"{verdict.ok} ok, {verdict.failed} failed (stops at {verdict.failures_max}), {verdict.other} other"
    lines = [f"{verdict.says}; {counts}{left}", *verdict.reasons]
    rows = [
        (figure.node, figure.name, figures.number(figure.before) if figure.before is not None else figures.NONE,
         figures.number(figure.now), figure.limit, figure.says)
        for figure in verdict.figures[:FIGURES_SHOWN]
    ]  # fmt: skip
    if rows:
        lines += table(("NODE", "FIGURE", "BEFORE", "NOW", "LIMIT", ""), rows, right=frozenset({2, 3}))
    if len(verdict.figures) > FIGURES_SHOWN:
        lines.append(f"and {len(verdict.figures) - FIGURES_SHOWN} more figures: --json shows all")
    return lines


def _cause_lines(cause: Cause) -> list[str]:
    lines = [f"{len(cause.nodes)} x {cause.cause}: {names_in_short(cause.nodes)}"]
    lines += [f"  {cause.detail}"] if cause.detail else []
    return lines + ([f"  next: {cause.action}"] if cause.action else [])


def list_row(found: Report) -> tuple[str, ...]:
    """One line of the list."""
    ok = found.counts.get("ok", 0)
    total = sum(found.counts.values())
    at = figures.day_and_time(int(found.created_wall_s * 1e6))
    return found.id, headline(found).partition(":")[0], f"{ok} of {total}", found.operator, at, found.why


class Printer:
    """On standard error: a line for every node and wave that goes to another state."""

    def __init__(self, id_: str, *, quiet: bool) -> None:
        self._quiet = quiet
        self._nodes: dict[str, str] = {}
        self._waves: dict[int, str] = {}
        self._say(f"{id_}: go on after an interruption with: outstation rollout resume {id_}")

    def progress(self, progress: Progress) -> None:
        """Uploads are told when they begin and end."""
        if progress.step == "upload" and progress.total_bytes and progress.done_bytes >= progress.total_bytes:
            self._say(f"  {progress.node}: {figures.size(progress.total_bytes)} sent")

    def standing(self, now: Standing) -> None:
        """What is another than it was."""
        for wave in now.waves:
            if self._waves.setdefault(wave.number, "waiting") != wave.state:
                self._waves[wave.number] = wave.state
                self._say(f"wave {wave.number} ({now.plan.waves[wave.number - 1].name}): {wave.state}")
        for target in now.targets:
            word = state_word(target)
            if self._nodes.setdefault(target.node, "waiting") != word:
                self._nodes[target.node] = word
                self._say(f"  {target.node}: {word}" + (f": {target.detail}" if target.detail else ""))

    def _say(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(clean(text, 1_000) + "\n")
            sys.stderr.flush()
