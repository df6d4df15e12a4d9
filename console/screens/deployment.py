"""One deployment of a node, whole: how it ended and why, who had a hand in it, and what the gate said of it."""

from __future__ import annotations

from typing import Any, Final

from console import figures
from console.delivery.gate import shadow_of, verdict_of
from console.screens.gatelines import gate_lines
from console.screens.view import View
from nodeagent.protocol import Deployment, DeploymentState
from widgets.cells import wrap
from widgets.look import Look, Role, Spans

LABEL_CELLS: Final = 13
# A label, its text, how loud it is.
Fact = tuple[str, str, Role]
_ROLES: Final[dict[DeploymentState, Role]] = {
    DeploymentState.TRIAL: "strong",
    DeploymentState.ROLLED_BACK: "warn",
    DeploymentState.REFUSED: "warn",
}

_NO_GATE: Final[Spans] = ((" recorder gate: it was not asked", "dim"),)


def state_words(d: Deployment) -> str:
    """`COMMITTED by bob`, `ROLLED BACK UNCONFIRMED`, `trial 3:12`."""
    if d.state is DeploymentState.TRIAL and d.seconds_left is not None:
        return f"trial {figures.countdown(d.seconds_left)}"
    words = d.state.value.replace("_", " ") + (f" {d.reason.value}" if d.reason else "")
    return f"{words} by {d.ended_by}" if d.state is DeploymentState.COMMITTED and d.ended_by else words


def state_role(d: Deployment) -> Role:
    """How loud the state is."""
    return _ROLES.get(d.state, "base")


def deployment_lines(d: Deployment, width: int, offset_s: float | None = None) -> list[Spans]:
    """Everything that the node keeps of it, nothing cut."""
    lines: list[Spans] = [()]
    for label, text, role in _facts(d, offset_s):
        for i, line in enumerate(wrap(text, width - LABEL_CELLS - 1)):
            lines.append(((f" {label if i == 0 else ''}".ljust(LABEL_CELLS), "dim"), (line, role)))
    gate, shadow = verdict_of(d.preflight), shadow_of(d.preflight)
    lines += [(), *(gate_lines(gate, width, worst=len(gate.worst)) if gate else [_NO_GATE])]
    return [*lines, (), *gate_lines(shadow, width, title="shadow", worst=len(shadow.worst))] if shadow else lines


def _facts(d: Deployment, offset_s: float | None) -> list[Fact]:
    def at(us: int) -> str:
        return figures.day_and_time(us, offset_s) if us else figures.UNKNOWN

    found: list[Fact] = [
        ("bundle", f"{d.bundle} {d.version}", "strong"),
        ("state", state_words(d), state_role(d)),
        ("deployed by", f"{d.actor or figures.UNKNOWN}, {at(d.created_us)}", "base"),
        ("last change", f"{at(d.changed_us)}" + (f" by {d.ended_by}" if d.ended_by else ""), "base"),
    ]
    if d.error is not None:
        found.append(("why", d.error.message, "strong"))
        found.append(("code", f"{d.error.code}; look at: {d.error.owner}", "base"))
        found.append(("do", d.error.hint, "base"))
    return [fact for fact in [*found, *_traces(d)] if fact[1]]


def _traces(d: Deployment) -> list[Fact]:
    """What it left on the node."""
    before = f"r{d.previous_revision}" if d.previous_revision else "nothing"
    revision = f"r{d.revision}, before it {before}" if d.revision is not None else f"none was made; before it {before}"
    gap = "no switch was made" if d.switch_gap_ms is None else f"{d.switch_gap_ms:.1f} ms without an answer"
    plain = [(key, value) for key, value in sorted(d.preflight.items()) if isinstance(value, bool | int | float | str)]
    return [
        ("revision", revision, "base"),
        ("window", f"{figures.countdown(d.window_s)} to be confirmed in", "base"),
        ("reached", _REACHED[d.reachability], "base"),
        ("switch", gap, "base"),
        ("missing", f"{len(d.missing)} blobs: {', '.join(d.missing)}" if d.missing else "", "warn"),
        ("preflight", ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in plain), "base"),
        ("digest", d.digest, "dim"),
        ("id", d.id, "dim"),
    ]


_REACHED: Final = {
    "": "nobody has confirmed it",
    "proved": "proved: the confirm came by a login that is newer than the switch",
    "claimed": "claimed: the node could not see which login the confirm came by",
}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


class DeploymentView(View):
    """`enter` on a row of the Deployments tab."""

    def __init__(self, look: Look, node: str, deployment: Deployment, offset_s: float | None) -> None:
        super().__init__(look, f"Deployment of {node}, {deployment.bundle} {deployment.version}")
        self.deployment, self.offset_s = deployment, offset_s

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        self.set_lines(deployment_lines(self.deployment, max(40, self.size.width), self.offset_s))
