"""The lease: which console may change deployments and bindings now."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.http.message import HttpError
from nodeagent.protocol import Lease, LeaseRequest
from nodeagent.state.standing import Standing

HOLDER_CHARS_MAX = 128


@dataclasses.dataclass(frozen=True)
class LeaseHandlers:
    """Taking, renewing, giving back."""

    standing: Standing

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/lease"): self.show, ("POST", "/agent/v1/lease"): self.take}

    async def show(self, call: Call) -> Lease | None:
        return self.standing.lease

    async def take(self, call: Call) -> Lease:
        """The answer to a release is the lease with no time left."""
        request: LeaseRequest = call.body
        if not 0 < len(request.holder) <= HOLDER_CHARS_MAX:
            raise HttpError("REQUEST.MALFORMED", f"holder has 1 to {HOLDER_CHARS_MAX} characters")
        if request.release:
            if request.token is None:
                raise HttpError("REQUEST.MALFORMED", "a release names its token")
            await self.standing.release_lease(call.actor, request.token)
            return Lease(holder=request.holder, token=request.token, seconds_left=0.0)
        if request.token is not None:
            return await self.standing.renew_lease(call.actor, request.token)
        return await self.standing.take_lease(call.actor, request.holder, break_held=request.break_held)
