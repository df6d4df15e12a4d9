"""What every screen has: the two fixed rows, the key row, commands from the table, and the newest board."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from console.fleet.board import Board
from console.seat import commands
from console.seat.messages import BoardChanged, Said, WorkChanged
from console.seat.operations import OperationFailed
from console.seat.sheet import Sheet
from widgets.alertrow import AlertRow
from widgets.drawing import Drawing
from widgets.header import HeaderRow
from widgets.keyrow import KeyRow
from widgets.look import Look, Role

if TYPE_CHECKING:
    from console.seat.seat import Seat

MONITOR_TEXT = "MONITOR: nothing on a line can be changed here. Press o for OPERATE."


def bindings(screen: commands.Screen) -> list[BindingType]:
    """The key bindings of a screen, from the table of commands."""
    return [Binding(c.keys, f"command('{c.name}')", c.word, show=False) for c in commands.on(screen) if c.keys]


class Page(Screen[object]):
    """One screen. Subclasses give `kind`, `name_shown`, `body()` and `do_<command>` methods."""

    kind: ClassVar[commands.Screen] = "fleet"
    name_shown: ClassVar[str] = ""
    ALLOW_SELECT = False
    AUTO_FOCUS = ""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look
        self.header_row = HeaderRow(look)
        self.alert_row = AlertRow(look)
        self.key_row = KeyRow(look)
        self.key_row.set_keys(commands.footer(self.kind))

    @property
    def seat(self) -> Seat:
        """The app this screen is in."""
        return cast("Seat", self.app)

    @property
    def board(self) -> Board:
        """The newest board, or the one at which the picture was paused."""
        return self.seat.board

    def compose(self) -> ComposeResult:
        yield self.header_row
        yield self.alert_row
        yield from self.body()
        yield self.key_row

    def body(self) -> Iterable[Widget]:
        """What is between the fixed rows and the key row."""
        return ()

    # ------------------------------------------------------------ what is drawn

    def on_mount(self) -> None:
        """Textual calls the handlers of every base class by itself: subclasses extend `opened` instead."""
        if self.seat.keymap.own:
            self._use_own_keys()
        self.draw(None)
        self.opened()

    def _use_own_keys(self) -> None:
        """The person's keys instead of the usual ones, here and in the last row."""
        keymap, usual = self.seat.keymap, {c.name: c for c in commands.on(self.kind)}
        own = [c for c in keymap.on(self.kind) if c.name in keymap.own]
        for command in own:
            for key in filter(None, usual[command.name].keys.split(",")):
                self._bindings.key_to_bindings.pop(key, None)
        for command in own:
            if command.keys:
                self._bindings.bind(command.keys, f"command('{command.name}')", command.word, show=False)
        if self.key_row.keys == commands.footer(self.kind):
            self.key_row.set_keys(keymap.footer(self.kind))

    def opened(self) -> None:
        """Called once, when the screen is there; extend it."""

    def on_screen_resume(self) -> None:
        """Back on top: whatever happened meanwhile is drawn."""
        if self.look is not self.seat.look:
            self.set_look(self.seat.look)
        self.draw(None)

    def draw(self, changed: frozenset[str] | None) -> None:
        """Draws the board; `changed` names the nodes that are to be drawn again, None: all."""
        self.header_row.set_values(self.seat.header_values(self.name_shown))
        self.alert_row.set_values(self.seat.alert_values())

    def set_look(self, look: Look) -> None:
        """Draws in another look from now on."""
        self.look = look
        for drawing in self.query(Drawing):
            drawing.set_look(look)

    def say(self, text: str, role: Role = "strong") -> None:
        """Shows a message in the last row until the next key."""
        self.key_row.say(text, role)

    def on_board_changed(self, message: BoardChanged) -> None:
        self.draw(message.changed)

    def on_work_changed(self, message: WorkChanged) -> None:
        self.header_row.set_values(self.seat.header_values(self.name_shown))

    def on_said(self, message: Said) -> None:
        self.say(message.text, message.role)

    # ------------------------------------------------------------ keys

    def on_key(self, event: events.Key) -> None:
        self.seat.touch()
        self.key_row.say("")

    def on_descendant_focus(self) -> None:
        self.seat.call_after_refresh(self.seat.place_cursor)

    def on_click(self, event: events.Click) -> None:
        self.seat.touch()

    async def action_command(self, name: str) -> None:
        """Runs a command by name: the screen's own method, or the seat's."""
        command = commands.named(name)
        self.seat.touch()
        self.key_row.say("")
        if command.operate and not self.seat.operating:
            self.say(MONITOR_TEXT, "warn")
            return
        try:
            answer = self.handler(name)()
            if inspect.isawaitable(answer):
                await answer
        except OperationFailed as failure:  # Such as: the console is still being opened.
            self.say(str(failure), "warn")

    def handler(self, name: str) -> Callable[[], object]:
        """Who does a command: this screen, or else the seat and its helpers. Raises LookupError for nobody."""
        for doer in (self, self.seat, self.seat.way, self.seat.changes, self.seat.chores):
            found: Callable[[], object] | None = getattr(doer, f"do_{name}", None)
            if found is not None:
                return found
        raise LookupError(name)

    def node(self) -> str | None:
        """The node that a command is about; None where there is none."""
        return None

    def yank_text(self) -> str:
        """What `y` copies: what the cursor is on; where there is none, all of the screen."""
        return self.seat.screen_text()

    def sheet(self) -> Sheet | None:
        """What `ctrl-e` writes: the whole view. Called in a thread. None: the text that is on the screen."""
        return None

    def do_back(self) -> None:
        self.seat.way.do_history_back()
