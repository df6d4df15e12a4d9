"""What the screens show of the sample plant, at the sizes they are designed for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from console.sample.fleet import SampleFleet, StillClock, sample_seat, unplugged
from console.sample.plant import plant
from console.seat.seat import Seat

SIZES = ((80, 24), (100, 30), (140, 40))


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


async def settled(seat: Seat) -> None:
    """Waits until no work is running."""
    for worker in [w for w in seat.workers if w.group.startswith("work-")]:
        await worker.wait()


async def walked(seat: Seat, pilot: Pilot[Any], keys: tuple[str, ...]) -> None:
    """Presses keys; waits after each until what it started is done and drawn."""
    await pilot.pause()
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
        await settled(seat)
        await pilot.pause(0.05 if key in ("5", "l") else None)
    await pilot.pause()


def show(*keys: str, size: tuple[int, int] = (80, 24), fleet: SampleFleet | None = None, **options: Any) -> str:
    """The text of the screen after these keys."""

    async def run() -> str:
        seat = sample_seat(fleet, **options)
        async with seat.run_test(size=size) as pilot:
            await walked(seat, pilot, keys)
            return seat.screen_text()

    return asyncio.run(run())


WALKS = {
    "fleet": (),
    "by site": ("b",),
    "faults": ("exclamation_mark",),
    "overview": ("enter",),
    "overview of an unknown node": ("down", "down", "enter"),
    "pipeline": ("enter", "tab"),
    "records": ("enter", "tab", "tab"),
    "record": ("enter", "tab", "tab", "enter"),
    "log": ("enter", "l"),
    "deployments": ("enter", "shift+tab", "shift+tab", "shift+tab"),
    "checks": ("c",),
    "rules": ("A",),
    "checks from the node": ("enter", "c"),
    "alerts": ("2",),
    "logs": ("5",),
    "help": ("question_mark",),
    "palette": ("ctrl+p",),
    "chart": ("enter", "enter"),
    "histogram": ("enter", "enter", "H"),
    "trial": ("t",),
    "choose": ("o", "d"),
    "passport": ("o", "d", "enter"),
    "summary": ("o", "d", "enter", "enter"),
    "hold": ("h",),
    "work": ("W",),
}


@pytest.mark.parametrize("walk", WALKS)
def test_every_screen_has_the_two_fixed_rows_and_its_keys_and_fits_any_size(walk: str) -> None:
    async def run() -> list[str]:
        seat = sample_seat()
        async with seat.run_test(size=SIZES[0]) as pilot:
            await walked(seat, pilot, WALKS[walk])
            texts = []
            for size in SIZES:
                await pilot.resize_terminal(*size)
                await pilot.pause()
                await settled(seat)
                await pilot.pause()
                texts.append(seat.screen_text())
            return texts

    for size, text in zip(SIZES, asyncio.run(run()), strict=True):
        lines = text.splitlines()
        assert len(lines) == size[1]
        assert all(len(line) <= size[0] for line in lines)
        assert lines[0].startswith(" ■1 ALRM ▲1 WARN ?2 UNKN")
        assert lines[1].startswith(" ■ 14:00 press-07 score share")
        assert lines[-1].strip()


def test_at_eighty_columns_the_stated_columns_are_there() -> None:
    assert show().splitlines()[2].split() == [
        *("STATE", "NODE", "MODEL", "INF/S", "P95", "ms", "CPU", "%", "DISK", "%", "AGE")
    ]


def test_wider_terminals_show_more() -> None:
    assert "SITE" in show(size=(100, 30)).splitlines()[2]
    assert "TREND" in show(size=(100, 30)).splitlines()[2]
    for title in ("REJ/S", "DRIFT", "MEM %", "DAYS", "°C", "CLOCK", "LINK"):
        assert title in show(size=(140, 40)).splitlines()[2]


def test_no_size_is_refused() -> None:
    for size in ((40, 10), (20, 5), (200, 60)):
        assert "press-07" in show(size=size)


def test_the_overview_shows_how_latencies_are_spread_where_there_is_room() -> None:
    text = show("enter", size=(140, 40))
    assert "latencies, p99 ms 2.94" in text
    assert "0.32 ms         16.4 ms" in text
    assert "latencies, p99" not in show("enter")


def test_a_node_that_is_not_known_shows_since_when_and_no_figure() -> None:
    line = next(line for line in show().splitlines() if "cast-05" in line)
    assert line.split(None, 2)[2].startswith("unknown since 10:41, down: no route to host")


def test_i19_when_all_is_lost_nothing_is_called_ok() -> None:
    text = show(fleet=unplugged())
    assert "?12 UNKN ·0 OK" in text
    assert "·OK" not in text


def test_i19_the_last_good_values_of_a_lost_node_are_nowhere_on_its_page() -> None:
    text = show("down", "down", "enter")
    assert "inferences/s" not in text
    assert "nothing that was known before is shown" in text


def test_a_trial_shows_what_is_left() -> None:
    assert "bearing trial 3:12" in show()


def test_an_empty_fleet_says_how_to_begin() -> None:
    text = show(fleet=SampleFleet({}))
    assert "No nodes yet." in text
    assert "outstation node add" in text


def test_the_filter_narrows_while_it_is_typed_and_esc_clears_it() -> None:
    typed = show("slash", *"state:warn")
    assert "pump-04" in typed
    assert "press-01" not in typed
    left = show("slash", *"site:linz", "enter")
    assert "site:linz   4 of 12 shown" in left
    assert " linz " in left.splitlines()[0]
    assert "press-01" in show("slash", *"state:warn", "enter", "escape")
    assert "no such word: sight" in show("slash", *"sight:x")


@pytest.mark.parametrize("screen", ["1", "2", "4", "5"])
def test_what_is_typed_ahead_behind_the_slash_is_text_and_no_command(screen: str) -> None:
    async def run() -> str:
        seat = sample_seat()
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.press(screen)
            await pilot.pause()
            before = type(seat.screen)
            for key in ("slash", *"tXsmd"):  # one read of a slow link: all are there before the first is looked at
                seat.post_message(events.Key(key, "/" if key == "slash" else key))
            await pilot.pause()
            await pilot.pause()
            assert type(seat.screen) is before
            return seat.screen_text()

    assert "tXsmd" in asyncio.run(run())


def test_marks_are_kept_and_counted() -> None:
    text = show("space", "space")
    assert "*■ALRM press-07" in text
    assert "2 marked" in text
    assert "marked" not in show("asterisk", "U")


def test_sites_have_a_subtotal_that_says_what_is_missing() -> None:
    assert "linz  4 nodes  ?2 UNKN  ·2 OK  49.6 inf/s without 2 unknown" in show("b")


def test_sorting_names_its_column_and_can_be_turned_round() -> None:
    assert "NODE▲" in show("s")
    assert "NODE▼" in show("s", "S")


def test_nothing_is_re_sorted_while_the_cursor_moves_and_the_cursor_keeps_its_node() -> None:
    fleet, clock = SampleFleet(), StillClock()

    async def run() -> None:
        seat = sample_seat(fleet, clock=clock)
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.press("down", "down", "down", "down", "down")
            await pilot.pause()
            page = seat.screen
            keys, cursor = list(page.table.keys), page.table.key  # type: ignore[attr-defined]
            sick = plant()["press-07"]
            assert sick.telemetry is not None
            well = fleet.views()["pump-03"]
            fleet.put(replace(well, telemetry=sick.telemetry))
            seat.tick()
            await pilot.pause()
            assert list(page.table.keys) == keys  # type: ignore[attr-defined]
            clock.pass_s(6.0)
            for name, view in list(fleet.views().items()):
                if view.telemetry_at_s is not None and view.telemetry is not None and name != "cast-05":
                    fleet.put(replace(view, telemetry_at_s=clock.now_s))
            seat.tick()
            await pilot.pause()
            assert page.table.keys[1] == "pump-03"  # type: ignore[attr-defined]
            assert page.table.key == cursor  # type: ignore[attr-defined]

    asyncio.run(run())


def test_records_show_what_the_model_said_and_a_digit_labels_one() -> None:
    async def run() -> tuple[str, dict[int, str]]:
        seat = sample_seat()
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.press("enter", "tab", "tab")
            await pilot.pause(0.1)
            text = seat.screen_text()
            await pilot.press("L")
            await pilot.pause()
            await pilot.press("2")
            await pilot.pause(0.1)
            return text, seat.operations.labels  # type: ignore[attr-defined]

    text, labels = asyncio.run(run())
    assert "14:02:30    0.03 healthy" in text
    assert labels == {400: "outer race"}


@pytest.mark.parametrize("keys", [("c",), ("enter", "shift+tab", "shift+tab"), ("2", "c")])
def test_checks_are_shown_worst_first_each_with_its_advice(keys: tuple[str, ...]) -> None:
    lines = show(*keys).splitlines()
    first = next(i for i, line in enumerate(lines) if "1 bad, 2 warn, 2 unknown, 8 ok" in line)
    assert lines[first + 2].split()[:2] == ["■", "connectors"]
    assert lines[first + 3].strip().startswith("> Look at cable")


def test_logs_of_many_nodes_are_on_one_time_axis() -> None:
    text = show("5")
    times = [line.split()[0] for line in text.splitlines()[3:-1] if line.strip()]
    assert times == sorted(times)
    assert "10 of 12 nodes" in text


def test_help_is_made_of_the_keys_of_its_screen() -> None:
    text = show("question_mark", size=(140, 60))
    assert "Deploy a bundle to this node (OPERATE)" in text
    assert "?UNKN   is not known" in text


def test_a_message_from_a_node_is_never_read_as_markup() -> None:
    views = plant()
    evil = replace(views["cast-05"], link_error="[/nope] [@click=app.quit]x[/] [red]y[/]")
    views["cast-05"] = evil
    assert "[@click=app.quit]x[/]" in show(fleet=SampleFleet(views), size=(140, 40))


def test_the_pictures_can_be_exported() -> None:
    async def run(seat: Seat) -> str:
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            return seat.export_screenshot()

    assert "press-07" in asyncio.run(run(sample_seat()))


def test_the_sentence_about_the_trial_window_is_whole_at_eighty_columns() -> None:
    text = " ".join(show("o", "d", "enter").split())
    assert "unconfirmed by then, the node goes back by itself; left and right change it" in text
