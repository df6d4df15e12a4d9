"""The front door: which part of the node answers a path. On TCP only /v2 is there at all."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Api
from nodeagent.handlers.metrics import PATH as METRICS
from nodeagent.handlers.metrics import MetricsHandlers
from nodeagent.http.message import HttpError, Request, Response
from nodeagent.protocol import API
from nodeagent.serving.forward import Forwarder


@dataclasses.dataclass(frozen=True)
class Front:
    """The handler of the node's HTTP server."""

    api: Api
    forwarder: Forwarder
    metrics: MetricsHandlers

    async def handle(self, request: Request) -> Response:
        """Answers, or raises HttpError."""
        path = request.path
        if path == "/v2" or path.startswith("/v2/"):
            return await self.forwarder.handle(request)
        if request.peer.kind != "tcp":
            if path.startswith(f"{API}/"):
                return await self.api.handle(request)
            if path == METRICS:
                return await self.metrics.metrics(request)
        raise HttpError("REQUEST.UNKNOWN_PATH", f"there is nothing at {path[:128]}")
