"""Out of service: set by name with a reason, an owner and an expected end.

Past its end alerts are announced again by themselves; what it refuses it refuses until a person lifts it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from nodeagent.api import Call, Endpoints
from nodeagent.clock import Clock
from nodeagent.http.message import HttpError
from nodeagent.protocol import OutOfServiceRequest, Status
from nodeagent.state.standing import Standing

HOURS_MAX = 24.0 * 366
REASON_CHARS_MAX = 512
OWNER_CHARS_MAX = 64


@dataclasses.dataclass(frozen=True)
class ServiceHandlers:
    """One route."""

    standing: Standing
    clock: Clock
    status: Callable[[Call], Awaitable[Status]]

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/out-of-service"): self.change}

    async def change(self, call: Call) -> Status:
        request: OutOfServiceRequest = call.body
        standing = self.standing.out_of_service
        others = standing is not None and standing.by != call.actor
        if (others or not request.lift) and not request.reason.strip():
            who = standing.by if standing is not None and others else "you"
            raise HttpError("REQUEST.MALFORMED", f"a reason is needed: {who} took it out of service")
        if request.lift:
            if standing is not None:
                await self.standing.lift_out_of_service(call.actor, request.reason)
            return await self.status(call)
        if request.hours is not None and not 0 < request.hours <= HOURS_MAX:
            raise HttpError("REQUEST.MALFORMED", f"hours is more than 0 and at most {HOURS_MAX:.0f}")
        until_us = None if request.hours is None else self.clock.wall_us() + round(request.hours * 3.6e9)
        owner = request.owner.strip()[:OWNER_CHARS_MAX]
        await self.standing.set_out_of_service(call.actor, request.reason[:REASON_CHARS_MAX], until_us, owner)
        return await self.status(call)
