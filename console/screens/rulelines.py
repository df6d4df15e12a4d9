"""A node's alert rules as lines: what is looked at, its limits and delays, where it is from, what is kept quiet."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Final

from console import figures
from nodeagent.protocol import Alert, AlertRule, AlertRules
from widgets.look import Look, Role, Span, Spans

CODE_CELLS: Final = 24
TEXT_CELLS_MIN: Final = 20
INDENT: Final = 6


def rule_lines(rules: AlertRules | None, standing: Iterable[Alert], node: str, width: int, look: Look) -> list[Spans]:
    """What counts first stands first. `standing`: the node's alerts now, to say of a rule what it has raised."""
    if rules is None:
        return [((" The node is being asked.", "dim"),)]
    if not rules.in_force:
        return [
            (
                (
                    f" The agent there is older and does not tell its rules one by one: outstation alert rules {node}",
                    "dim",
                ),
            )
        ]
    raised: dict[str, list[Alert]] = {}
    for alert in standing:
        raised.setdefault(alert.code, []).append(alert)
    own = sum(rule.origin == "operator" for rule in rules.in_force)
    head = f" {figures.counted(len(rules.in_force), 'rule')} in force, {own} set here"
    lines: list[Spans] = [
        ((head, "strong"), ("   A asks again", "dim")),
        ((f" other ones: outstation alert rules {node} --set FILE", "dim"),),
        (),
    ]
    room = max(TEXT_CELLS_MIN, width - INDENT - 1)
    for rule in rules.in_force:
        lines += _lines_of(rule, raised.get(rule.code, []), room, look)
    return lines


def _lines_of(rule: AlertRule, raised: list[Alert], room: int, look: Look) -> list[Spans]:
    sign, role = _sign(rule, raised, look)
    about = f" of {rule.only}" if rule.only else ""
    origin = rule.origin if rule.origin in ("operator", "default") else f"bundle {rule.origin}"
    delays = f"on {rule.on_delay_s:g} s  off {rule.off_delay_s:g} s"
    head: tuple[Span, ...] = (
        (f" {sign} ", role),
        (f"{rule.code:{CODE_CELLS}} ", "strong" if rule.enabled else "dim"),
        (f"priority {rule.priority}  {origin:<10}  {delays}{about}", "dim"),
    )
    words = textwrap.wrap(rule.says or rule.figure, room)
    told: list[Spans] = [((" " * INDENT + line, "base"),) for line in words] if rule.enabled else []
    found: list[Spans] = [head, *told]
    if not rule.enabled:
        found.append(((" " * INDENT + "switched off", "dim"),))
    for alert in raised:
        found += [((" " * INDENT + line, "warn"),) for line in textwrap.wrap(_raised(alert), room)]
    return found


def _sign(rule: AlertRule, raised: list[Alert], look: Look) -> tuple[str, Role]:
    if raised:
        return ("!" if look.ascii else "▲"), "warn"
    return ("." if look.ascii else "·"), "dim"


def _raised(alert: Alert) -> str:
    if alert.shelved_s_left:
        left = figures.countdown(alert.shelved_s_left)
        return f"stands now, shelved by {alert.shelved_by} for {left} more: {alert.note}"
    return f"stands now: {alert.message}"
