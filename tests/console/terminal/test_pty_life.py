"""Resized, stopped and gone on, crashed, or left alone: the terminal is drawn right or left as it was found."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]

# The sample fleet, and a piece of its background that fails.
CRASHING = r"""
import asyncio, sys
from console.seat.app import run
from console.seat.opening import Opened
from console.sample.fleet import SampleFleet, StillClock
from console.sample.operations import SampleOperations
async def fail():
    await asyncio.sleep(1.0)
    raise RuntimeError("a defect of ours")
fleet = SampleFleet()
sys.exit(run(Opened(fleet, SampleOperations(fleet), background=(fail,)), operator="alice", clock=StillClock()))
"""


def test_a_terminal_of_another_size_is_drawn_anew(sample_app: Start) -> None:
    with sample_app() as rig:
        rig.until_text("? help")
        rig.screen.resize(40, 140)
        rig.screen.reset()
        fcntl.ioctl(rig.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        os.kill(rig.pid, signal.SIGWINCH)
        rig.until(lambda: "? help" in rig.screen.display[39], "the last row at the bottom")
        assert rig.screen.display[0].startswith(" ■1 ALRM")
        assert "press-07" in rig.text()


def test_stopped_and_gone_on_the_whole_screen_is_drawn_again(sample_app: Start) -> None:
    with sample_app() as rig:
        rig.until_text("? help")
        rig.until_quiet()
        before = rig.text()
        os.kill(rig.pid, signal.SIGTSTP)
        os.waitpid(rig.pid, os.WUNTRACED)
        rig.until(lambda: rig.raw.rfind(b"\x1b[?1049l") > rig.raw.rfind(b"\x1b[?1049h"), "the terminal given back")
        rig.screen.reset()
        os.kill(rig.pid, signal.SIGCONT)
        rig.until(lambda: rig.text() == before, "the same screen again")


def test_a_crash_leaves_the_terminal_as_it_was_and_says_what_it_was(sample_app: Start) -> None:
    with sample_app(script=CRASHING) as rig:
        before = termios.tcgetattr(rig.fd)
        rig.until_text("? help")
        assert termios.tcgetattr(rig.fd) != before
        assert rig.wait() == 1
        assert termios.tcgetattr(rig.fd) == before
        raw = bytes(rig.raw)
        for mode in (b"?1049", b"?1003"):
            assert raw.rfind(b"\x1b[" + mode + b"l") > raw.rfind(b"\x1b[" + mode + b"h")
        assert raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l")
        assert b"a defect of ours" in raw


def test_a_hangup_that_is_ignored_and_a_terminal_that_is_gone_end_the_program() -> None:
    """As under nohup: the hangup never comes, and reading the lost terminal would spin."""
    ours, theirs = os.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    command = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-m", "console.sample.fleet"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environ
    ) as process:
        os.close(theirs)
        seen = b""
        while b"help" not in seen:
            seen += os.read(ours, 65_536)
        os.close(ours)
        assert process.wait(20) == 129


@pytest.mark.parametrize(
    "environ",
    [{"TERM": "linux"}, {"TERM": "xterm"}, {"TERM": "vt220"}, {"TERM": "screen-256color"}, {"TERM": "xterm-256color"},
     {"TERM": "tmux-256color", "TMUX": "/nowhere,1,0"}, {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
     {"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "xterm", "OUTSTATION_ASCII": "1"}],
    ids=lambda environ: "-".join(environ.values()).replace("/", ""),
)  # fmt: skip
def test_the_fleet_is_drawn_and_left_on_every_kind_of_terminal(sample_app: Start, environ: dict[str, str]) -> None:
    with sample_app(environ=environ) as rig:
        rig.until_text("? help")
        rig.until_text("ALRM press-07")
        rig.press("q")
        assert rig.wait() == 0
    if "OUTSTATION_ASCII" in environ:
        assert bytes(rig.raw).isascii()
