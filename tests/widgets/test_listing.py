"""The cursor stays on its item, and nothing is re-sorted under it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.app import App, ComposeResult

from widgets.lines import Listing
from widgets.logview import Entry, LogView


class ListApp(App[None]):
    def __init__(self, widget: Listing | LogView) -> None:
        super().__init__()
        self.shown = widget

    def compose(self) -> ComposeResult:
        yield self.shown


def on(widget: Listing | LogView, act: Callable[[], None] | Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with ListApp(widget).run_test(size=(40, 12)) as pilot:
            widget.focus()
            await pilot.pause()
            answer = act()
            if answer is not None:
                await answer
            await pilot.pause()

    asyncio.run(run())


def test_the_cursor_follows_its_item_and_the_item_keeps_its_place_on_the_screen() -> None:
    listing = Listing()

    def act() -> None:
        listing.set_keys([f"n{i:03}" for i in range(100)])
        listing.select("n050")
        before = listing.at - listing.top
        listing.set_keys([f"n{i:03}" for i in reversed(range(100))])
        assert listing.key == "n050"
        assert listing.at - listing.top == before

    on(listing, act)


def test_when_the_item_is_gone_the_cursor_stays_where_it_was() -> None:
    listing = Listing()

    def act() -> None:
        listing.set_keys(["a", "b", "c", "d"])
        listing.select("c")
        listing.set_keys(["a", "b", "d"])
        assert listing.key == "d"
        listing.set_keys([])
        assert listing.key is None

    on(listing, act)


def test_paging_reaches_both_ends_and_no_further() -> None:
    listing = Listing()

    def act() -> None:
        listing.set_keys([f"n{i:03}" for i in range(100)])
        for _ in range(20):
            listing.action_page(1)
        assert listing.key == "n099"
        listing.action_edge(-1)
        assert (listing.key, listing.top) == ("n000", 0)

    on(listing, act)


def entries(count: int, level: str = "info") -> list[Entry]:
    return [Entry("14:02:31", "press-07", level, "plc", f"line {i}") for i in range(count)]


def test_a_log_follows_only_while_it_is_at_its_end() -> None:
    view = LogView()

    def act() -> None:
        view.extend(entries(100))
        assert view.top == 100 - view.size.height
        view.action_page(-2)
        top = view.top
        view.extend(entries(50))
        assert view.top == top
        view.action_follow()
        assert view.following

    on(view, act)


def test_a_log_keeps_so_many_lines_and_counts_what_it_dropped() -> None:
    view = LogView(lines_max=1_000)

    def act() -> None:
        view.extend(entries(1_000))
        view.extend(entries(10))
        assert len(view.entries) <= 1_000
        assert view.dropped + len(view.entries) == 1_010

    on(view, act)


def test_a_log_is_filtered_by_level_and_words_and_the_other_way_round() -> None:
    view = LogView()

    def act() -> None:
        view.extend([*entries(3), *entries(2, "error")])
        view.set_filter(level="warning")
        assert len(view.shown) == 2
        view.set_filter(level="debug", words="line 1")
        assert len(view.shown) == 2
        view.set_filter(words="!line 1")
        assert len(view.shown) == 3

    on(view, act)
