"""Each command is reached by key or palette, told by help and docs/keys.md, and done by a verb or named as none."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from pathlib import Path

import pytest

from console.cli.parser import add_verbs
from console.sample.fleet import sample_seat
from console.screens.help import HelpView
from console.screens.palette import PaletteView
from console.seat import commands
from console.seat.commands import COMMANDS
from console.seat.keymap import Keymap, KeysRefused, load, read
from console.seat.verbs import VERBS, is_of_the_seat, page

KEYS = (Path(__file__).parents[2] / "docs" / "keys.md").read_text("utf-8")
WORDS = {"NODE": "press-07", "BUNDLE": "pump-2.0", "ID": "r1", "POLICY": "p.toml", "FILE": "a.ostn", "NAME": "press-07"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_is_in_the_palette_or_has_a_key_and_is_told_in_the_docs(command: commands.Command) -> None:
    for screen in command.screens:
        found = command.name in {c.name for c in commands.find(command.word, screen)}
        assert command.keys or found, screen
    assert f"| `{command.name}` |" in KEYS


def test_the_page_of_keys_is_the_table() -> None:
    """`outstation keys --markdown` prints it."""
    assert KEYS.endswith(page(COMMANDS))


def test_help_tells_every_key_of_its_screen() -> None:
    async def run() -> None:
        seat = sample_seat()
        async with seat.run_test(size=(140, 120)) as pilot:
            for screen in commands.MAIN:
                view = HelpView(seat.look, screen, screen)
                await seat.push_screen(view)
                await pilot.pause()
                text = view.yank_text()
                for command in commands.on(screen):
                    assert not command.keys or f" {command.shown:<8}" in text, (screen, command.name)
                await seat.pop_screen()

    asyncio.run(run())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_is_not_about_the_screen_alone_is_a_verb_that_the_command_line_takes(command: commands.Command) -> None:
    assert (command.name in VERBS) != is_of_the_seat(command.name)
    if command.operate:
        assert command.name in VERBS
    if command.name in VERBS:
        parser = argparse.ArgumentParser()
        add_verbs(parser)
        words = [WORDS.get(word, word) for word in shlex.split(VERBS[command.name])]
        assert parser.parse_args(words).group == words[0]


# ---------------------------------------------------------------- the person's own


def test_an_own_key_is_shown_wherever_a_key_is_and_the_usual_one_is_free() -> None:
    keymap = read({"keys": {"hold": "F6", "wall": "v, F7"}})

    async def run() -> None:
        seat = sample_seat(keymap=keymap)
        async with seat.run_test(size=(140, 60)) as pilot:
            await pilot.pause()
            assert "F6 hold" in seat.screen_text().splitlines()[-1]
            await pilot.press("h")
            await pilot.pause()
            assert len(seat.screen_stack) == 1
            await pilot.press("f6")
            await pilot.pause()
            assert "Hold press-07" in seat.screen_text()
            await pilot.press("escape", "question_mark")
            await pilot.pause()
            assert " F6      hold" in seat.screen_text()
            await pilot.press("escape", "f7")
            await pilot.pause()
            assert seat.screen.wall  # type: ignore[attr-defined]

    asyncio.run(run())


def test_an_alias_stands_for_a_line_of_the_palette() -> None:
    async def run() -> None:
        seat = sample_seat(keymap=read({"aliases": {"l": "filter site:linz", "p7": "node press-07"}}))
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.press("colon", "l", "enter")
            await pilot.pause()
            await pilot.pause()
            assert "site:linz   4 of 12 shown" in seat.screen_text()
            await pilot.press("colon", "p", "7")
            await pilot.pause()
            assert isinstance(seat.screen, PaletteView)
            assert "enter: node press-07" in seat.screen_text()
            await pilot.press("enter")
            await pilot.pause()
            assert "press-07  [Overview]" in seat.screen_text()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"keys": {"fly": "F5"}}, "no such command"),
        ({"keys": {"hold": "d"}}, "both hold and deploy|both deploy and hold"),
        ({"keys": {"hold": "ctrl-s"}}, "the terminal takes it"),
        ({"keys": {"hold": "F99"}}, "is no key"),
        ({"keys": {"help": "F1"}}, "stays as it is"),
        ({"keys": {"hold": 5}}, "holds lines such as"),
        ({"colours": {}}, r"\[colours\] is not known"),
        ({"aliases": {"node": "fleet"}}, "not a command already"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_what_would_do(found: dict[str, object], said: str) -> None:
    with pytest.raises(KeysRefused, match=said):
        read(found)


def test_two_keys_may_change_places() -> None:
    keymap = read({"keys": {"hold": "d", "deploy": "h", "bundle_deploy": "h"}})
    assert {c.name: c.keys for c in keymap.on("fleet")}["hold"] == "d"


def test_no_file_is_the_usual_keys_and_a_broken_one_says_where(tmp_path: Path) -> None:
    assert load(tmp_path / "console.toml") == Keymap()
    path = tmp_path / "console.toml"
    path.write_text("[keys\n")
    with pytest.raises(KeysRefused, match=r"console\.toml: cannot be read"):
        load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KeysRefused, match="cannot be read"):
        load(path)


def test_an_alias_that_names_itself_ends() -> None:
    assert Keymap(aliases={"a": "b", "b": "a"}).expand("a x") in ("a x", "b x")
