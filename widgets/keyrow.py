"""The last row: the keys of this screen, or what just happened until the next key is pressed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

from widgets.cells import pad, spans_width, wrap
from widgets.drawing import Drawing
from widgets.look import Look, Role, Span, Spans

MESSAGE_LINES_MAX = 4


class KeyRow(Drawing):
    """Keys as `d deploy`; as many as fit, and the last one always: it tells how to find the others."""

    def __init__(self, look: Look | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(look, id=id)
        self.keys: tuple[tuple[str, str], ...] = ()
        self.message = ""
        self.role: Role = "base"

    def set_keys(self, keys: tuple[tuple[str, str], ...]) -> None:
        """Shows these keys."""
        if keys != self.keys:
            self.keys = keys
            self.refresh()

    def say(self, text: str, role: Role = "strong") -> None:
        """Shows a message over the keys, in up to four lines; an empty one brings the keys back."""
        if (text, role) == (self.message, self.role):
            return
        self.message, self.role = text, role
        self._fit()
        self.refresh()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """As high as the message needs at this width."""
        self.styles.height = max(1, len(self._wrapped(self.size.width))) if self.size.width else 1

    def _wrapped(self, width: int) -> list[str]:
        if not self.message:
            return []
        lines = wrap(self.message, width - 2)
        if len(lines) > MESSAGE_LINES_MAX:
            lines = [*lines[: MESSAGE_LINES_MAX - 1], pad(" ".join(lines[MESSAGE_LINES_MAX - 1 :]), width - 2)]
        return lines

    def ground(self, y: int) -> Style | None:
        return self.look.bar

    def line(self, y: int, width: int) -> Sequence[Span]:
        if self.message:
            lines = self._wrapped(width)
            return ((" ", "base"), (lines[y], self.role)) if y < len(lines) else ()
        parts: list[Spans] = [((key, "key"), (f" {name}", "base")) for key, name in self.keys]
        sizes = [spans_width(part) + 2 for part in parts]
        chosen = list(range(len(parts)))
        while len(chosen) > 1 and sum(sizes[i] for i in chosen) - 1 > width - 1:
            chosen.pop(-2)
        out: list[Span] = [(" ", "base")]
        for i in chosen:
            out += [*parts[i], ("  ", "base")]
        return out[:-1]
