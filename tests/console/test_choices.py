"""What a person chose is there at the next start; what cannot be read chooses nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.home import Home
from console.sample.fleet import SampleFleet, StillClock
from console.sample.operations import SampleOperations
from console.seat.asking import SeatPrompter
from console.seat.choices import Choices, keep, read
from console.seat.launch import open_fleet
from console.seat.opening import Opened
from console.seat.operations import OperationFailed
from console.seat.seat import Seat
from console.terminal.terminal import LINKS, Terminal


def test_a_choice_is_read_as_it_was_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert read(home.catalog) == Choices()
    keep(home, "look", "daylight")
    keep(home, "link", "thin")
    assert read(home.catalog) == Choices("daylight", "thin")
    keep(home, "look", "")
    assert read(home.catalog) == Choices("", "thin")


@pytest.mark.parametrize("value", ["no such look", "x" * 10_000, 7, None, ["thin"]])
def test_a_choice_that_does_not_exist_is_none(tmp_path: Path, value: Any) -> None:
    home = Home(tmp_path)
    with home.open_catalog() as catalog:
        catalog.set_setting("choice.look", value)
        catalog.set_setting("choice.link", value)
    assert read(home.catalog) == Choices()


def test_a_catalog_that_cannot_be_read_chooses_nothing(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.db"
    catalog.write_bytes(b"not a database" * 400)
    assert read(catalog) == Choices()
    catalog.write_bytes(b"")
    assert read(catalog) == Choices()


def test_a_choice_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OperationFailed, match="holds until you leave"):
        keep(Home(tmp_path / "file"), "look", "mono")


def test_the_app_keeps_its_choices_in_the_catalog(tmp_path: Path) -> None:
    opened = open_fleet(str(tmp_path), "alice", SeatPrompter())
    try:
        assert opened.keep is not None
        opened.keep("link", "ssh")
    finally:
        assert opened.close is not None
        opened.close()
    assert read(Home(tmp_path).catalog).link == "ssh"


def test_an_option_of_the_command_line_wins() -> None:
    kept = Choices("daylight", "thin")
    assert kept.unless("", None) == kept
    assert kept.unless("mono", None) == Choices("mono", "thin")
    assert kept.unless("", "lan") == Choices("daylight", "lan")


def test_a_theme_and_a_link_that_are_chosen_are_kept_and_auto_forgets_them(tmp_path: Path) -> None:
    kept: list[tuple[str, str]] = []
    fleet = SampleFleet()
    opened = Opened(fleet, SampleOperations(fleet), keep=lambda choice, value: kept.append((choice, value)))
    terminal = Terminal("xterm-256color", "many", False, True, LINKS["lan"], suggested="ssh")
    seat = Seat(opened, operator="alice", terminal=terminal, clock=StillClock(), clip_file=tmp_path / "clip.txt")

    async def run() -> None:
        async with seat.run_test(size=(80, 24)) as pilot:
            for name in ("theme_daylight", "link_thin", "theme_auto", "link_auto"):
                await command(seat, pilot, name)
                shown = (seat.look.name, seat.link.name)
                assert shown == {"theme_daylight": ("daylight", "lan"), "link_thin": ("daylight", "thin"),
                                 "theme_auto": ("grey", "thin"), "link_auto": ("grey", "ssh")}[name]  # fmt: skip

    asyncio.run(run())
    assert kept == [("look", "daylight"), ("link", "thin"), ("look", ""), ("link", "")]


async def command(seat: Seat, pilot: Pilot[Any], name: str) -> None:
    await pilot.pause()
    assert seat.page is not None
    await seat.page.action_command(name)
    for worker in [w for w in seat.workers if w.group.startswith("work-")]:
        await worker.wait()
    await pilot.pause()
