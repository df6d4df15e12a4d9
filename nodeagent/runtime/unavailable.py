"""Answers 503 with the reason on a model's socket while it has no worker, so that clients do not hang."""

from __future__ import annotations

from collections.abc import Callable

from nodeagent.http.message import HttpError, Request, Response, error_response
from nodeagent.http.server import HttpServer
from nodeagent.processes.launcher_client import LauncherClient

RETRY_AFTER_S = 1


class Unavailable:
    """The stand-in for one bundle's worker."""

    def __init__(self, launcher: LauncherClient, socket_name: str, reason: Callable[[], str]) -> None:
        self._launcher = launcher
        self._socket_name = socket_name
        self._reason = reason
        self._server: HttpServer | None = None

    async def open(self) -> None:
        """Accepts on the model's socket. Once is enough."""
        if self._server is None:
            self._server = HttpServer(self._answer, report=_impossible, path_of_unreadable="/v2")
            await self._server.serve(await self._launcher.listen(self._socket_name))

    async def close(self) -> None:
        """Stops accepting: the worker does."""
        server, self._server = self._server, None
        if server is not None:
            await server.close(drain_s=0.5)

    def _answer(self, request: Request) -> Response:
        response = error_response(request.path, HttpError("MODEL.UNAVAILABLE", self._reason()))
        response.headers = {"retry-after": str(RETRY_AFTER_S)}
        return response


def _impossible(error: BaseException) -> None:
    """The handler above lets nothing out."""
    raise error
