"""I12: a key waits for nothing. Every operation hangs, or the console is not even open, and every key is answered.

Whether it is answered within 50 ms is what `bench` prints: no test waits for the clock. What a test can hold is that
nothing slow is on the way: here everything slow never ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from console.sample.fleet import SampleFleet, StillClock
from console.sample.operations import SampleOperations
from console.screens.page import Page
from console.seat import commands
from console.seat.opening import Opened
from console.seat.seat import Seat
from console.terminal.terminal import LINKS, Terminal

STUCK_S = 30.0
LEFT_OUT = {"quit", "print", "pause"}  # They end the app, leave the screen to the shell, or hold the picture still.
WAYS = {
    "fleet": (),
    "node": ("enter",),
    "alerts": ("2",),
    "logs": ("5",),
    "catalog": ("4",),
    "records": ("6",),
    "ledger": ("7",),
    "chart": ("enter", "enter"),
    "deploy": ("d",),
    "watch": ("t",),
}


class Hanging(SampleOperations):
    """A plant behind a cable that was pulled: every question is taken and none is ever answered."""

    def __init__(self, fleet: SampleFleet) -> None:
        super().__init__(fleet)
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name.startswith("_") or not asyncio.iscoroutinefunction(found):
            return found

        async def never(*_: object, **__: object) -> None:
            self.asked.append(name)
            await asyncio.Event().wait()

        return never


class Listening(Seat):
    """Notes which commands were run: a key that was typed into a field proves nothing."""

    ran: ClassVar[list[str]] = []

    async def run_action(self, action: Any, *args: Any, **options: Any) -> bool:
        self.ran.append(str(action))
        return await super().run_action(action, *args, **options)


def seat_on(opening: Opened | Callable[[], Opened], folder: Path) -> Listening:
    terminal = Terminal("xterm-256color", "many", False, True, LINKS["lan"])
    Listening.ran = []
    return Listening(opening, operator="alice", terminal=terminal, clock=StillClock(), clip_file=folder / "clip.txt")


async def is_answered(seat: Seat, pilot: Pilot[Any], *keys: str) -> None:
    """Each key goes through the app's own queue of messages, and so does what it is asked afterwards.

    Not by `pilot.press`, which also waits twice for the process to be idle: on a busy machine that is all it does.
    """
    driver = seat._driver
    assert driver is not None
    async with asyncio.timeout(STUCK_S):
        for key in keys:
            event = events.Key(key, key if len(key) == 1 else None)
            event.set_sender(seat)
            driver.send_message(event)
            await has_answered(pilot)


async def has_answered(pilot: Pilot[Any]) -> None:
    """Every widget of the screen on top has gone through its messages; so has the screen that a key may have opened."""
    for _ in range(3):
        assert await pilot._wait_for_screen(STUCK_S)


async def go_home(seat: Seat, pilot: Pilot[Any]) -> None:
    """The fleet, whatever was on top of it."""
    while len(seat.screen_stack) > 1 or isinstance(seat.focused, Input):
        await is_answered(seat, pilot, "escape")
    await is_answered(seat, pilot, "1", "escape")


def is_on(seat: Seat, screen: str) -> bool:
    return getattr(seat.screen, "kind", "") == screen and not isinstance(seat.focused, Input)


def is_same_everywhere(seat: Seat, command: commands.Command) -> bool:
    """Whether a key is the seat's own and not the screen's: answered by the same lines wherever it is pressed.

    OPERATE is asked for on every screen, so that on every screen something hangs.
    """
    if command.name == "operate" or not set(command.screens) >= set(commands.MAIN):
        return False
    assert isinstance(seat.screen, Page)
    return getattr(seat.screen.handler(command.name), "__self__", None) is not seat.screen


async def is_run(seat: Listening, pilot: Pilot[Any], command: commands.Command) -> None:
    seat.ran.clear()
    await is_answered(seat, pilot, command.keys.split(",")[0])
    assert f"command('{command.name}')" in seat.ran, command.name


def keys_of(screen: str) -> list[commands.Command]:
    return [c for c in commands.COMMANDS if c.keys and screen in c.screens and c.name not in LEFT_OUT]


@pytest.mark.parametrize("screen", WAYS)
def test_i12_every_key_of_a_screen_is_answered_while_every_operation_hangs(screen: str, tmp_path: Path) -> None:
    async def run() -> None:
        fleet = SampleFleet()
        operations = Hanging(fleet)
        seat = seat_on(Opened(fleet, operations), tmp_path)
        async with seat.run_test(size=(100, 30)) as pilot:
            seat.operating = True
            await is_answered(seat, pilot, *WAYS[screen])
            for command in keys_of(screen):
                if not is_on(seat, screen):
                    await go_home(seat, pilot)
                    await is_answered(seat, pilot, *WAYS[screen])
                    assert is_on(seat, screen)
                if screen != "fleet" and is_same_everywhere(seat, command):
                    continue
                seat.operating = True
                await is_run(seat, pilot, command)
            await go_home(seat, pilot)
            assert "press-07" in seat.screen_text()
            if screen not in ("fleet", "alerts"):
                assert operations.asked, "nothing was asked, so nothing hung"

    asyncio.run(run())


def test_i12_keys_are_answered_while_the_catalog_is_being_opened(tmp_path: Path) -> None:
    opened, fleet = threading.Event(), SampleFleet()

    def opening() -> Opened:
        assert opened.wait(STUCK_S)
        return Opened(fleet, Hanging(fleet))

    async def run() -> None:
        seat = seat_on(opening, tmp_path)
        async with seat.run_test(size=(100, 30)) as pilot:
            for command in keys_of("fleet"):
                await is_run(seat, pilot, command)
                await go_home(seat, pilot)
            assert "press-07" not in seat.screen_text()
            opened.set()
            async with asyncio.timeout(STUCK_S):
                while "press-07" not in seat.screen_text():
                    await pilot.pause(0.02)

    asyncio.run(run())
