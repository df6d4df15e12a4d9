"""Log lines of nodes as they come: fetched once, then followed, painted at most four times a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from textual.timer import Timer

from console import figures
from console.client.clean import clean
from console.client.wire import AgentError
from console.link.errors import LinkError
from console.seat.messages import LinesCame
from console.seat.operations import OperationFailed
from nodeagent.protocol import LogLine
from widgets.logview import Entry

if TYPE_CHECKING:
    from console.screens.page import Page

PAINT_S: Final = 0.25
FIRST_PAINT_S: Final = 0.02
FIRST_LINES: Final = 500


class Following:
    """The streams of one screen. They end with it; a dead one says so in line."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._waiting: dict[str, list[Entry]] = {}
        self._followed: set[str] = set()
        self._silent: set[str] = set()
        self._timer: Timer | None = None
        self._painted = False

    @property
    def nodes(self) -> frozenset[str]:
        """Which nodes are followed."""
        return frozenset(self._followed)

    def start(self, nodes: Mapping[str, float | None]) -> None:
        """Follows these nodes too; the value is how far the node's clock is ahead, in seconds."""
        for node, offset_s in nodes.items():
            if node not in self._followed:
                self._followed.add(node)
                self._page.run_worker(self._follow(node, offset_s), group="follow", exit_on_error=True)

    async def _follow(self, node: str, offset_s: float | None) -> None:
        seat = self._page.seat
        after: int | None = None
        try:
            first = await seat.operations.logs(node, after=None, limit=FIRST_LINES)
        except OperationFailed as failure:
            self._note(node, str(failure))
        else:
            after = first.next
            if first.lost:
                self._note(node, f"{first.lost:,} older lines were dropped by the node's cap")
            self._add(node, [_entry(node, line, offset_s) for line in first.lines])
        try:
            async for line in seat.fleet.follow_logs(node, after):
                self._add(node, [_entry(node, line, offset_s)])
        except (AgentError, LinkError) as error:
            self._followed.discard(node)
            self._note(node, f"the stream ended: {clean(str(error))}")

    def tell_gap(self, node: str, known: bool, reason: str) -> None:
        """Says in line that a followed node is silent, and that it is back."""
        if node not in self._followed or known == (node not in self._silent):
            return
        if known:
            self._silent.discard(node)
            self._note(node, "answers again; lines resume where they stopped")
        else:
            self._silent.add(node)
            self._note(node, f"no lines from here on: {reason}")

    def _note(self, node: str, text: str) -> None:
        wall_s = self._page.seat.clock.epoch_s()
        self._add(node, [Entry(figures.moment(int(wall_s * 1e6)), node, "note", "", text, wall_s)])

    def _add(self, node: str, entries: list[Entry]) -> None:
        self._waiting.setdefault(node, []).extend(entries)
        if self._timer is None:
            self._timer = self._page.set_timer(PAINT_S if self._painted else FIRST_PAINT_S, self._flush)

    def _flush(self) -> None:
        self._timer, self._painted = None, True
        merged = sorted((e for entries in self._waiting.values() for e in entries), key=lambda e: e.wall_s)
        self._waiting = {}
        self._page.post_message(LinesCame("", merged))


def _entry(node: str, line: LogLine, offset_s: float | None) -> Entry:
    at, wall_s = figures.moment(line.wall_us, offset_s), line.wall_us / 1e6 - (offset_s or 0.0)
    return Entry(at, node, line.level, line.source, line.text, wall_s)
