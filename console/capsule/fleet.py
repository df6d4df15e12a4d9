"""A capsule as a fleet: `console.fleet.view.Fleet` at one moment of it, which is moved by hand."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from console import figures
from console.capsule.content import NodeCapsule
from console.capsule.file import Capsule
from console.fleet.view import LinkState, NodeAddress, NodeView
from nodeagent.protocol import LogLine, TrendPoint

TREND_VALUES: Final = 60


class CapsuleClock:
    """The moment that is looked at. Both clocks are the same: time here goes where the person goes."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def epoch_s(self) -> float:
        return self.now_s


class CapsuleFleet:
    """The nodes of a capsule at the clock's moment. What no frame tells of is not known."""

    def __init__(self, capsule: Capsule, clock: CapsuleClock) -> None:
        self.capsule, self._clock = capsule, clock
        self.nodes: Mapping[str, NodeCapsule] = {node.name: node for node in capsule.nodes}
        self._times = {
            node.name: [frame.wall_us / 1e6 - offset(node) for frame in node.frames] for node in capsule.nodes
        }
        self._version = 0
        self._views: dict[str, NodeView] = {}
        self.seek(clock.now_s)

    @property
    def version(self) -> int:
        return self._version

    def views(self) -> Mapping[str, NodeView]:
        return self._views

    def changed_since(self, version: int) -> frozenset[str]:
        return frozenset(self._views) if version < self._version else frozenset()

    async def follow_logs(self, name: str, after: int | None = None) -> AsyncIterator[LogLine]:
        """Nothing comes any more: all lines of a capsule are there from the first look on."""
        for line in self.nodes[name].logs:
            if after is not None and line.cursor > after:
                yield line
        await asyncio.Event().wait()

    def until_now(self, name: str, points: Sequence[TrendPoint]) -> list[TrendPoint]:
        """The points of a trend up to the moment that is shown."""
        last_us = (self._clock.now_s + offset(self.nodes[name])) * 1e6
        return [point for point in points if point.wall_us <= last_us]

    # -- time

    def move(self, seconds: float) -> str:
        """Goes so far, within the capsule; where it is then, in words."""
        manifest = self.capsule.manifest
        self.seek(max(manifest.first_s, min(manifest.last_s, self._clock.now_s + seconds)))
        return self.where()

    def seek(self, at_s: float) -> None:
        """Shows this moment."""
        self._clock.now_s = at_s
        self._version += 1
        self._views = {name: self._view(node) for name, node in self.nodes.items()}

    def where(self) -> str:
        """The moment that is shown, and how far it is from the one that the capsule is about."""
        away_s = self._clock.now_s - self.capsule.manifest.around_s
        side = "after" if away_s >= 0 else "before"
        moment = figures.moment(round(self._clock.now_s * 1e6))
        return f"{moment}, {figures.countdown(abs(away_s))} {side} the moment of this capsule"

    def _view(self, node: NodeCapsule) -> NodeView:
        labels = tuple((name, value) for name, value in node.labels)
        address = NodeAddress(
            node.name, "capsule", site=node.site, line=node.line, machine=node.machine, labels=labels,
            node_id=node.node_id,
        )  # fmt: skip
        broken = "" if node.ledger_verdict in ("", "verified", "not verified") else node.ledger_verdict
        times = self._times[node.name]
        place = bisect_right(times, self._clock.now_s)
        if not place:
            return NodeView(
                address, LinkState.DOWN, link_since_wall_s=self.capsule.manifest.first_s, ledger_break=broken,
                link_error=_nothing(node, times), status=None, clock_offset_s=node.offset_s,
            )  # fmt: skip
        return NodeView(
            address,
            LinkState.UP,
            link_since_wall_s=times[0],
            status=node.status,
            telemetry=node.frames[place - 1],
            telemetry_at_s=times[place - 1],
            clock_offset_s=node.offset_s,
            rate_trend=tuple(
                sum(bundle.inferences_per_s for bundle in frame.bundles)
                for frame in node.frames[max(0, place - TREND_VALUES) : place]
            ),
            ledger_break=broken,
        )


def offset(node: NodeCapsule) -> float:
    """How far the node's clock was ahead, in seconds; 0 where that could not be measured."""
    return node.offset_s or 0.0


def _nothing(node: NodeCapsule, times: list[float]) -> str:
    if times:
        first = figures.moment(round(times[0] * 1e6))
        return f"no telemetry of this moment; it begins at {first}. Charts, logs, records and ledger go further back"
    return "; ".join(node.missing) or "no telemetry of this node is in the capsule"
