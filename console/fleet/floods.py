"""A flood of alerts as one line: the same code at one site within a few minutes is one thing that happened. Pure.

ISA-18.2 calls it a flood when more come than a person can read. Nothing is hidden: a flood opens into its alerts, and
one that is urgent stands by itself at the top until it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from console.fleet.board import BoardAlert, NodeState

FLOOD_MIN: Final = 5
FLOOD_S: Final = 600.0
NAMES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Flood:
    """Alerts of one code at one place, in the board's order. One alone is an alert as it is."""

    place: str
    alerts: tuple[BoardAlert, ...]

    @property
    def first(self) -> BoardAlert:
        """The one that came first: what happened began there."""
        return min(self.alerts, key=lambda alert: alert.since_s)

    @property
    def worst(self) -> BoardAlert:
        """The one that stands for all in the order of the list."""
        return min(self.alerts, key=lambda alert: (not alert.waits, not alert.active, alert.priority, -alert.since_s))

    @property
    def key(self) -> str:
        """The same flood, from one look to the next."""
        return self.alerts[0].key if len(self.alerts) == 1 else f"flood/{self.place}/{self.alerts[0].code}"

    @property
    def is_flood(self) -> bool:
        return len(self.alerts) > 1

    @property
    def waiting(self) -> tuple[BoardAlert, ...]:
        """Those that nobody has acknowledged."""
        return tuple(alert for alert in self.alerts if alert.waits)

    @property
    def message(self) -> str:
        """What is read of it."""
        if not self.is_flood:
            return self.alerts[0].message
        nodes = sorted({alert.node for alert in self.alerts})
        names = ", ".join(nodes[:NAMES_SHOWN]) + (
            f" and {len(nodes) - NAMES_SHOWN} more" if len(nodes) > NAMES_SHOWN else ""
        )
        return f"{len(nodes)} nodes at {self.place or 'no site'}: {self.first.message} ({names})"


def group(alerts: Sequence[BoardAlert], nodes: Mapping[str, NodeState]) -> list[Flood]:
    """The alerts in the board's order, floods where their worst one stands."""
    places: dict[tuple[str, str], list[BoardAlert]] = {}
    for alert in alerts:
        if alert.active and not alert.acknowledged_by:
            state = nodes.get(alert.node)
            site = state.view.address.site if state is not None else ""
            places.setdefault((site, alert.code), []).append(alert)
    floods: dict[str, Flood] = {}
    for (site, _), members in places.items():
        for together in _bursts(members):
            if len({alert.node for alert in together}) >= FLOOD_MIN:
                flood = Flood(site, tuple(together))
                floods |= {alert.key: flood for alert in together}
    return _in_order(alerts, floods)


def _bursts(alerts: list[BoardAlert]) -> list[list[BoardAlert]]:
    """Alerts that came within FLOOD_S of the one before."""
    found: list[list[BoardAlert]] = []
    for alert in sorted(alerts, key=lambda alert: alert.since_s):
        if found and alert.since_s - found[-1][-1].since_s <= FLOOD_S:
            found[-1].append(alert)
        else:
            found.append([alert])
    return found


def _in_order(alerts: Sequence[BoardAlert], floods: Mapping[str, Flood]) -> list[Flood]:
    shown: set[int] = set()
    lines: list[Flood] = []
    for alert in alerts:
        flood = floods.get(alert.key)
        if flood is None:
            lines.append(Flood("", (alert,)))
        elif id(flood) not in shown:
            shown.add(id(flood))
            lines.append(flood)
    return lines
