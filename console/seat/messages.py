"""What parts of the app tell each other. Work posts these; only screens touch what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.message import Message

from console.fleet.board import Board
from console.seat.work import Work

if TYPE_CHECKING:
    from widgets.logview import Entry
    from widgets.look import Role


class BoardChanged(Message):
    """The fleet was looked at anew. `changed` names the nodes to be drawn again."""

    def __init__(self, board: Board, changed: frozenset[str]) -> None:
        super().__init__()
        self.board, self.changed = board, changed


class WorkChanged(Message):
    """Work has begun, gone on or ended."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work


class LinesCame(Message):
    """Log lines of a node."""

    def __init__(self, node: str, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.node, self.entries = node, entries


class Said(Message):
    """Something to be read in the last row."""

    def __init__(self, text: str, role: Role = "strong") -> None:
        super().__init__()
        self.text, self.role = text, role
