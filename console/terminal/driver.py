"""The terminal driver: every byte passes the last-hop filter, a slow terminal is noticed, a lost one never blocks."""

from __future__ import annotations

import base64
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from console.terminal.output import ThinScreen, filter_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.screen import Screen
    from textual.timer import Timer

    from console.terminal.cast import Recording

SYNC_START, SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
RETRY_S = 0.1
CLOSE_S = 2.0
CLIPBOARD_BYTES_MAX = 74_994


class Unrecorded(str):
    """Text for the terminal that no recording may hold: what was asked as a secret, what was copied."""

    __slots__ = ()


class Resized(Unrecorded):
    """Nothing to write: from here on the screen has the size that the text says."""

    __slots__ = ()


class WatchedFile:
    """The terminal as a file that knows whether it is in the middle of writing, and whether it is gone."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.writing = False
        self.lost = False
        self.recording: Recording | None = None

    def write(self, text: str) -> int:
        self.writing = True
        if isinstance(text, Resized):
            width, height = text.split("x")
            if self.recording is not None:
                self.recording.resized(int(width), int(height))
            return 0
        self._do(lambda: self._file.write(text))
        if self.recording is not None and not isinstance(text, Unrecorded):
            self.recording.sent(text)
        return len(text)

    def flush(self) -> None:
        self._do(self._file.flush)
        self.writing = False

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def _do(self, action: Callable[[], object]) -> None:
        """A terminal that is gone takes everything and keeps nothing; the watch ends the program."""
        if self.lost:
            return
        try:
            action()
        except OSError:
            self.lost = True


class ConsoleDriver(LinuxDriver):
    """Textual's driver with our filter before the file."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        assert sys.__stderr__ is not None
        self.watched = WatchedFile(sys.__stderr__)
        self.private = False
        self._file = self.watched  # type: ignore[assignment]

    @property
    def busy(self) -> bool:
        """Whether the terminal has not taken yet what was written before."""
        writer = self._writer_thread
        return self.watched.writing or (writer is not None and writer._queue.qsize() > 0)

    def write(self, data: str) -> None:
        text = filter_bytes(data)
        super().write(Unrecorded(text) if self.private else text)

    def resized(self, width: int, height: int) -> None:
        """Tells a recording the size of what is written from here on."""
        super().write(Resized(f"{width}x{height}"))

    def write_clipboard(self, text: str) -> None:
        """Puts text on the clipboard of the person's own machine (OSC 52), through SSH too."""
        encoded = base64.b64encode(text.encode()[:CLIPBOARD_BYTES_MAX]).decode()
        super().write(Unrecorded(f"\x1b]52;c;{encoded}\x07"))

    def close(self) -> None:
        """Ends the writer; a terminal that takes nothing any more is left alone after CLOSE_S."""
        closing = threading.Thread(target=super().close, daemon=True)
        closing.start()
        closing.join(CLOSE_S)


class ThinApp(App[int]):
    """An app that sends only changed cells through ConsoleDriver, and repaints all of them when asked."""

    def __init__(self, *, ascii: bool = False, thin: bool = True) -> None:  # noqa: A002
        super().__init__(driver_class=ConsoleDriver)
        # Written to by the thread that writes to the terminal, from the first frame on.
        self.recording: Recording | None = None
        self._recorded_size = (0, 0)
        self.thin = ThinScreen(self.console._color_system, ascii=ascii) if thin else None
        self._retry: Timer | None = None
        # Where the terminal's own cursor is; None: hidden; (): not known.
        self._cursor_sent: tuple[int, int] | tuple[()] | None = None

    def cursor_cell(self) -> tuple[int, int] | None:
        """Where the terminal's own cursor is to stand, for screen readers and braille lines; None: hidden."""
        return None

    def place_cursor(self) -> None:
        """What is selected may be elsewhere, although nothing was drawn."""
        if self._retry is None:
            self._send()

    def forget_screen(self) -> None:
        """What the terminal shows is not known any more: all is sent again."""
        if self.thin is not None:
            self._cursor_sent = ()
            self.thin.forget()
            self._send()

    def set_private(self, private: bool) -> None:
        """Whether what is shown from now on is kept out of a recording; afterwards it gets the whole screen again."""
        if not isinstance(self._driver, ConsoleDriver) or self._driver.private == private:
            return
        self._driver.private = private
        if not private and self.recording is not None:
            self.forget_screen()

    def copy_to_clipboard(self, text: str) -> None:
        self._clipboard = text
        if isinstance(self._driver, ConsoleDriver):
            self._driver.write_clipboard(text)

    def bell(self) -> None:
        """No sound: an alarm is on the screen, and the plant has its own annunciators."""

    def _set_pointer_shape(self, shape: str) -> None:
        """The pointer stays as the terminal has it: its sequence is not one of ours."""

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        updates = isinstance(renderable, ChopsUpdate | LayoutUpdate)
        if updates and isinstance(self._driver, ConsoleDriver):
            self._tell_size(self._driver)
        if self.thin is None or not updates or not isinstance(self._driver, ConsoleDriver) or self._driver.is_inline:
            super()._display(screen, renderable)
            return
        assert isinstance(renderable, ChopsUpdate | LayoutUpdate)
        try:
            if self._batch_count or not self._running or self._closed:
                return
            self.thin.resize(*self.size)
            self.thin.apply(renderable)
            if self._retry is None:
                self._send()
        finally:
            self.post_display_hook()

    def _tell_size(self, driver: ConsoleDriver) -> None:
        """The recording hears of a new size before the first frame of that size."""
        if self.recording is not None and self._recorded_size != tuple(self.size):
            self._recorded_size = (self.size.width, self.size.height)
            driver.watched.recording = self.recording
            driver.resized(*self._recorded_size)

    def _send(self) -> None:
        """Sends the newest frame, or looks again in a while if the terminal is behind."""
        self._retry = None
        driver = self._driver
        if self.thin is None or not isinstance(driver, ConsoleDriver) or self._closed:
            return
        if not self.thin.pending and self._cursor_sent in ((), self.cursor_cell()):
            return
        if driver.busy:
            self.thin.merged_total += 1
            self._retry = self.set_timer(RETRY_S, self._send)
            return
        data = self.thin.emit() + self._cursor_moved()
        if data:
            driver.write(f"{SYNC_START}{data}{SYNC_END}" if self._sync_available else data)
            driver.flush()

    def _cursor_moved(self) -> str:
        """Puts the terminal's cursor, which stands behind what was drawn last, on what is selected."""
        cell, before = self.cursor_cell(), self._cursor_sent
        self._cursor_sent = cell
        if cell is None:
            return "" if before is None else "\x1b[?25l"
        return f"\x1b[{cell[1] + 1};{cell[0] + 1}H" + ("" if before else "\x1b[?25h")


def leave_at_once(code: int) -> None:
    """Ends the process without touching a terminal that is gone; nodes and the catalog stand a killed console."""
    os._exit(code)
