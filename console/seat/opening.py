"""What a seat is opened on. The screen is drawn first: the catalog, the links and all they import come after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from console.fleet.view import Fleet
from console.seat.choices import Choice
from console.seat.operations import Operations

Background = Callable[[], Awaitable[None]]


class OpeningFailed(Exception):
    """The console cannot begin. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The fleet, what can be asked of it, what keeps it up to date in the app's loop, and how all of it is closed.

    `keep` writes a choice of the person down for the next start: called in a thread, raises OperationFailed.
    `move` goes so many seconds through the time of what is opened, and says where it is then; None: it is now.
    `words` are said once, when the first screen is there.
    """

    fleet: Fleet
    operations: Operations
    background: tuple[Background, ...] = ()
    close: Callable[[], None] | None = None
    keep: Callable[[Choice, str], None] | None = None
    move: Callable[[float], str] | None = None
    words: str = ""


# Called once, in a thread, after the first paint. Raises OpeningFailed.
Opening = Callable[[], Opened]
