"""A deployment on one node as it goes: steps, trial with its countdown, figures against those before, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from console import figures
from console.delivery.gate import verdict_of
from console.fleet.board import NodeState
from console.screens.gatelines import gate_line, gate_lines
from console.screens.page import Page, bindings
from console.seat.messages import WorkChanged
from console.seat.operations import Step
from console.seat.work import Work
from nodeagent.protocol import BundleTelemetry, Deployment, DeploymentState, GateVerdict
from widgets.cells import wrap
from widgets.look import Look, Role, Spans
from widgets.textview import TextView
from widgets.titlerow import TitleRow
from widgets.trend import meter

_FIGURES: tuple[tuple[str, Callable[[BundleTelemetry], float | None]], ...] = (
    ("inferences/s", lambda b: b.inferences_per_s),
    ("p95 ms", lambda b: b.latency_ms_p95),
    ("rejects/s", lambda b: b.rejects_per_s),
    ("errors", lambda b: float(b.errors_total)),
    ("good %", lambda b: None if b.quality_good_share is None else 100 * b.quality_good_share),
    ("restarts", lambda b: float(b.restarts_total)),
)

FINAL = frozenset({DeploymentState.COMMITTED, DeploymentState.ROLLED_BACK, DeploymentState.REFUSED})


class WatchPage(Page):
    """Leaving it never stops the work."""

    kind = "watch"
    name_shown = "Deploy"
    BINDINGS: ClassVar[list[BindingType]] = bindings("watch")

    def __init__(self, look: Look, node: str) -> None:
        super().__init__(look)
        self.about = node
        self.title_row = TitleRow(look)
        self.text = TextView(look)
        self.ended: Deployment | None = None
        self.verdicts: dict[str, GateVerdict | None] = {}
        self._on_trial = ""
        self._asking = False

    def body(self) -> Iterable[Widget]:
        return (self.title_row, self.text)

    def opened(self) -> None:
        super().opened()
        self.text.focus()

    def node(self) -> str | None:
        return self.about

    def on_work_changed(self, message: WorkChanged) -> None:
        work = message.work
        if work.node != self.about:
            return
        if work.kind == "deployments" and not work.running:
            self._asking = False
            found = work.result if work.state == "done" else ()
            self.verdicts |= {one.id: verdict_of(one.preflight) for one in found}
            self.ended = next((one for one in found if one.id == self._on_trial and one.state in FINAL), self.ended)
        self.draw(None)

    def _ask_what_became(self) -> None:
        """Asks the node what became of the trial that this screen showed, until it is known."""
        if self._on_trial and self.ended is None:
            self._ask()

    def _ask_for(self, deployment: str) -> None:
        """Asks once what the recorder gate said of a trial, whoever began it."""
        if not self._asking:
            self.verdicts[deployment] = None
            self._ask()

    def _ask(self) -> None:
        if self._asking:
            return
        self._asking = True
        operations, node = self.seat.operations, self.about
        self.seat.begin("deployments", "deployments", node, lambda _: operations.deployments(node), quiet=True)

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw, None)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        state = self.board.nodes.get(self.about)
        work = self.seat.works.latest("deploy", self.about)
        title = f"  {work.title}" if work else "  deployment"
        self.title_row.set_values(((self.about, "strong"), (title, "base")))
        width = max(20, self.size.width)
        lines: list[Spans] = [()]
        if work is not None:
            lines += self._steps(work, width)
        for kind in ("confirm", "rollback", "extend"):
            other = self.seat.works.latest(kind, self.about)
            if other is not None and (other.running or other.state == "failed"):
                lines.append(((f" {other.title} {other.state}", "strong"), (f"  {other.error or ''}", "base")))
        if state is None or not state.known:
            reason = state.reason if state else "not in the fleet"
            lines += [(), ((f" {reason}", "unknown"),), ((" The node keeps its own time: unconfirmed, it goes back "
                       "by itself.", "base"),)]  # fmt: skip
        else:
            lines += self._trial(state, width)
        self.text.set_lines(lines)

    def _steps(self, work: Work, width: int) -> list[Spans]:
        if work.state == "done":
            return [*(((f" {line}", "dim"),) for line in wrap(_told(work), width - 2)[:2]), ()]
        lines: list[Spans] = []
        verdict = next((step.verdict for step in work.steps if step.verdict is not None), None)
        if verdict is not None and work.state == "failed":
            return [*(((f" {line}", "dim"),) for line in wrap(_told(work), width - 2)[:2]), (),
                    *gate_lines(verdict, width), (), *_stopped(), ()]  # fmt: skip
        for step in work.steps:
            if step.verdict is not None:
                lines.append(gate_line(step.verdict, width))
                continue
            running = work.running and step is work.steps[-1]
            lines.append(((f" {step.step:<11}", "strong" if running else "base"), *_progress(step, width, self.look)))
        if work.error is not None:
            lines += [((f" {line}", "alarm" if i == 0 else "base"),) for i, line in
                      enumerate(wrap(f"failed: {work.error}", width - 2))]  # fmt: skip
        elif work.state == "cancelled":
            lines.append(((" cancelled; the node keeps what it has", "warn"),))
        return [*lines, ()] if lines else []

    def _trial(self, state: NodeState, width: int) -> list[Spans]:
        bundle = next((b for b in state.bundles if b.trial is not None), None)
        if bundle is None or bundle.trial is None:
            running = ", ".join(f"{b.bundle} {b.version} r{b.revision}" for b in state.bundles) or "nothing"
            self._ask_what_became()
            said = outcome(self.ended, state)
            told: list[Spans] = [((f" {line}", "strong"),) for line in wrap(said, width - 2)] if said else []
            kept = None if self.ended is None else verdict_of(self.ended.preflight)
            told += gate_lines(kept, width) if kept is not None else []
            return [*told, ((" nothing is on trial.  active: ", "base"), (running, "strong"))]
        trial = bundle.trial
        self._on_trial, self.ended = trial.deployment, None
        age_s = state.view.age_s(self.board.now_s) or 0.0
        left_s = max(0.0, trial.seconds_left - (age_s if state.stale else 0.0))
        bar = meter(left_s / trial.window_s if trial.window_s else 0.0, max(10, width - 50), self.look)
        back = f"r{trial.previous_revision}" if trial.previous_revision else "no bundle"
        lines: list[Spans] = [
            ((f" TRIAL {figures.countdown(left_s)}", "strong"), (f" of {figures.countdown(trial.window_s)}  ", "base"),
             (bar, "dim")),
            ((f" {bundle.bundle} {bundle.version} r{bundle.revision}", "title"),
             (f"   without a confirm the node goes back to {back} by itself,", "base")),
            (("   when the time is over, when a guard trips, or when it reboots", "base"),),
            (),
        ]  # fmt: skip
        if trial.deployment not in self.verdicts:
            self._ask_for(trial.deployment)
        verdict = self.verdicts.get(trial.deployment)
        judged: list[Spans] = [(), *gate_lines(verdict, width)] if verdict is not None else []
        if verdict is not None:
            lines[-1] = gate_line(verdict, width)
        return [*lines, *self._figures(bundle, width), (), *_keys(), *judged]

    def _figures(self, bundle: BundleTelemetry, width: int) -> list[Spans]:
        before = self.seat.changes.before.get(self.about)
        if before is not None and before.bundle != bundle.bundle:
            before = None
        lines: list[Spans] = [((f" {'':<14}{'now':>10}{'before':>10}", "dim"),)]
        for name, value in _FIGURES:
            now, then = value(bundle), value(before) if before else None
            worse: Role = "base"
            lines.append(((f" {name:<14}", "base"), (f"{figures.number(now):>10}", "strong"),
                          (f"{figures.number(then) if before else figures.NONE:>10}", worse)))  # fmt: skip
        lines.append(((f" {'drift':<14}{bundle.drift:>10}", "base"),))
        return lines


def _stopped() -> list[Spans]:
    return [
        (
            (" nothing was switched    ", "strong"),
            (" P ", "key"),
            ("deploy it whatever the gate says, under your name", "base"),
        ),
    ]


def _told(work: Work) -> str:
    """The steps of finished work in one sentence; what was repeated is told once."""
    told: dict[str, str] = {}
    for step in work.steps:
        if step.verdict is None:
            told[step.step] = f" {figures.size(step.total_bytes)}" if step.total_bytes else ""
    return "done: " + ", ".join(f"{name}{size}" for name, size in told.items() if name != "trial")


def outcome(ended: Deployment | None, state: NodeState) -> str:
    """What became of the newest deployment of a node; empty while it is not known or not at an end."""
    if ended is None:
        return ""
    title = f"{ended.bundle} {ended.version}"
    if ended.state is DeploymentState.COMMITTED:
        confirmed = f" by {ended.ended_by}" if ended.ended_by else ""
        return f"{title} r{ended.revision} COMMITTED{confirmed}" + (
            f", deployed by {ended.actor}" if ended.actor else ""
        )
    why = [ended.reason.value] if ended.reason else []
    why += [ended.error.message] if ended.error else []
    if ended.state is DeploymentState.ROLLED_BACK:
        return ": ".join([f"{title} went back to {_previous(ended, state)}", *why])
    if ended.state is DeploymentState.REFUSED:
        return ": ".join([f"{title} was refused", *why])
    return ""


def _previous(ended: Deployment, state: NodeState) -> str:
    """What runs again, with its version when the node still runs it."""
    if ended.previous_revision is None:
        return "no bundle"
    for bundle in state.bundles:
        if bundle.bundle == ended.bundle and bundle.revision == ended.previous_revision:
            return f"{bundle.bundle} {bundle.version} r{bundle.revision}"
    return f"r{ended.previous_revision}"


def _progress(step: Step, width: int, look: Look) -> Spans:
    if not step.total_bytes:
        return ((step.text, "base"),)
    bar = meter(step.done_bytes / step.total_bytes, max(8, min(30, width - 58)), look)
    figures_of = f"  {figures.size(step.done_bytes)} of {figures.size(step.total_bytes)}"
    rate = f"  {figures.size(step.rate)}/s" if step.rate else ""
    left = f"  {figures.countdown(step.eta_s)} left" if step.eta_s and step.done_bytes < step.total_bytes else ""
    return ((bar, "dim"), (f"{figures_of}{rate}{left}", "base"))


def _keys() -> list[Spans]:
    return [
        ((" C ", "key"), ("keep it for good    ", "base"), (" r ", "key"), ("roll back now", "base")),
        (
            (" e ", "key"),
            ("the whole window    ", "base"),
            (" esc ", "key"),
            ("leave; the node goes on by itself", "base"),
        ),
    ]
