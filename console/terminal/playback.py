"""`outstation --replay FILE`: shows again what a screen was sent, with speed and seeking, on a terminal of any size.

What the file holds is not sent on: it is drawn on a grid in memory, and the grid's own lines are what reaches the
terminal.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
import termios
import time
import tty
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from console.terminal.cast import SIZE_MAX, Cast, CastRefused, read
from console.terminal.grid import Grid
from console.times import span_s

STEP_S: Final = 10.0
FAR_S: Final = 60.0
SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
FRAME_S: Final = 0.05
_CURSOR_KEYS: Final = {"\x1b[D": "back", "\x1b[C": "on", "\x1b[5~": "far back", "\x1b[6~": "far on", "\x1b[H": "begin"}
_KEYS: Final = {" ": "pause", "p": "pause", "h": "back", "l": "on", "+": "faster", "=": "faster", "-": "slower",
                "g": "begin", "q": "quit", "\x03": "quit", "\x1b": "quit", "n": "mark"}  # fmt: skip


@dataclass
class Tape:
    """A recording and a place in it. Going back begins anew; going on feeds what is between."""

    cast: Cast
    grid: Grid = field(init=False)
    at_s: float = 0.0
    _next: int = 0
    _times: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.grid = Grid(self.cast.width, self.cast.height)
        self._times = [event.at_s for event in self.cast.events]

    def go(self, at_s: float) -> bool:
        """Goes to a time, which is kept within the recording; whether anything on the screen may differ."""
        at_s = max(0.0, min(self.cast.length_s, at_s))
        until = bisect_right(self._times, at_s)
        changed = until != self._next
        if until < self._next:
            self.grid, self._next = Grid(self.cast.width, self.cast.height), 0
        for event in self.cast.events[self._next : until]:
            self._show(event.kind, event.data)
        self._next, self.at_s = until, at_s
        return changed

    def next_mark_s(self) -> float:
        """Where the next mark is; the end where there is none."""
        return next((e.at_s for e in self.cast.events[self._next :] if e.kind == "m"), self.cast.length_s)

    def _show(self, kind: str, data: str) -> None:
        if kind == "o":
            self.grid.feed(data)
        elif kind == "r":
            width, _, height = data.partition("x")
            if all(part.isdecimal() and len(part) < 5 and 1 <= int(part) <= SIZE_MAX for part in (width, height)):
                self.grid.resize(int(width), int(height))


class Player:
    """Plays a tape on a terminal: space pauses, left and right seek, + and - change the speed, q leaves."""

    def __init__(self, cast: Cast, *, speed: float = 1.0, at_s: float = 0.0) -> None:
        self.tape = Tape(cast)
        self.speed, self.paused, self.over = speed, False, False
        self.tape.go(at_s)
        self._shown: list[str] = []

    def press(self, keys: str) -> None:
        """What the person typed."""
        for key in re.findall(r"\x1b\[[0-9;]*[~A-Za-z]|.", keys, re.DOTALL):
            self._do(_CURSOR_KEYS.get(key) or _KEYS.get(key, ""))

    def _do(self, what: str) -> None:
        at_s = self.tape.at_s
        seeks = {"back": at_s - STEP_S, "on": at_s + STEP_S, "far back": at_s - FAR_S, "far on": at_s + FAR_S,
                 "begin": 0.0, "mark": self.tape.next_mark_s()}  # fmt: skip
        if what in seeks:
            self.tape.go(seeks[what])
        elif what == "pause":
            self.paused = not self.paused
        elif what in ("faster", "slower"):
            faster = [s for s in SPEEDS if s > self.speed], [s for s in SPEEDS if s < self.speed]
            self.speed = (faster[0] or [SPEEDS[-1]])[0] if what == "faster" else (faster[1] or [SPEEDS[0]])[-1]
        elif what == "quit":
            self.over = True

    def pass_s(self, seconds: float) -> None:
        """So much time goes by before the terminal."""
        if not self.paused:
            self.tape.go(self.tape.at_s + seconds * self.speed)

    def status(self) -> str:
        cast, at_s = self.tape.cast, self.tape.at_s
        clock = time.strftime(" %d %b %H:%M:%S", time.localtime(cast.began_s + at_s)) if cast.began_s else ""
        state = "paused" if self.paused else "end" if at_s >= cast.length_s else f"x{self.speed:g}"
        return (
            f" REPLAY {_minutes(at_s)} / {_minutes(cast.length_s)}{clock}  {state}"
            "  space pause  left/right 10 s  +/- speed  n mark  q quit"
        )

    def frame(self, columns: int, lines: int) -> str:
        """What brings the terminal from what it shows to what it is to show."""
        wanted = self.tape.grid.lines(columns, lines - 1)
        wanted += [""] * (lines - 1 - len(wanted))
        wanted.append(f"\x1b[0;7m{self.status()[:columns].ljust(columns)}\x1b[0m")
        if len(self._shown) != lines:
            self._shown = ["\x00"] * lines
        out = [f"\x1b[{y + 1};1H\x1b[0m\x1b[K{new}" for y, new in enumerate(wanted) if new != self._shown[y]]
        self._shown = wanted
        return "".join(out)


def _minutes(seconds: float) -> str:
    whole = int(seconds)
    return (
        f"{whole // 3_600}:{whole // 60 % 60:02}:{whole % 60:02}"
        if whole >= 3_600
        else f"{whole // 60}:{whole % 60:02}"
    )


def play(player: Player, keys: TextIO, out: TextIO) -> None:
    """Until the person leaves or the terminal is gone; the terminal is left as it was found. Raises OSError."""
    before = termios.tcgetattr(keys.fileno())
    out.write("\x1b[?1049h\x1b[?25l\x1b[?7l")
    try:
        tty.setcbreak(keys.fileno())
        last_s, size = time.monotonic(), os.terminal_size((0, 0))
        while not player.over:
            now_s = time.monotonic()
            player.pass_s(now_s - last_s)
            last_s = now_s
            if size != (size := shutil.get_terminal_size()):
                player._shown = []
            out.write(player.frame(size.columns, size.lines))
            out.flush()
            if select.select([keys], [], [], FRAME_S)[0]:
                typed = os.read(keys.fileno(), 4_096)
                if not typed:
                    break
                player.press(typed.decode("utf-8", "replace"))
    except KeyboardInterrupt:
        pass
    finally:
        out.write("\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l")
        out.flush()
        termios.tcsetattr(keys.fileno(), termios.TCSADRAIN, before)


def run_replay(file: str, speed: float, at: str) -> int:
    """On this process's terminal; where there is none, prints what the screen showed at `at`, or at the end.

    The exit code; what is wrong is said on standard error.
    """
    at_s = span_s(at)
    if at_s is None or not SPEEDS[0] <= speed <= SPEEDS[-1]:
        print(f"outstation: --speed is {SPEEDS[0]:g} to {SPEEDS[-1]:g}, --at is such as 90s or 10m", file=sys.stderr)
        return 2
    try:
        cast = read(Path(file).expanduser())
    except CastRefused as error:
        print(f"outstation: {error}", file=sys.stderr)
        return 2
    if sys.stdin.isatty() and sys.stdout.isatty():
        play(Player(cast, speed=speed, at_s=at_s), sys.stdin, sys.stdout)
        return 0
    tape = Tape(cast)
    tape.go(at_s or cast.length_s)
    print(tape.grid.text().rstrip())
    return 0
