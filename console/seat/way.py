"""The way about: which place is shown, and those that were before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from console.screens.page import Page
    from console.seat.seat import Seat

PLACES_MAX: Final = 50

# A screen, and the node it is about.
Place = tuple[str, str]
FLEET: Final[Place] = ("fleet", "")


class Way:
    """Places in the order they were gone to. Screens are kept, so that a place is found as it was left."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._places: list[Place] = [FLEET]
        self._at = 0
        self._pages: dict[Place, Page] = {}

    def go(self, place: Place) -> None:
        """Shows a place and remembers it."""
        if place != self._places[self._at]:
            self._places = [*self._places[: self._at + 1], place][-PLACES_MAX:]
            self._at = len(self._places) - 1
        self._show(place)

    def do_history_back(self) -> None:
        """One place back; at the first one nothing happens."""
        if self._at > 0:
            self._at -= 1
            self._show(self._places[self._at])

    def do_history_on(self) -> None:
        if self._at < len(self._places) - 1:
            self._at += 1
            self._show(self._places[self._at])

    def do_screen_fleet(self) -> None:
        self.go(FLEET)

    def do_screen_alerts(self) -> None:
        self.go(("alerts", ""))

    def do_screen_rollouts(self) -> None:
        self.go(("rollouts", ""))

    def do_screen_catalog(self) -> None:
        self.go(("catalog", ""))

    def do_screen_records(self) -> None:
        self.go(("records", ""))

    def do_screen_ledger(self) -> None:
        self.go(("ledger", ""))

    def do_screen_logs(self) -> None:
        self.go(("logs", ""))

    def do_logs_of(self) -> None:
        node = self._seat.page.node() if self._seat.page else None
        if node is not None:
            self.go(("logs", node))

    def do_checks(self) -> None:
        """The checks of the node under the cursor: a tab of its screen."""
        from console.screens.node import CHECKS

        self._to_tab(CHECKS)

    def do_alert_rules(self) -> None:
        """Its alert rules, another tab."""
        from console.screens.node import RULES

        self._to_tab(RULES)

    def _to_tab(self, tab: int) -> None:
        from console.screens.node import NodePage

        node = self._seat.page.node() if self._seat.page else None
        if node is None:
            return
        page = self._page(("node", node))
        assert isinstance(page, NodePage)
        page.first_tab = tab
        self.go(("node", node))
        if page.is_mounted:
            page.open_tab(tab)

    def _show(self, place: Place) -> None:
        """The fleet is always at the bottom, one other place above it, views above that."""
        seat = self._seat
        depth = 1 if place == FLEET else 2
        page = self._page(place) if depth == 2 else seat.screen_stack[0]
        while len(seat.screen_stack) > depth:
            seat.pop_screen()
        if page is seat.screen:
            return
        if not seat.is_screen_installed(page):
            seat.install_screen(page, " ".join(place).strip())
        if len(seat.screen_stack) == depth:
            seat.switch_screen(page)
        else:
            seat.push_screen(page)

    def _page(self, place: Place) -> Page:
        from console.screens.places import page_for

        if place not in self._pages:
            self._pages[place] = page_for(place, self._seat.look)
        return self._pages[place]
