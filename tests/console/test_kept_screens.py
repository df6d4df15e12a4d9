"""Catalog, records and ledger: on a good day, in trouble, with nothing yet, and when nothing is known."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.sample.fleet import SampleFleet, sample_seat, unplugged
from console.sample.shelf import FORKED
from console.seat.seat import Seat

SIZES = ((80, 24), (140, 40))
Act = Callable[[Seat, Pilot[Any]], Awaitable[None]]


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Times of day are those of one place."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


async def press(seat: Seat, pilot: Pilot[Any], *keys: str) -> None:
    """Presses keys; waits after each until what it started is done and drawn."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
        for worker in [w for w in seat.workers if w.group.startswith("work-")]:
            await worker.wait()
        await pilot.pause()


def in_seat(act: Act, *, fleet: SampleFleet | None = None, size: tuple[int, int] = (80, 24), **options: Any) -> None:
    async def run() -> None:
        seat = sample_seat(fleet, **options)
        async with seat.run_test(size=size) as pilot:
            await pilot.pause()
            await act(seat, pilot)

    asyncio.run(run())


def show(*keys: str, **options: Any) -> str:
    """The text of the screen after these keys."""
    found: list[str] = []

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(seat, pilot, *keys)
        found.append(seat.screen_text())

    in_seat(act, **options)
    return found[0]


STATES: dict[str, tuple[Callable[[], SampleFleet], dict[str, str]]] = {
    "normal": (SampleFleet, {"4": "4 nodes", "6": "540 records of 9 nodes", "7": "·10 OK"}),
    "empty": (
        lambda: SampleFleet({}),
        {"4": "nowhere", "6": "1, then n adds one", "7": "1, then n adds one"},
    ),
    "unknown": (
        unplugged,
        {"4": "12 nodes unknown", "6": "No node answers: 12 are unknown.", "7": "verified 3h ago, not since"},
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("key", ["4", "6", "7"])
def test_a_screen_fits_and_says_what_is_so_or_what_would_fill_it(state: str, key: str) -> None:
    fleet, said = STATES[state]

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(seat, pilot, key)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await press(seat, pilot)
            await pilot.pause()
            lines = seat.screen_text().splitlines()
            assert len(lines) == size[1]
            assert all(len(line) <= size[0] for line in lines)
            assert said[key] in seat.screen_text()
            assert lines[-1].rstrip().endswith("? help")

    in_seat(act, fleet=fleet())


def test_i19_nothing_is_ok_in_the_ledger_of_a_fleet_that_does_not_answer() -> None:
    text = show("7", fleet=unplugged())
    assert "·OK" not in text
    assert "·0 OK" in text


def test_i19_a_bundle_is_nowhere_only_if_every_node_says_so() -> None:
    assert "nowhere" not in show("4", fleet=unplugged())
    assert "none that answers" in show("4")


# ---------------------------------------------------------------- ledger


def test_a_forked_ledger_is_an_alarm_at_the_top_with_what_to_do() -> None:
    text = show("7")
    row = text.splitlines()[4]
    assert row.split()[:2] == ["■ALRM", FORKED]
    assert "FORKED at entry 4" in row
    assert "A ends the alarm" in " ".join(text.split())
    assert "never verified here" in text.splitlines()[5]


def test_the_chain_of_a_node_says_who_did_what_and_words_narrow_it() -> None:
    text = show("7", "down", "down", "enter")
    assert "deployment committed" in text
    assert "one chain, verified" in text
    narrowed = show("7", "down", "down", "enter", "slash", *"alice", "enter")
    assert "2 of 8 shown" in narrowed
    assert "bob" not in narrowed


def test_at_a_time_it_says_what_ran_and_who_did_what_around_it() -> None:
    text = show("7", "down", "down", "at", *"11 Mar 14:10".replace(" ", "_").split("_")[0], "space", *"Mar", "space",
                *("colon" if c == ":" else c for c in "14:10"), "enter")  # fmt: skip
    assert "cast-01 at 11 Mar 14:10" in text
    assert "bearing 2.1 r14 committed" in text
    assert "hold: by alice: belt change" in text
    before, _, after = text.partition("---- 11 Mar 14:10")
    assert "hold set" in before
    assert "hold lift" in after


def test_a_word_that_is_no_time_is_told_and_nothing_is_asked() -> None:
    assert "is no time" in show("7", "at", *"soon", "enter")


def test_a_break_is_accepted_in_operate_only_with_a_reason_and_the_name_typed() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(seat, pilot, "7", "A")
        assert "Press o for OPERATE" in seat.screen_text()
        await press(seat, pilot, "o", "A", "enter")
        assert "a reason is needed" in seat.screen_text()
        await press(seat, pilot, "A", *"disk", "enter")
        assert f"type {FORKED}" in seat.screen_text()
        await press(seat, pilot, *(FORKED.replace("-", "_").split("_")[0]), "minus", "0", "5", "enter")
        assert not seat.operations.broken  # type: ignore[attr-defined]

    in_seat(act)


def test_verify_says_what_it_found_and_a_silent_node_is_not_asked() -> None:
    assert "8 entries are one chain, 0 of them new" in show("7", "down", "down", "v")
    assert "does not answer" in show("7", "v")


# ---------------------------------------------------------------- catalog


def test_a_bundle_is_looked_into_with_its_lineage_both_ways() -> None:
    text = show("4", "enter", size=(100, 40))
    assert "comes from       bearing 2.1" in text
    assert "each was read and hashed now" in text
    assert "then came        bearing 2.2" in show("4", "down", "enter", size=(100, 40))


def test_a_bundle_is_taken_from_a_stick_with_two_keys() -> None:
    text = show("4", "i", "down", "enter")
    assert "bearing 2.3" in text
    assert "is in the catalog" in text


def test_what_is_no_bundle_is_not_taken() -> None:
    assert "ends in .ostn" in show("4", "i", *"pump", "enter")


def test_deploy_from_the_catalog_asks_for_the_node_and_then_as_always() -> None:
    assert "Press o for OPERATE" in show("4", "d")
    text = show("4", "o", "d", *"press", "enter")
    assert "Deploy bearing 2.2 to press-01: does it fit" in text


def test_a_bundle_is_held_against_many_nodes_those_that_do_not_fit_first() -> None:
    text = show("4", "down", "down", "P")
    rows = [line.split() for line in text.splitlines()[4:-1] if line.strip()]
    assert [row[1] for row in rows][:3] == ["NO", "NO", "yes"]
    assert "camera is not bound" in text


# ---------------------------------------------------------------- records


def test_records_of_many_nodes_stand_in_the_order_of_time_and_the_filter_narrows_them() -> None:
    text = show("6")
    times = [line.split()[0] for line in text.splitlines()[4:-1]]
    assert times == sorted(times, reverse=True)
    text = show("6", "slash", *"decision", "colon", *"alarm", "enter")
    assert "9 of 540 shown" in text
    assert "outer race" in text
    assert "no such word: colour" in show("6", "slash", *"colour", "colon", "r")


def test_the_end_of_the_list_fetches_older_records_of_every_node() -> None:
    assert "1,080 records of 9 nodes" in show("6", "end")


def test_a_label_that_contradicts_the_model_is_found_again() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(seat, pilot, "6", "L", "2")
        assert seat.operations.labels == {400: "outer race"}  # type: ignore[attr-defined]
        await press(seat, pilot, "slash", *"disagree", "colon", *"yes", "enter")
        assert "1 of 540 shown" in seat.screen_text()

    in_seat(act)


def test_only_the_marked_nodes_are_asked() -> None:
    assert "60 records of press-07" in show("space", "6")


# ---------------------------------------------------------------- any view as a file


@pytest.mark.parametrize("end", ["csv", "json", "txt"])
def test_every_row_of_a_view_is_written_not_only_those_on_the_screen(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(seat, pilot, "6", "ctrl+e", *(["backspace"] * 3), *end, "enter")
        assert "540 rows in" in " ".join(seat.screen_text().split())

    in_seat(act)
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    if end == "json":
        assert len(json.loads(text)["rows"]) == 540
    else:
        assert len(text.splitlines()) == 541
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_is_there_or_has_no_known_form_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "end the name in" in show("ctrl+e", *(["backspace"] * 4), "enter")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the first hour


def test_an_empty_fleet_leads_to_a_node_or_to_the_demo() -> None:
    text = show(fleet=SampleFleet({}))
    assert "n adds one" in text
    assert "outstation demo" in text
    assert "nothing on it is changed" in text
    added = show("n", *"press", "minus", "1", "space", *"edge", "at", *"host", "enter", fleet=SampleFleet({}))
    assert "press-1 is in the fleet" in added
    assert "a plant of real agents" in show("ctrl+d", fleet=SampleFleet({}))


def test_the_wall_shows_every_node_and_the_cursor_stays_on_its_node() -> None:
    async def act(seat: Seat, pilot: Pilot[Any]) -> None:
        await press(seat, pilot, "down", "w")
        lines = seat.screen_text().splitlines()
        cells = "".join(line[15:].strip() for line in lines[2:9])
        assert sorted(cells) == sorted("■▲??TM······")
        assert "pump-04" in seat.screen_text()
        await press(seat, pilot, "space", "w")
        assert "*▲WARN pump-04" in seat.screen_text()

    in_seat(act)


def test_a_figure_in_the_filter_leaves_out_what_is_not_known() -> None:
    text = show("slash", *"disk", "greater_than_sign", *"45", "enter")
    assert "cast-05" not in text
    assert "4 of 12 shown" in text
