"""What passes through a pipeline, stage by stage, as it passes."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator

from nodeagent.api import Call, Endpoints, Stream
from nodeagent.http.message import HttpError
from nodeagent.protocol import Tap
from nodeagent.runtime.runtime import Runtimes


@dataclasses.dataclass(frozen=True)
class TapHandlers:
    """One stream; query: `stage` for one stage alone."""

    runtimes: Runtimes

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/tap/{bundle}"): self.tap}

    async def tap(self, call: Call) -> Stream:
        name = call.path["bundle"]
        if name not in {item.bundle for item in self.runtimes.telemetry()}:
            raise HttpError("MODEL.UNKNOWN", f"there is no bundle {name[:64]} on this node")
        return Stream(self._sweeps(name, call.query_text("stage")))

    async def _sweeps(self, name: str, stage: str) -> AsyncGenerator[Tap, None]:
        async for tap in self.runtimes.tap(name):
            if not stage or tap.stage == stage:
                yield tap
