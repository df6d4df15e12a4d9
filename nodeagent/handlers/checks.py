"""The node looks at itself: what `outstation-agent check` and the console's checks show."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from nodeagent.api import Call, Endpoints
from nodeagent.checks.host import Host
from nodeagent.checks.node import Agent
from nodeagent.protocol import Check


@dataclasses.dataclass(frozen=True)
class CheckHandlers:
    """One route; each check answers by itself and none of them changes anything."""

    agent: Agent
    disk_days_left: Callable[[], float | None]

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/checks"): self.checks}

    async def checks(self, call: Call) -> list[Check]:
        from nodeagent.checks import all as checks  # what only this route needs

        parts = self.agent.parts
        host = Host(
            parts.state,
            parts.settings,
            parts.clock.wall_us() / 1e6,
            disk_days_left=self.disk_days_left(),
            watchdog_usec=os.environ.get("WATCHDOG_USEC", ""),
        )
        return await checks.of_node(self.agent, host)
