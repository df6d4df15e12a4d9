"""Every command is declared once, and a key means one thing on a screen."""

from __future__ import annotations

from collections import Counter

import pytest

from console.screens.changes import Changes
from console.screens.chores import Chores
from console.screens.page import Page, bindings
from console.screens.places import page_for
from console.seat import commands
from console.seat.commands import COMMANDS
from console.seat.seat import Seat
from console.seat.way import Way
from widgets.cells import width_of
from widgets.look import grey

SCREENS = (*commands.MAIN, "deploy")


@pytest.mark.parametrize("screen", SCREENS)
def test_a_key_means_one_thing_on_a_screen(screen: commands.Screen) -> None:
    keys = Counter(key for command in commands.on(screen) for key in command.keys.split(",") if key)
    assert not [key for key, count in keys.items() if count > 1]


def page(screen: commands.Screen) -> type[Page]:
    if screen == "fleet":
        from console.screens.fleet import FleetPage

        return FleetPage
    if screen == "deploy":
        from console.screens.view import View

        return View
    return type(page_for((screen, "press-07"), grey()))


@pytest.mark.parametrize("screen", SCREENS)
def test_every_command_of_a_screen_is_there(screen: commands.Screen) -> None:
    named = ("do_theme_", "do_link_")
    for command in commands.on(screen):
        method = f"do_{command.name}"
        there = any(hasattr(doer, method) for doer in (page(screen), Seat, Way, Changes, Chores))
        assert there or method.startswith(named), command.name


def test_every_command_with_a_key_is_bound_and_explained() -> None:
    for command in COMMANDS:
        assert command.help
        assert command.word
        assert bool(command.keys) == bool(command.shown)
    assert len(bindings("fleet")) == sum(1 for c in commands.on("fleet") if c.keys)


@pytest.mark.parametrize("name", ["deploy", "rollback", "confirm", "extend"])
def test_what_changes_a_line_needs_operate(name: str) -> None:
    assert commands.named(name).operate


def test_hold_works_in_both_modes() -> None:
    assert not commands.named("hold").operate


@pytest.mark.parametrize("screen", commands.MAIN)
def test_help_is_the_last_key_of_every_footer(screen: commands.Screen) -> None:
    assert commands.footer(screen)[-1] == ("?", "help")


def test_the_palette_finds_by_word_first_and_then_by_help() -> None:
    assert commands.find("dep", "fleet")[0].name == "deploy"
    assert [c.name for c in commands.find("theme mono", "fleet")] == ["theme_mono"]
    assert commands.find("no such thing", "fleet") == []


def test_keys_that_tmux_screen_and_serial_lines_take_are_not_bound() -> None:
    keys = {key for command in COMMANDS for key in command.keys.split(",")}
    assert not keys & {"ctrl+a", "ctrl+b", "ctrl+s", "ctrl+z"}
    assert all(width_of(c.shown) <= 7 for c in COMMANDS)
