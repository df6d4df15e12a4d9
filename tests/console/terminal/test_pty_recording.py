"""A recording has what the operator saw, cell for cell, and not what was asked as a secret; and it is shown again."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte

from console.terminal.cast import read
from console.terminal.playback import Tape

Start = Callable[..., Any]

# The sample fleet, where a link asks for a passphrase.
ASKING = r"""
import asyncio, sys
from console.seat.app import run
from console.seat.asking import SeatPrompter
from console.seat.opening import Opened
from console.sample.fleet import SampleFleet, StillClock
from console.sample.operations import SampleOperations
prompter = SeatPrompter()
async def ask():
    await asyncio.sleep(0.5)
    await prompter.secret("press-07", "Passphrase for the key of the vault")
fleet = SampleFleet()
opened = Opened(fleet, SampleOperations(fleet), background=(ask,))
sys.exit(run(opened, operator="alice", clock=StillClock(), prompter=prompter, record=sys.argv[1]))
"""


def test_a_recording_shows_at_its_end_what_the_terminal_showed(sample_app: Start, tmp_path: Path) -> None:
    with sample_app("--record", str(tmp_path / "a.cast"), columns=100, lines=30) as rig:
        rig.until_text("? help")
        for key in ("j", "\r", "\x1b", "2"):
            rig.press(key)
            rig.until_quiet(0.2)
        rig.until_text("STATE ACK")
        rig.press("q")
        assert rig.wait() == 0
        shown = rig.text()
    tape = Tape(read(tmp_path / "a.cast"))
    tape.go(tape.cast.length_s)
    assert [line.rstrip() for line in tape.grid.text().split("\n")] == shown.split("\n")
    other = pyte.Screen(100, 30)
    pyte.Stream(other).feed("".join(e.data for e in tape.cast.events if e.kind == "o").replace("\x1b[<u", ""))
    assert "press-07" in "\n".join(other.display)


def test_a_secret_is_asked_on_the_screen_and_stands_in_no_recording(sample_app: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    with sample_app(str(path), script=ASKING) as rig:
        rig.until_text("of the vault")
        rig.press("hunter2\r")
        rig.until(lambda: "of the vault" not in rig.text(), "the answer to be taken")
        rig.press("y")
        rig.until_text("copied to clipboard")
        rig.press("q")
        assert rig.wait() == 0
        shown = rig.text()
        assert b"vault" in rig.raw
        assert b"\x1b]52;c;" in rig.raw
    held = path.read_text("utf-8")
    assert "vault" not in re.sub(r"\\u001b\[[0-9;]*[A-Za-z]", "", held)
    assert "]52;" not in held
    tape = Tape(read(path))
    tape.go(tape.cast.length_s)
    assert [line.rstrip() for line in tape.grid.text().split("\n")] == shown.split("\n")


def test_a_recording_is_replayed_faster_paused_and_left(sample_app: Start, tmp_path: Path) -> None:
    lines = ['{"version": 2, "width": 40, "height": 5}', '[0, "o", "\\u001b[1;1Hat first"]',
             '[300, "o", "\\u001b[1;1Hmuch later\\u001b]52;c;eA==\\u0007"]']  # fmt: skip
    (tmp_path / "a.cast").write_text("\n".join(lines))
    script = "import sys; from console.__main__ import main; sys.exit(main(['--replay', sys.argv[1]]))"
    with sample_app(str(tmp_path / "a.cast"), script=script) as rig:
        rig.until_text("at first")
        rig.press(" n")
        rig.until_text("much later")
        assert "5:00 / 5:00" in rig.text()
        rig.press("\x1b[D+")
        rig.until_text("4:50 / 5:00")
        rig.press("q")
        assert rig.wait() == 0
        assert b"\x1b]" not in rig.raw
        assert rig.raw.rfind(b"\x1b[?1049l") > rig.raw.rfind(b"\x1b[?1049h")


def test_without_a_terminal_a_replay_prints_what_stood_there_at_a_time(tmp_path: Path) -> None:

    lines = [
        '{"version": 2, "width": 40, "height": 5}',
        '[0, "o", "\\u001b[1;1Hat first"]',
        '[300, "o", "\\u001b[1;1Hlater   "]',
    ]
    (tmp_path / "a.cast").write_text("\n".join(lines))
    command = [sys.executable, "-m", "console", "--replay", str(tmp_path / "a.cast"), "--at", "2m"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert done.stdout == "at first\n"
