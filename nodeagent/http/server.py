"""The agent's HTTP server, for the supervisor and the workers: listening sockets, open connections, their end.

It imports neither numpy nor onnxruntime. One server may serve several sockets of different roles. What a request may
hold depends on its path: blobs are read by their handler piece by piece, tensors may be large, all else is small JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal

from nodeagent import protocol
from nodeagent.http.body import BodyError, ClientGone
from nodeagent.http.connection import Connection
from nodeagent.http.incoming import Heads, as_http_error
from nodeagent.http.message import FastPath, Handler, Head, HttpError, Limits, Peer, Request, Response, error_response
from nodeagent.http.preface import peer_of

SWEEP_S = 1.0
ACCEPT_BACKLOG = 128
READ_BYTES = 256 << 10
_POLL_S = 0.002

__all__ = ["HttpError", "HttpServer", "Limits", "Request", "Response"]


class HttpServer:
    """Serves `handler` (and before it `fast`) on any number of sockets.

    `report` is told of every exception that a handler let out; the client gets INTERNAL without its text.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        fast: FastPath | None = None,
        limits: Limits | None = None,
        report: Callable[[BaseException], None],
        path_of_unreadable: str = protocol.API,
    ) -> None:
        self.fast = fast
        self.limits = limits or Limits()
        self.path_of_unreadable = path_of_unreadable  # gives the shape of errors for requests without a path
        self.heads = Heads(self.limits, self._admit)
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self.now_s = asyncio.get_running_loop().time()  # coarse: moved by sweep
        self.requests_lost_total = 0
        self._handler = handler
        self._report = report
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._releasing = False
        self._listeners: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"HttpServer(connections={len(self._connections)}, running={len(self._tasks)})"

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def serve(self, sock: socket.socket, *, role: Literal["operate", "monitor"] = "operate") -> None:
        """Accepts on a bound socket, which the server closes with itself; peers get `role` at most."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)

        def factory() -> _Accepted:
            return _Accepted(self, role)

        listener = await loop.create_server(factory, sock=sock, backlog=ACCEPT_BACKLOG)
        self._listeners.append(listener)
        self._keep_time()

    async def adopt(
        self, sock: socket.socket, leftover: bytes = b"", *, role: Literal["operate", "monitor"] = "operate"
    ) -> None:
        """Goes on with a connection that another server released, from `leftover` on."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        peer = peer_of(sock, role)
        await loop.connect_accepted_socket(lambda: Connection(self, peer, leftover), sock)
        self._keep_time()

    async def release(self, drain_s: float = 5.0) -> list[tuple[socket.socket, bytes]]:
        """Stops accepting, finishes what is under way and gives up the open connections with what arrived on them.

        The bytes hold, from its first one, any request that had not started. Connections that are still busy after
        `drain_s` stay here and are closed behind their last answer. The caller owns the sockets.
        """
        self._stop_accepting()
        self._releasing = True
        for connection in self._connections:
            connection.begin_release()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + drain_s
        released: list[tuple[socket.socket, bytes]] = []
        await asyncio.sleep(_POLL_S)  # connections that were just accepted come to be known
        while self._connections:
            for connection in [each for each in self._connections if each.quiet]:
                released.append(_detach(connection))
                self.closed(connection)
            if loop.time() >= deadline_s:
                break
            await asyncio.sleep(_POLL_S)
        for connection in list(self._connections):
            connection.close_when_quiet()
        return released

    async def close(self, drain_s: float = 5.0) -> None:
        """Stops accepting, closes idle connections, waits `drain_s` for answers under way, then cuts the rest."""
        self._stop_accepting()
        for connection in list(self._connections):
            connection.close_when_quiet()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), drain_s)
        for connection in list(self._connections):
            connection.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)  # aborted transports report their end in the next turn
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sweep(self, now_s: float) -> None:
        """Moves the coarse clock and ends connections that take too long."""
        self.now_s = now_s
        for connection in list(self._connections):
            connection.sweep(now_s)

    # ------------------------------------------------------------ for connections

    @property
    def full(self) -> bool:
        return len(self._connections) > self.limits.connections_max

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._empty.clear()
        if self._releasing:  # accepted just before the listener closed
            connection.begin_release()

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def hold(self, change_bytes: int) -> None:
        """Counts bodies that are being received. Raises HttpError where together they are too large."""
        self._held_bytes += change_bytes
        if change_bytes > 0 and self._held_bytes > self.limits.buffered_bytes_max:
            raise HttpError("LIMIT.BUSY", "too many large requests at once")

    def call(self, request: Request) -> Awaitable[Response] | Response:
        """The handler's answer or its coroutine; errors become answers."""
        try:
            return self._handler(request)
        except HttpError as error:
            return error_response(request.path, error)
        except Exception as error:  # noqa: BLE001 the border: whatever a handler lets out is answered and reported
            return self.failed(request, error)

    async def settle(self, request: Request, answer: Awaitable[Response]) -> Response:
        """Waits for a handler's answer; errors become answers."""
        try:
            return await answer
        except HttpError as error:
            return error_response(request.path, error)
        except BodyError as error:
            return error_response(request.path, as_http_error(error))
        except ClientGone as error:
            self.requests_lost_total += 1
            return error_response(request.path, HttpError("REQUEST.TIMEOUT", str(error)))
        except Exception as error:  # noqa: BLE001 the border: whatever a handler lets out is answered and reported
            return self.failed(request, error)

    def failed(self, request: Request, error: Exception) -> Response:
        """Reports what a handler let out; the answer to the client."""
        self._report(error)
        return error_response(request.path, HttpError("INTERNAL", "the agent failed at this request", "see its log"))

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a connection's coroutine to its end; close() ends it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(error)

    def _admit(self, head: Head) -> tuple[int, bool]:
        if head.path.startswith("/v2"):
            return self.limits.tensor_bytes_max, False
        if head.method == "PUT" and head.path.startswith(f"{protocol.API}/blobs/"):
            return self.limits.upload_bytes_max, True
        return self.limits.json_bytes_max, False

    def _stop_accepting(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _keep_time(self) -> None:
        if self._timer is None:
            self._tick()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.sweep(loop.time())
        self._timer = loop.call_later(SWEEP_S, self._tick)


class _Accepted(Connection):
    """A connection that was accepted here: its peer is known once there is a transport."""

    def __init__(self, server: HttpServer, role: Literal["operate", "monitor"]) -> None:
        self._role = role
        super().__init__(server, _UNKNOWN)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        self.incoming.peer = peer_of(sock, self._role)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)


_UNKNOWN = Peer()


def _detach(connection: Connection) -> tuple[socket.socket, bytes]:
    """A descriptor of the connection's own, which outlives the transport, and what arrived on it."""
    transport = connection.transport
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    leftover = connection.incoming.leftover()
    transport.abort()
    return sock, leftover
