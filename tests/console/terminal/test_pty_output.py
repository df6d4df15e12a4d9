"""The thin layer shows what Textual would show, sends nothing without news, and little with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]

WALK = ("j", "\r", "\t", "\t", "\x1b", "2", "1", "?", "\x1b", "/", "state:warn", "\r", "\x1b", "b", "!")


def _after(start: Start, keys: tuple[str, ...], *options: str, **how: Any) -> Any:
    with start(*options, **how) as rig:
        rig.until_text("? help")
        rig.until_quiet()
        for key in keys:
            rig.press(key)
            rig.until_quiet(0.25)
        return rig


def test_every_cell_is_what_textual_itself_would_have_drawn(sample_app: Start) -> None:
    thin = _after(sample_app, WALK, columns=100, lines=30)
    whole = _after(sample_app, WALK, "--whole-regions", columns=100, lines=30)
    assert thin.text() == whole.text()
    for y in range(30):
        for x in range(100):
            assert thin.screen.buffer[y][x] == whole.screen.buffer[y][x], (y, x)
    assert len(thin.raw) * 3 < len(whole.raw)


def test_an_idle_screen_sends_not_one_byte(sample_app: Start) -> None:
    with sample_app() as rig:
        rig.until_text("? help")
        rig.until_quiet(1.2)
        time.sleep(2.2)
        assert rig.pump() == 0


def test_a_thousand_nodes_with_a_tenth_changing_cost_at_most_four_hundred_bytes_a_look(sample_app: Start) -> None:
    with sample_app("--nodes", "1000", "--change", "0.1") as rig:
        rig.until_text("? help")
        rig.until_quiet(0.5)
        sizes = []
        end = time.monotonic() + 4.5
        while time.monotonic() < end:
            sizes.append(rig.pump(0.3))
    looks = [size for size in sizes if size]
    assert looks
    assert sorted(looks)[len(looks) // 2] <= 400


def test_ctrl_l_draws_the_whole_screen_again(sample_app: Start) -> None:
    with sample_app() as rig:
        rig.until_text("? help")
        rig.until_quiet()
        before = rig.text()
        rig.screen.reset()
        rig.press("\x0c")
        rig.until_quiet()
        assert rig.text() == before


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_restored(sample_app: Start, ends: signal.Signals) -> None:
    with sample_app() as rig:
        rig.until_text("? help")
        os.kill(rig.pid, ends)
        assert rig.wait() == 143
    tail = bytes(rig.raw)
    assert tail.rfind(b"\x1b[?1049l") > tail.rfind(b"\x1b[?1049h")
    assert tail.rfind(b"\x1b[?1003l") > tail.rfind(b"\x1b[?1003h")
    assert tail.rfind(b"\x1b[?25h") > tail.rfind(b"\x1b[?25l")


def test_q_leaves_with_zero(sample_app: Start) -> None:
    with sample_app() as rig:
        rig.until_text("? help")
        rig.press("q")
        assert rig.wait() == 0


def test_a_terminal_that_is_gone_ends_the_program_though_no_hangup_is_sent() -> None:
    """The pty is not the controlling terminal of the program, so that nothing but its own watch can tell it."""
    ours, theirs = os.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-m", "console.sample.fleet"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environ
    ) as process:
        os.close(theirs)
        seen = b""
        while b"help" not in seen:
            seen += os.read(ours, 65_536)
        os.close(ours)
        assert process.wait(20) == 129


def test_a_stalled_terminal_gets_the_newest_frame_and_not_the_past(sample_app: Start) -> None:
    with sample_app("--nodes", "1000", "--change", "1.0", columns=140, lines=40) as rig:
        rig.until_text("? help")
        rig.until_quiet(0.2)
        time.sleep(4.0)
        backlog = rig.pump(0.1)
        rig.press("q")
        assert rig.wait() == 0
    assert backlog < 100_000
