"""What leaves one stage of a running pipeline, tag by tag: the value, its quality and reason, and the last sweeps."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.timer import Timer

from console import figures
from console.screens.page import bindings
from console.screens.view import View
from console.seat.operations import OperationFailed
from nodeagent.protocol import Tap
from widgets.look import Look, Role, Spans
from widgets.trend import spark

SWEEPS_KEPT: Final = 240
TAGS_MAX: Final = 512
PAINT_S: Final = 0.25
NAME_CELLS: Final = 22
TREND_CELLS: Final = 24
_WORDS: Final = ("good", "uncertain", "bad")
_ROLES: Final[tuple[Role, ...]] = ("dim", "warn", "alarm")


class TapView(View):
    """Painted at most four times a second. `p` holds the picture still; the sweeps go on and are not kept."""

    kind = "tap"
    BINDINGS: ClassVar[list[BindingType]] = bindings("tap")

    def __init__(self, look: Look, node: str, bundle: str, stage: str) -> None:
        super().__init__(
            look, f"{node}: {bundle}, behind {stage}", keys=(("p", "pause"), ("y", "yank"), ("esc", "back"))
        )
        self.about, self.bundle, self.stage = node, bundle, stage
        self.held = False
        self.count = 0
        self.last: Tap | None = None
        self.trends: dict[str, deque[float | None]] = {}
        self.note = "waiting for the next sweep"
        self._timer: Timer | None = None

    def opened(self) -> None:
        super().opened()
        self.run_worker(self._listen(), group="tap", exit_on_error=True)

    async def _listen(self) -> None:
        try:
            async with aclosing(self.seat.operations.tap(self.about, self.bundle, self.stage)) as found:
                async for tap in found:
                    self._take(tap)
            self.note = "the pipeline ended; esc goes back"
        except OperationFailed as failure:
            self.note = str(failure)
        self._flush()

    def _take(self, tap: Tap) -> None:
        self.count += 1
        if self.held:
            return
        self.last, self.note = tap, ""
        for name, value in list(zip(tap.names, tap.values, strict=False))[:TAGS_MAX]:
            self.trends.setdefault(name, deque(maxlen=SWEEPS_KEPT)).append(value)
        if self._timer is None:
            self._timer = self.set_timer(PAINT_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self.draw(None)

    def do_pause(self) -> None:
        """Of this view alone: the board behind it goes on."""
        self.held = not self.held
        self.draw(None)

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        state = "paused: p goes on" if self.held else self.note
        head: Spans = ((f" {self.count:,} sweeps", "dim"), (f"  {state}" if state else "", "strong"))
        lines: list[Spans] = [head]
        if self.last is not None:
            lines[0] = (*head, (f"  {figures.moment(self.last.wall_us)} by the node's clock", "dim"),
                        (f"  {self.last.context}" if self.last.context else "", "base"))  # fmt: skip
            lines += [self._line(at, self.last) for at in range(min(len(self.last.names), TAGS_MAX))]
            lines += [((f" {reason}", "warn"),) for reason in self.last.reasons]
        self.set_lines(lines)

    def _line(self, at: int, tap: Tap) -> Spans:
        name, value = tap.names[at], tap.values[at]
        quality = min(2, max(0, tap.quality[at]))
        number = figures.NONE if value is None else f"{value:.6g}"
        drawn = spark(list(self.trends.get(name, ()))[-TREND_CELLS:], TREND_CELLS, self.look)
        return (
            (f" {name[:NAME_CELLS]:<{NAME_CELLS}}", "base"),
            (f"{number:>13}  ", "strong"),
            (f"{_WORDS[quality]:<10}", _ROLES[quality]),
            (drawn, "dim"),
        )
