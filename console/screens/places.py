"""Which screen a place is. Screens are made when they are first gone to."""

from __future__ import annotations

from console.screens.page import Page
from widgets.look import Look


def page_for(place: tuple[str, str], look: Look) -> Page:
    """The screen of a place (`screen`, `node`). Raises KeyError for a screen that does not exist."""
    screen, node = place
    if screen == "alerts":
        from console.screens.alerts import AlertsPage

        return AlertsPage(look)
    if screen == "logs":
        from console.screens.logs import LogsPage

        return LogsPage(look, node)
    if screen == "node":
        from console.screens.node import NodePage

        return NodePage(look, node)
    if screen == "chart":
        from console.screens.chart import ChartPage

        return ChartPage(look, node)
    if screen == "rollouts":
        from console.screens.rollouts import RolloutsPage

        return RolloutsPage(look)
    if screen == "watch":
        from console.screens.watch import WatchPage

        return WatchPage(look, node)
    if screen == "catalog":
        from console.screens.catalog import CatalogPage

        return CatalogPage(look)
    if screen == "records":
        from console.screens.records import RecordsOfAllPage

        return RecordsOfAllPage(look)
    if screen == "ledger":
        from console.screens.ledger import LedgerPage

        return LedgerPage(look)
    if screen == "chain":
        from console.screens.chain import ChainPage

        return ChainPage(look, node)
    raise KeyError(screen)
