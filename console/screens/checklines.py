"""A node's checks as lines: worst first, a sign, a name, what was found, and under it what to do about it."""

from __future__ import annotations

import textwrap
from typing import Final

from console.fleet.checks import ASCII_SIGNS, SIGNS, Checked, summary, worst_first
from widgets.look import Look, Role, Span, Spans

ROLES: Final[dict[str, Role]] = {"bad": "alarm", "warn": "warn", "unknown": "unknown", "ok": "dim"}
NAME_CELLS: Final = 16
TEXT_CELLS_MIN: Final = 20


def check_lines(checked: Checked | None, why: str, width: int, look: Look) -> list[Spans]:
    """`why` is shown where nothing was asked yet or the node did not answer."""
    if checked is None:
        return [((f" {why}", "dim"),)]
    signs = ASCII_SIGNS if look.ascii else SIGNS
    lines: list[Spans] = [((f" {summary(checked.checks)}", "strong"), ("   c asks again", "dim")), ()]
    indent = NAME_CELLS + 4
    room = max(TEXT_CELLS_MIN, width - indent - 1)
    for check in worst_first(checked.checks):
        role = ROLES[check.verdict]
        head: tuple[Span, ...] = ((f" {signs[check.verdict]} ", role), (f"{check.name:{NAME_CELLS}} ", "strong"))
        first, *rest = textwrap.wrap(check.text, room) or [""]
        lines.append((*head, (first, "dim" if check.verdict == "ok" else "base")))
        lines += [((" " * indent + line, "base"),) for line in rest]
        if check.advice and check.verdict != "ok":
            lines += [((" " * indent + line, "dim"),) for line in textwrap.wrap(f"> {check.advice}", room)]
    return lines
