"""Hold: outputs at the safe value until a person releases them. One person, no lease, also from a monitor's login."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from nodeagent.api import Call, Endpoints
from nodeagent.protocol import Hold, Status
from nodeagent.runtime.runtime import Runtimes
from nodeagent.state.standing import Standing

REASON_CHARS_MAX = 512


@dataclasses.dataclass(frozen=True)
class HoldHandlers:
    """The outputs are held first and the order kept second; a release is kept first and done second."""

    standing: Standing
    runtimes: Runtimes
    status: Callable[[Call], Awaitable[Status]]

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/hold"): self.hold, ("POST", "/agent/v1/hold/release"): self.release}

    async def hold(self, call: Call) -> Hold:
        await self.runtimes.hold(True)
        return await self.standing.take_hold(call.actor, call.body.reason[:REASON_CHARS_MAX])

    async def release(self, call: Call) -> Status:
        await self.standing.release_hold(call.actor, call.body.reason[:REASON_CHARS_MAX])
        await self.runtimes.hold(False)
        return await self.status(call)
