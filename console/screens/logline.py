"""One line of a log, whole: wrapped, and in parts where it is JSON."""

from __future__ import annotations

import json
from typing import Final

from console.screens.view import View
from widgets.cells import wrap
from widgets.logview import Entry
from widgets.look import Look, Spans

JSON_CHARS_MAX: Final = 100_000
LINES_MAX: Final = 2_000


class LogLineView(View):
    """The line that the cursor was on."""

    def __init__(self, look: Look, entry: Entry) -> None:
        super().__init__(look, f"{entry.at} {entry.node}")
        self.entry = entry

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        e = self.entry
        facts: list[Spans] = [((f" {name:<8}", "dim"), (text, "base"))
                              for name, text in (("level", e.level), ("source", e.source)) if text]  # fmt: skip
        lines = [line for text in _parts(e.text) for line in wrap(text, max(20, self.size.width - 2))]
        more: list[Spans] = (
            [((f" and {len(lines) - LINES_MAX:,} lines more", "dim"),)] if len(lines) > LINES_MAX else []
        )
        self.set_lines([*facts, (), *(((f" {line}", "base"),) for line in lines[:LINES_MAX]), *more])

    def yank_text(self) -> str:
        return self.entry.plain()


def _parts(text: str) -> list[str]:
    """The text, and what is JSON in it (from its first brace) one field a line."""
    begin = text.find("{")
    if begin < 0 or len(text) > JSON_CHARS_MAX:
        return [text]
    try:
        found = json.loads(text[begin:])
    except (ValueError, RecursionError):
        return [text]
    before = text[:begin].rstrip()
    return [*([before] if before else []), *json.dumps(found, indent=2, ensure_ascii=False).splitlines()]
