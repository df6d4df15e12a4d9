"""A recording is what the screen was sent, can be gone through in time, and does no more than show text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.sample.fleet import StillClock
from console.terminal.cast import Cast, CastRefused, Event, Recording, read
from console.terminal.driver import Resized, Unrecorded, WatchedFile
from console.terminal.grid import Grid
from console.terminal.playback import Player, Tape


def recording(path: Path, clock: StillClock) -> Recording:
    made = Recording(path, clock, term="xterm")
    made.begin()
    return made


def test_a_recording_is_an_asciicast_with_the_times_at_which_things_were_sent(tmp_path: Path) -> None:
    clock, path = StillClock(), tmp_path / "a.cast"
    made = recording(path, clock)
    made.resized(80, 24)
    made.sent("\x1b[1;1Hone")
    clock.pass_s(2.5)
    made.sent("two ■")
    made.resized(100, 30)
    header, *events = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert events == [[0.0, "o", "\x1b[1;1Hone"], [2.5, "o", "two ■"], [2.5, "r", "100x30"]]
    assert read(path).events == (Event(0.0, "o", "\x1b[1;1Hone"), Event(2.5, "o", "two ■"), Event(2.5, "r", "100x30"))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.cast").write_text("kept")
    with pytest.raises(CastRefused, match="name another file"):
        recording(tmp_path / "a.cast", StillClock())
    assert (tmp_path / "a.cast").read_text() == "kept"


def test_a_folder_that_is_not_there_ends_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(CastRefused, match="nothing can be recorded"):
        recording(tmp_path / "no" / "a.cast", StillClock())


def test_a_disk_that_fails_later_ends_the_recording_and_says_so(tmp_path: Path) -> None:
    made = recording(tmp_path / "a.cast", StillClock())
    made.resized(80, 24)
    (tmp_path / "a.cast").unlink()
    (tmp_path / "a.cast").mkdir()
    made.sent("x")
    assert "a.cast" in made.ended
    made.sent("y")


def test_secrets_and_copies_reach_the_terminal_and_no_recording(tmp_path: Path) -> None:
    with (tmp_path / "tty").open("w+") as terminal:
        watched = WatchedFile(terminal)
        watched.recording = recording(tmp_path / "a.cast", StillClock())
        for text in (Resized("80x24"), "shown", Unrecorded("passphrase for /home/a/key"), "after"):
            watched.write(text)
        watched.flush()
    assert (tmp_path / "tty").read_text() == "shownpassphrase for /home/a/keyafter"
    assert [event.data for event in read(tmp_path / "a.cast").events] == ["shown", "after"]


@pytest.mark.parametrize(
    "text",
    ["", "{}\n", '{"version": 1, "width": 80, "height": 24}\n', '{"version": 2, "width": 80, "height": 9999999}\n',
     '{"version": 2, "width": true, "height": 24}\n',
     '{"version": 2, "width": 80, "height": 24}\n[1, "o"]\n[1, "o", ""]\n',
     '{"version": 2, "width": 80, "height": 24}\nnot json\n', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_recording_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.cast").write_text(text)
    with pytest.raises(CastRefused, match=r"a\.cast"):
        read(tmp_path / "a.cast")


def test_a_console_killed_in_the_middle_of_a_line_leaves_a_recording(tmp_path: Path) -> None:
    (tmp_path / "a.cast").write_text('{"version": 2, "width": 80, "height": 24}\n[1, "o", "x"]\n[2, "o", "y')
    assert [event.data for event in read(tmp_path / "a.cast").events] == ["x"]


# ---------------------------------------------------------------- playing


def cast(*events: Event) -> Cast:
    return Cast(20, 4, 0.0, "", events)


TAPE = cast(
    Event(0.0, "o", "\x1b[1;1H\x1b[0;31mone\x1b[0m"), Event(5.0, "o", "\x1b[2;1Htwo"), Event(30.0, "o", "\x1b[1;1H   ")
)


def test_a_tape_goes_to_any_time_and_back() -> None:
    tape = Tape(TAPE)
    shown = {}
    for at_s in (0.0, 4.9, 5.0, 30.0, 99.0, 6.0, 0.0):
        tape.go(at_s)
        shown[at_s] = tape.grid.text().rstrip()
    assert shown == {0.0: "one", 4.9: "one", 5.0: "one\ntwo", 30.0: "\ntwo", 99.0: "\ntwo", 6.0: "one\ntwo"}


def test_the_player_pauses_seeks_and_changes_its_speed() -> None:
    player = Player(TAPE, speed=2.0)
    player.pass_s(1.0)
    assert player.tape.at_s == 2.0
    player.press(" ")
    player.pass_s(10.0)
    assert player.tape.at_s == 2.0
    player.press("\x1b[C++")
    assert (player.tape.at_s, player.speed) == (12.0, 8.0)
    player.press("\x1b[D\x1b[D-")
    assert (player.tape.at_s, player.speed, player.over) == (0.0, 4.0, False)
    player.press("q")
    assert player.over


def test_only_lines_that_differ_are_sent_and_a_small_terminal_gets_the_upper_left() -> None:
    player = Player(TAPE)
    first = player.frame(10, 3)
    assert "one" in first
    assert "REPLAY" in first
    player.press(" ")
    player.tape.go(5.0)
    second = player.frame(10, 3)
    assert "two" in second
    assert "one" not in second


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b[];mHCJK019\x07\x9b\r\n"), max_size=200))
@settings(max_examples=150)
def test_i18_a_hostile_recording_sends_nothing_but_text_and_our_own_sequences(data: str) -> None:
    player = Player(cast(Event(0.0, "o", data)))
    sent = player.frame(20, 5)
    for ours in ("\x1b[0m", "\x1b[K"):
        sent = sent.replace(ours, "")
    assert re.sub(r"\x1b\[[0-9;]*[mH]", "", sent).isprintable()


@given(
    st.lists(st.sampled_from(["\x1b[2;3H", "\x1b[C", "\x1b[4C", "ab", "\x1b[0;1;31m", "\x1b[0m", "■ x"]), max_size=20)
)
@settings(max_examples=100)
def test_the_grid_shows_what_a_terminal_shows(parts: list[str]) -> None:
    """Against pyte, with the sequences that this console sends."""
    data = "\x1b[1;1H" + "".join(parts)
    screen = pyte.Screen(60, 4)
    pyte.Stream(screen).feed(data)
    grid = Grid(60, 4)
    grid.feed(data)
    assert grid.text().split("\n") == [line.rstrip() for line in screen.display]
