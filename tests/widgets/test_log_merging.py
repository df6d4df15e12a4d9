"""A log of several sources: one order of time whatever comes late, a cursor that stays, looked for in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from widgets.logview import SCAN_LINES, Entry, LogView


class One(App[None]):
    def __init__(self, view: LogView) -> None:
        super().__init__()
        self.view = view

    def compose(self) -> ComposeResult:
        yield self.view


def on(view: LogView, act: Callable[[Pilot[None]], Awaitable[None]]) -> None:
    async def run() -> None:
        app = One(view)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await act(pilot)

    asyncio.run(run())


def at(second: float, node: str = "a", text: str = "") -> Entry:
    return Entry(f"{second}", node, "info", "plc", text or f"line {second}", second)


def times(view: LogView) -> list[float]:
    return [entry.wall_s for entry in view.shown]


def test_lines_that_come_late_stand_where_their_time_is() -> None:
    view = LogView()

    async def act(_: Pilot[None]) -> None:
        view.extend([at(1), at(3), at(5)])
        view.extend([at(4, "b"), at(2, "b")])
        assert times(view) == [1, 2, 3, 4, 5]
        view.set_filter(words="line")
        view.extend([at(0.5), at(3.5)])
        assert times(view) == [0.5, 1, 2, 3, 3.5, 4, 5]
        assert times(view) == [e.wall_s for e in view.entries]

    on(view, act)


def test_the_cursor_stays_on_its_line_when_others_come_before_it_or_go() -> None:
    view = LogView(lines_max=200)

    async def act(_: Pilot[None]) -> None:
        view.extend([at(i) for i in range(100, 200)])
        view.go(50)
        line = view.current
        view.extend([at(i) for i in range(20)])
        assert view.current is line
        view.extend([at(i) for i in range(300, 390)])
        assert view.dropped
        assert view.current is line
        assert not view.following

    on(view, act)


def test_a_filter_keeps_the_place_in_time_and_finds_the_newest_lines_first() -> None:
    view = LogView()

    async def act(pilot: Pilot[None]) -> None:
        view.extend([at(i, text="odd" if i % 2 else "even") for i in range(3 * SCAN_LINES)])
        view.set_filter(words="odd")
        assert view.unscanned
        assert view.shown[-1].wall_s == 3 * SCAN_LINES - 1
        async with asyncio.timeout(30):
            while view.unscanned:
                await pilot.pause(0.01)
        assert len(view.shown) == 3 * SCAN_LINES // 2
        assert times(view) == sorted(times(view))
        view.go_to_time(101)
        assert view.current is not None
        assert view.current.wall_s == 101
        view.set_filter(words="")
        assert view.current is not None
        assert view.current.wall_s == 101

    on(view, act)


def test_a_filtered_log_that_is_full_drops_the_same_lines_as_the_whole_one() -> None:
    view = LogView(lines_max=100)

    async def act(_: Pilot[None]) -> None:
        view.set_filter(words="line")
        for begin in range(0, 500, 10):
            view.extend([at(begin + i) for i in range(10)])
        assert times(view) == [e.wall_s for e in view.entries]
        assert view.dropped + len(view.entries) == 500

    on(view, act)
