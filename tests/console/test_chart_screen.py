"""The chart screen: which figure, which time, which bundles, a cursor that reads, and latencies as a histogram."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from console.sample.fleet import SampleFleet, sample_seat
from console.sample.plant import plant
from console.screens.chart import ChartPage
from console.seat.seat import Seat
from console.seat.sheet import Sheet
from widgets.chartview import Picture

STUCK_S = 30.0


async def until(seat: Seat, is_so: Callable[[], bool]) -> None:
    """Lets the app go on until something is so."""
    async with asyncio.timeout(STUCK_S):
        while not is_so():  # noqa: ASYNC110 - what is waited for is a thread's picture on a screen
            await asyncio.sleep(0.01)


async def opened(seat: Seat) -> ChartPage:
    """The chart of the node under the cursor, drawn."""
    seat.go("chart", "press-07")
    await until(seat, lambda: isinstance(seat.screen, ChartPage))
    page = seat.screen
    assert isinstance(page, ChartPage)
    await until(seat, lambda: page.chart_view.picture is not None)
    return page


def with_two_bundles() -> SampleFleet:
    views = plant()
    view, other = views["press-07"], views["pump-03"].telemetry
    assert view.telemetry is not None
    assert other is not None
    telemetry = msgspec.structs.replace(view.telemetry, bundles=[*view.telemetry.bundles, *other.bundles])
    views["press-07"] = replace(view, telemetry=telemetry)
    return SampleFleet(views)


async def drawn(seat: Seat) -> None:
    """Waits until what was fetched is drawn: a picture is work that follows on work."""
    while workers := [w for w in seat.workers if w.group.startswith("work-")]:
        for worker in workers:
            await worker.wait()


def walk(
    *keys: str, fleet: SampleFleet | None = None, size: tuple[int, int] = (80, 24), marked: tuple[str, ...] = ()
) -> tuple[list[str], ChartPage]:
    """The screen before and after each of these keys, and its page as it is at the end."""

    async def run() -> tuple[list[str], ChartPage]:
        seat = sample_seat(fleet)
        async with seat.run_test(size=size) as pilot:
            await pilot.pause()
            seat.marked = frozenset(marked)
            page = await opened(seat)
            texts = [seat.screen_text()]
            for key in keys:
                await pilot.press(key)
                await pilot.pause()
                await drawn(seat)
                await pilot.pause()
                await drawn(seat)
                await pilot.pause()
                texts.append(seat.screen_text())
            return texts, page

    return asyncio.run(run())


def test_tab_goes_through_the_figures_each_with_its_unit_and_its_limits() -> None:
    rate, latency, score, rejects, host, histogram = walk("tab", "tab", "tab", "tab", "tab")[0]
    assert "inferences, 1/s" in rate
    assert "latency p95, ms" in latency
    assert "high 4.00 PRESS.SLOW" in latency
    assert "high 0.80 DECIDE" in score
    assert "rejects, % of sweeps" in rejects
    assert "o memory" in host
    assert "[histogram]" in histogram


def test_the_cursor_reads_a_column_and_esc_takes_it_away_before_it_leaves() -> None:
    texts, page = walk("left", "left", "shift+left", "right", "shift+left", "shift+left", "escape")
    picture = page.chart_view.picture
    assert isinstance(picture, Picture)
    assert " newest 14:02:" in texts[0]
    assert texts[4].count("│") > texts[0].count("│")
    readings = ["".join(text for text, _ in reading) for reading in picture.readings]
    assert texts[4].splitlines()[-2].rstrip() == readings[-11].rstrip()
    assert "? not known" in texts[6].splitlines()[-2]
    assert page.chart_view.cursor is None
    assert texts[7] == texts[0]


def test_zoom_goes_from_a_minute_to_thirty_days_and_says_where_it_ends() -> None:
    texts, page = walk("plus", "plus", "plus", "plus", *["minus"] * 8)
    assert "1 min" in texts[3].splitlines()[2]
    assert "14:02:00" in texts[3]
    assert "1 min is the shortest time" in texts[4]
    assert "30 d" in texts[-2].splitlines()[2]
    assert "30 d is the longest time" in texts[-1]
    assert len(page.trends["press-07", "bearing"].points) <= 160


def test_b_goes_through_the_bundles_and_then_all_of_them() -> None:
    first, second, both, again = walk("b", "b", "b", fleet=with_two_bundles())[0]
    assert "⠒⠒ bearing\n" in first
    assert "⠒⠒ pump\n" in second
    assert "⠒⠒ bearing   o pump" in both
    assert again == first


def test_marked_nodes_are_put_beside_this_one() -> None:
    texts, page = walk("n", marked=("press-01", "press-07", "cast-05"))
    assert "⠒⠒ press-07   o press-01" in texts[1]
    assert set(page.trends) == {("press-07", "bearing"), ("press-01", "bearing")}


def test_a_key_with_nothing_to_do_says_why() -> None:
    texts, _ = walk("n", "b")
    assert "no other node is marked" in texts[1]
    assert "press-07 has one bundle" in texts[2]


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_the_histogram_is_of_what_telemetry_says_and_has_its_own_cursor(size: tuple[int, int]) -> None:
    _, histogram, read, trend = walk("H", "left", "H", size=size)[0]
    assert "answers by latency" in histogram
    assert "limit of p95 4.00 ms" in histogram
    assert "took at most" in read.splitlines()[-2]
    assert "latency p95, ms" in trend


def test_a_node_that_does_not_answer_is_told_and_its_last_latencies_are_not_shown() -> None:
    views = plant()
    views["press-07"] = replace(views["press-07"], telemetry_at_s=None)

    async def run() -> str:
        seat = sample_seat(SampleFleet(views))
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            seat.go("chart", "press-07")
            await pilot.pause()
            await pilot.press("H")
            await pilot.pause()
            return seat.screen_text()

    text = asyncio.run(run())
    assert "?UNKN press-07" in text
    assert "press-07 tells no latencies" in text


def test_every_point_can_be_exported_and_the_picture_copied() -> None:
    async def run() -> tuple[Sheet | None, str]:
        seat = sample_seat()
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            page = await opened(seat)
            return page.sheet(), page.yank_text()

    made, copied = asyncio.run(run())
    assert made is not None
    assert made.columns == ("time", "series", "inferences, 1/s")
    assert sum(1 for row in made.rows if not row[2]) > 5
    assert "newest 14:02:" in copied


def test_the_records_tab_shows_those_of_the_bundle_that_is_chosen() -> None:
    async def run() -> tuple[list[str], list[str]]:
        seat = sample_seat(with_two_bundles())
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            seat.go("node", "press-07")
            await pilot.pause()
            texts, bundles = [], []
            for key in ("b", "b", "b"):
                await pilot.press(key)
                await pilot.pause()
                await drawn(seat)
                await pilot.pause()
                texts.append(seat.screen_text())
                bundles += [{record.bundle for record in seat.screen.records_pane.records.values()}]  # type: ignore[attr-defined]
            return texts, bundles

    texts, bundles = asyncio.run(run())
    assert bundles == [{"bearing"}, {"pump"}, {"bearing"}]
    assert "[Records pump]" in texts[1].splitlines()[2]
