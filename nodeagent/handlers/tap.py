"""What passes through a pipeline, stage by stage, as it passes; and the same sweeps through an edited one."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

from nodeagent.api import Call, Endpoints, Stream
from nodeagent.http.message import HttpError
from nodeagent.protocol import PipelineReplay, PipelineReplayRequest, Tap
from nodeagent.runtime.pipeline_replay_job import PipelineReplayJob, replay
from nodeagent.runtime.runtime import Runtimes
from store import durable

SWEEPS_MAX: Final = 20_000
PIPELINE_CHARS_MAX: Final = 256 << 10


@dataclasses.dataclass(frozen=True)
class TapHandlers:
    """One stream, query: `stage` for one stage alone; and replays, one at a time."""

    runtimes: Runtimes
    one: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    def endpoints(self) -> Endpoints:
        return {
            ("GET", "/agent/v1/tap/{bundle}"): self.tap,
            ("POST", "/agent/v1/tap/{bundle}/replay"): self.replay,
        }

    async def tap(self, call: Call) -> Stream:
        return Stream(self._sweeps(self._bundle(call), call.query_text("stage")))

    async def replay(self, call: Call) -> PipelineReplay:
        """Both pipelines over the newest sweeps, in a process of its own."""
        request: PipelineReplayRequest = call.body
        name = self._bundle(call)
        if not 0 < request.last <= SWEEPS_MAX or len(request.pipeline) > PIPELINE_CHARS_MAX:
            raise HttpError("REQUEST.MALFORMED", f"last is 1 to {SWEEPS_MAX}, a pipeline has at most 256 KiB")
        if self.one.locked():
            raise HttpError("LIMIT.BUSY", "another replay is running", "Wait for its end.")
        async with self.one:
            activation, path = await self.runtimes.past_sweeps(name, f"sweeps-{uuid.uuid4().hex}", request.last)
            try:
                return await replay(PipelineReplayJob(activation=activation, pipeline=request.pipeline, sweeps=path))
            finally:
                await asyncio.to_thread(durable.unlink, Path(path))

    def _bundle(self, call: Call) -> str:
        name = call.path["bundle"]
        if name not in {item.bundle for item in self.runtimes.telemetry()}:
            raise HttpError("MODEL.UNKNOWN", f"there is no bundle {name[:64]} on this node")
        return name

    async def _sweeps(self, name: str, stage: str) -> AsyncGenerator[Tap, None]:
        async for tap in self.runtimes.tap(name):
            if not stage or tap.stage == stage:
                yield tap
