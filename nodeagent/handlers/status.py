"""Who the node is and how it does: status, the telemetry stream, trends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from nodeagent.api import Call, Endpoints, Stream
from nodeagent.health.telemeter import PERIOD_S, PERIOD_S_MAX, Telemeter
from nodeagent.health.trend import STEP_S, Trends
from nodeagent.http.message import HttpError
from nodeagent.protocol import PROTOCOL_MAJOR, PROTOCOL_MINOR, Status, Trend, TrendPoint
from nodeagent.settings import Settings
from nodeagent.state.database import NodeDatabase
from store.node import trend as rows

MINUTE_S = 60
HOURS_MAX = 50.0
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
        """`bundle` (empty: the host), `hours` back from now: up to one hour in steps of 10 s, beyond that minutes."""
        bundle, text = call.query_text("bundle"), call.query_text("hours")
        try:
            hours = float(text or 1.0)
        except ValueError:
            hours = 0.0
        if not 0 < hours <= HOURS_MAX:
            raise HttpError("REQUEST.MALFORMED", f"hours is a number up to {HOURS_MAX:.0f}")
        if hours <= 1:
            points_max = round(hours * 3600 / STEP_S)
            return Trend(bundle=bundle, step_s=STEP_S, points=self.trends.points(bundle)[-points_max:])
        points = await self.database.read(rows.points, bundle, MINUTE_S, round(hours * 60))
        return Trend(bundle=bundle, step_s=float(MINUTE_S), points=[TrendPoint(*point[1:]) for point in points])
