"""The console in a real pseudo-terminal, 80x24: first paint, key to paint on the sample fleet, bytes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path
from statistics import median, quantiles

from bench.row import Row

PASSES = 5
KEYS = 40
QUIET_S = 0.4
FIRST_PAINT_MS, KEY_MS, KEY_P99_MS = 400.0, 10.0, 50.0
NODES, TICKS = 1_000, 12
TICK_BYTES_MAX, ALL_BYTES_MAX = 400, 2_500
MONITORS = {"htop": ("--delay=10",), "btop": ("--utf-force",), "glances": ("--time", "1")}
DOWN, UP = b"\x1b[B", b"\x1b[A"


class _Terminal:
    def __init__(self, command: list[str], **environ: str) -> None:
        self.began_s = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execve(command[0], command, os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | environ)

    def read_until_quiet(self, quiet_s: float) -> int:
        """Bytes that come until nothing comes for `quiet_s`."""
        count = 0
        while select.select([self.fd], [], [], quiet_s)[0]:
            count += len(os.read(self.fd, 1 << 16))
        return count

    def read_for(self, seconds: float) -> int:
        """Bytes that come within `seconds`."""
        count, end_s = 0, time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left_s)[0]:
                count += len(os.read(self.fd, 1 << 16))
        return count

    def read_until(self, mark: bytes) -> float:
        """Seconds since the start until `mark` was on the wire."""
        seen = b""
        while mark not in seen:
            seen = seen[-64:] + os.read(self.fd, 1 << 16)
        return time.monotonic() - self.began_s

    def echo_ms(self, key: bytes) -> float:
        """From a key to the first byte that it paints."""
        pressed_s = time.monotonic()
        os.write(self.fd, key)
        select.select([self.fd], [], [], 5.0)
        taken_ms = (time.monotonic() - pressed_s) * 1e3
        self.read_until_quiet(0.05)
        return taken_ms

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def run() -> list[Row]:
    """Medians of PASSES starts, beside `python -c pass` and an empty Textual application in turn."""
    ours, bare, empty = [], [], []
    keys: list[float] = []
    idle = cursor = 0
    for _ in range(PASSES):
        bare.append(_start([sys.executable, "-c", "print('up', flush=True); input()"], b"up"))
        empty.append(_start([sys.executable, "-c", _EMPTY], b"up"))
        with tempfile.TemporaryDirectory(prefix="ob") as home:
            ours.append(_start([sys.executable, "-m", "console", "--home", home], b"MONITOR"))
        terminal = _Terminal([sys.executable, "-m", "console.sample.fleet"])
        terminal.read_until(b"STATE")
        terminal.read_until_quiet(QUIET_S * 3)
        idle = terminal.read_until_quiet(2.0)
        for at in range(KEYS):
            keys.append(terminal.echo_ms(UP if at % 2 else DOWN))
        os.write(terminal.fd, DOWN)
        cursor = terminal.read_until_quiet(QUIET_S)
        terminal.close()
    p99 = quantiles(keys, n=100)[98]
    return [
        Row("console, first paint", median(ours) * 1e3, "ms", "budget", FIRST_PAINT_MS, 1.0, less=True, headline=True),
        Row("console, first paint", median(ours) * 1e3, "ms", "empty Textual app", median(empty) * 1e3, headline=True),
        Row("bare python, first byte", median(bare) * 1e3, "ms"),
        Row("key to paint, p50", median(keys), "ms", "budget", KEY_MS, 1.0, less=True, headline=True),
        Row("key to paint, p99", p99, "ms", "budget", KEY_P99_MS, 1.0, less=True, headline=True),
        Row("cursor down", float(cursor), "bytes"),
        Row("terminal, idle for 2 s", float(idle), "bytes", note="0 is the promise", headline=True),
        tenth := _ticks("a tenth of the figures changing", 0.1, TICK_BYTES_MAX),
        _ticks("all figures changing", 1.0, ALL_BYTES_MAX),
        *(_beside(tenth, monitor) for monitor in MONITORS),
    ]


def _ticks(what: str, share: float, bytes_max: int) -> Row:
    """Bytes a second of the fleet screen with `NODES` live nodes, over `TICKS` seconds."""
    terminal = _Terminal([sys.executable, "-m", "console.sample.fleet", "--nodes", str(NODES), "--change", str(share)])
    try:
        terminal.read_until(b"STATE")
        terminal.read_for(2.0)
        counts = [terminal.read_for(1.0) for _ in range(TICKS)]
    finally:
        terminal.close()
    name, limit = f"terminal, 80x24, {NODES:,} nodes, {what}", float(bytes_max)
    spread = (float(min(counts)), float(max(counts)))
    return Row(name, median(counts), "B a tick", "budget", limit, 1.0, less=True, spread=spread, headline=True)


def _beside(ours: Row, monitor: str) -> Row:
    """The same second of a monitor of one machine that repaints once a second, where it is installed."""
    row = ours._replace(against=f"{monitor}, once a second", peer=None, goal=None, headline=False)
    program = shutil.which(monitor)
    if program is None:
        return row._replace(note=f"{monitor} is not on this machine")
    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        for name, text in (("btop/btop.conf", "update_ms = 1000\n"), ("htop/htoprc", "delay=10\n")):
            (Path(folder) / name).parent.mkdir()
            (Path(folder) / name).write_text(text)
        terminal = _Terminal([program, *MONITORS[monitor]], XDG_CONFIG_HOME=folder)
        try:
            terminal.read_for(3.0)
            return row._replace(peer=median([terminal.read_for(1.0) for _ in range(TICKS)]))
        finally:
            terminal.close()


_EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("up")
Empty().run()
"""


def _start(command: list[str], mark: bytes) -> float:
    terminal = _Terminal(command)
    try:
        return terminal.read_until(mark)
    finally:
        terminal.close()
