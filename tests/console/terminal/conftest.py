"""A real terminal for tests: a pty of a given size, what came out of it, and a pyte screen fed with it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyte
import pytest

# What pyte does not know; terminals do.
_UNKNOWN = re.compile(rb"\x1b\[(?:[<>][0-9]*u|\?[0-9]+\$p)")
WAIT_S = 20.0


class TerminalRig:
    """Runs a command in a pty. Use as a context manager; nothing of it outlives the block."""

    def __init__(
        self, command: list[str], *, columns: int = 80, lines: int = 24, environ: Mapping[str, str | None] | None = None
    ) -> None:
        self.raw = bytearray()
        self.columns, self.lines = columns, lines
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        env = {k: v for k, v in os.environ.items() if k not in ("COLORTERM", "NO_COLOR", "SSH_CONNECTION", "TMUX")}
        env |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        for key, value in (environ or {}).items():
            env.pop(key, None)
            if value is not None:
                env[key] = value
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may have ignored it
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execvpe(command[0], command, env)
        self.status: int | None = None

    def __enter__(self) -> TerminalRig:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def pump(self, seconds: float = 0.0) -> int:
        """Reads what is there (for `seconds` at most if nothing comes); how many bytes it was."""
        count = 0
        while select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65_536)
            except OSError:
                return count
            if not data:
                return count
            count += len(data)
            self.raw += data
            self._stream.feed(_UNKNOWN.sub(b"", data))
            seconds = 0.0
        return count

    def until(self, seen: Callable[[], bool], what: str) -> None:
        """Reads until something is on the screen; fails with the screen when it does not come."""
        end = time.monotonic() + WAIT_S
        while not seen():
            assert time.monotonic() < end, f"never came: {what}\n" + self.text()
            self.pump(0.05)

    def until_text(self, text: str) -> None:
        self.until(lambda: text in self.text(), text)

    def until_quiet(self, seconds: float = 0.4) -> None:
        """Reads until nothing comes for a while."""
        while self.pump(seconds):
            pass

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self) -> int:
        """The exit status of the command."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            self.pump(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                self.pump(0.05)
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("the program did not end\n" + self.text())


def sample(*options: str) -> list[str]:
    """The app on the sample fleet."""
    return [sys.executable, "-m", "console.sample.fleet", *options]


@pytest.fixture
def sample_app() -> Callable[..., TerminalRig]:
    """The app on the sample fleet in a terminal: `with sample_app("--operate", environ={"TERM": "linux"}) as rig`."""

    def start(*options: str, script: str = "", **how: Any) -> TerminalRig:
        command = [sys.executable, "-c", script, *options] if script else sample(*options)
        return TerminalRig(command, **how)

    return start
