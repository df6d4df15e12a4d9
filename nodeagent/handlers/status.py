"""Who the node is and how it does: status, the telemetry stream, trends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from nodeagent.api import Call, Endpoints, Stream
from nodeagent.health.telemeter import PERIOD_S, PERIOD_S_MAX, Telemeter
from nodeagent.health.trend import MINUTE_S, PERIOD_STEP_S, QUARTER_S, STEP_S, Trends, folded
from nodeagent.http.message import HttpError
from nodeagent.protocol import PROTOCOL_MAJOR, PROTOCOL_MINOR, Status, Trend, TrendLimit, TrendPoint
from nodeagent.settings import Settings
from nodeagent.state.database import NodeDatabase
from store.node import trend as rows

HOURS_MAX = 31 * 24.0
POINTS_MIN = 10
# Up to so many hours back a trend has steps of so many seconds, where the node has been there for so long.
STEPS: Final = ((5 / 60, PERIOD_STEP_S), (1.0, STEP_S), (50.0, float(MINUTE_S)), (HOURS_MAX, float(QUARTER_S)))
CURSOR_MAX = (1 << 63) - 1


@dataclasses.dataclass(frozen=True)
class StatusHandlers:
    """Reads only."""

    node_id: str
    settings: Settings
    telemeter: Telemeter
    trends: Trends
    database: NodeDatabase
    signers: Callable[[], int]
    version: str
    limits: Callable[[str], Sequence[TrendLimit]] = lambda _: ()

    def endpoints(self) -> Endpoints:
        return {
            ("GET", "/agent/v1/status"): self.status,
            ("GET", "/agent/v1/telemetry"): self.telemetry,
            ("GET", "/agent/v1/trend"): self.trend,
        }

    async def status(self, call: Call) -> Status:
        monitor = self.settings.node.access == "monitor" or call.peer.role == "monitor"
        return Status(
            node_id=self.node_id,
            name=self.settings.node.name,
            agent_version=self.version,
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=PROTOCOL_MINOR,
            access="monitor" if monitor else "operate",
            actor=call.actor,
            signers=self.signers(),
            telemetry=self.telemeter.now(),
        )

    async def telemetry(self, call: Call) -> Stream:
        """One line a period: `period_s` is 1 to 60; `after`, of the run `started_us`, goes on behind a cursor."""
        text = call.query_text("period_s") or str(PERIOD_S)
        try:
            period_s = float(text)
        except ValueError:
            period_s = 0.0
        if not PERIOD_S <= period_s <= PERIOD_S_MAX:
            raise HttpError("REQUEST.MALFORMED", f"period_s is a number from {PERIOD_S:.0f} to {PERIOD_S_MAX:.0f}")
        after = call.query_int("after", -1, minimum=-1, maximum=CURSOR_MAX)
        started_us = call.query_int("started_us", -1, minimum=-1, maximum=CURSOR_MAX)
        lines = self.telemeter.follow(
            period_s,
            after=None if after < 0 else after,
            started_us=None if started_us < 0 else started_us,
        )
        return Stream(lines)

    async def trend(self, call: Call) -> Trend:
        """`bundle` (empty: the host), `hours` back from now, `points` at most; the finest steps that reach so far."""
        bundle, text = call.query_text("bundle"), call.query_text("hours")
        try:
            hours = float(text or 1.0)
        except ValueError:
            hours = 0.0
        if not 0 < hours <= HOURS_MAX:
            raise HttpError("REQUEST.MALFORMED", f"hours is a number up to {HOURS_MAX:.0f}")
        points_max = call.query_int("points", rows.POINTS_MAX, minimum=POINTS_MIN, maximum=rows.POINTS_MAX)
        step_s, points = await self._reaching(bundle, hours)
        step_s, points = folded(points, step_s, points_max)
        return Trend(bundle=bundle, step_s=step_s, points=points, limits=list(self.limits(bundle)))

    async def _reaching(self, bundle: str, hours: float) -> tuple[float, list[TrendPoint]]:
        """Of the steps that are made for so many hours, and then of all others, those that reach furthest back.

        An hour in memory is short after a restart: then the minutes that were kept tell more. A node that is an hour
        old has hardly a quarter of an hour that is done: then its seconds do.
        """
        began_us = self.telemeter.now().wall_us - round(hours * 3_600e6)
        fit = [step_s for hours_max, step_s in STEPS if hours <= hours_max]
        finer = [step_s for _, step_s in reversed(STEPS) if step_s not in fit]
        found: tuple[float, list[TrendPoint]] = (fit[0], [])
        for step_s in (*fit, *finer):
            points = [point for point in await self._steps(bundle, step_s) if point.wall_us >= began_us]
            if points and (not found[1] or points[0].wall_us + step_s * 1e6 < found[1][0].wall_us):
                found = step_s, points
            if points and points[0].wall_us <= began_us + 2 * step_s * 1e6:
                break
        return found

    async def _steps(self, bundle: str, step_s: float) -> list[TrendPoint]:
        if step_s <= STEP_S:
            return self.trends.points(bundle, step_s)
        kept = await self.database.read(rows.points, bundle, int(step_s))
        return [TrendPoint(*point[1:]) for point in kept]
