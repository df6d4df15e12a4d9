"""One HTTP/1.1 connection: requests to the handler, answers out in the order of the requests, flow and time.

Requests of the fast path may be under way together (a pipelining peer gets them batched); any other request runs alone
on its connection. A handler's coroutine is not cancelled when the client goes, since it may be changing state; only a
streamed answer is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from nodeagent.http.body import BodyError, ClientGone
from nodeagent.http.incoming import Incoming, as_http_error
from nodeagent.http.message import Head, HttpError, Peer, Request, Response, error_response, response_head
from nodeagent.http.stream import send_stream

if TYPE_CHECKING:
    from nodeagent.http.server import HttpServer

READ_AHEAD_BYTES_MAX = 256 << 10
JOIN_BYTES_MAX = 64 << 10  # a body up to this is sent with its head in one write


class Exchange:
    """One request on its way: keeps its place in the order of answers."""

    __slots__ = ("_connection", "head", "response")

    def __init__(self, connection: Connection, head: Head | None) -> None:
        self._connection = connection
        self.head = head
        self.response: Response | None = None

    def reply(self, response: Response) -> None:
        """The answer; a second one for the same request is a bug and raises."""
        if self.response is not None:
            raise RuntimeError("a request was answered twice")
        self.response = response
        self._connection.answered()


class Connection(asyncio.BufferedProtocol):
    """Owned by its server, which sweeps it once a second for timeouts."""

    def __init__(self, server: HttpServer, peer: Peer, leftover: bytes = b"") -> None:
        self.releasing = False
        self.transport: asyncio.Transport
        self.incoming = Incoming(peer, server.heads, server.limits, server.hold)
        self._server = server
        self._leftover = leftover
        self._queue: deque[Exchange] = deque()
        self._held: tuple[Request, Exchange] | None = None
        self._alone = False  # a request that is not of the fast path is under way
        self._stream: asyncio.Task[None] | None = None
        self._last = False  # no request after those under way
        self._unreadable = False  # bytes that belong to no request may still come
        self._lingering = False
        self._lost = False
        self._advancing = False
        self._flush_due = False
        self._reading = True
        self._writable: asyncio.Event | None = None  # made when the peer reads too slowly
        self._seen_s = server.now_s
        self._since_s = server.now_s  # when the request that is being received began
        self._stalled_s: float | None = None

    def __repr__(self) -> str:
        state = "lost" if self._lost else "lingering" if self._lingering else "open"
        waiting, buffered = len(self._queue), len(self.incoming.buffer)
        return f"Connection({state}, waiting={waiting}, buffered={buffered}, in_body={self.incoming.in_body})"

    # ------------------------------------------------------------ what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.opened(self)
        if self._server.full:
            self._refuse(HttpError("LIMIT.BUSY", "too many connections"))
        elif self._leftover:
            leftover, self._leftover = self._leftover, b""
            self.received(leftover)

    def get_buffer(self, sizehint: int) -> memoryview:
        """One buffer for all connections: asyncio's own way allocates 256 KiB for each read, three times the cost."""
        return self._server.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received(bytes(self._server.read_buffer[:nbytes]))

    def received(self, data: bytes) -> None:
        """Bytes of the client, from the socket or left over by another server."""
        if not self._lingering:  # whoever goes on sending after an error gains no time by it
            self._seen_s = self._server.now_s
            if not self.incoming.buffer and not self.incoming.in_body:
                self._since_s = self._seen_s
            self.incoming.feed(data)
            self._advance()

    def eof_received(self) -> bool:
        """A client may close its half and still wait for what is under way."""
        self._last = True
        self.incoming.fail_upload(ClientGone("the client closed before the end of the body"))
        return bool(self._queue)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if not self.incoming.fail_upload(ClientGone("the connection was lost before the end of the body")):
            self.incoming.drop()
        if self._writable is not None:
            self._writable.set()
        if self._stream is not None:
            self._stream.cancel()
        self._queue.clear()
        self._server.closed(self)

    def pause_writing(self) -> None:
        self._stalled_s = self._server.now_s

    def resume_writing(self) -> None:
        self._stalled_s = None
        if self._writable is not None:
            self._writable.set()
        self._advance()

    # ------------------------------------------------------------ requests in

    def _advance(self) -> None:
        """Starts every request that has arrived whole and may start now."""
        if self._advancing:
            return
        self._advancing = True
        incoming = self.incoming
        try:
            while incoming.buffer and not self._lingering and (incoming.in_body or self._may_start()):
                before = len(incoming.buffer)
                request = incoming.next()
                if request is not None:
                    self._start(request)
                elif len(incoming.buffer) == before:
                    break
        except HttpError as error:
            self._refuse(error)
        except BodyError as error:
            if incoming.fail_upload(error):  # the handler answers, and that answer is the last
                self._last = self._unreadable = True
            else:
                self._refuse(as_http_error(error))
        finally:
            self._advancing = False
        if incoming.owes_continue and incoming.reader is None and not self._queue:
            self._continue()
        self._throttle()

    def _may_start(self) -> bool:
        return not (
            self._alone
            or self._last
            or self.releasing
            or self._stalled_s is not None
            or len(self._queue) >= self._server.limits.pipeline_max
        )

    def _continue(self) -> None:
        """The client waits for leave to send its body."""
        if self.incoming.owes_continue and not self._lost:
            self.incoming.owes_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _start(self, request: Request) -> None:
        head = request.head
        self._last = not head.keep_alive
        exchange = Exchange(self, head)
        self._queue.append(exchange)
        fast = self._server.fast
        try:
            if fast is not None and request.reader is None and fast(request, exchange.reply):
                return
        except Exception as error:  # noqa: BLE001 the border: as for a handler
            response = self._server.failed(request, error)
            if exchange.response is None:
                exchange.reply(response)
            return
        self._alone = True
        if request.reader is not None:
            request.reader.on_start = self._continue
            request.reader.on_space = self._throttle
        if len(self._queue) == 1:
            self._run(request, exchange)
        else:
            self._held = (request, exchange)  # behind those before it

    def _run(self, request: Request, exchange: Exchange) -> None:
        result = self._server.call(request)
        if isinstance(result, Response) and result.stream is None:
            exchange.reply(result)
        else:
            self._server.own(self._answer(request, exchange, result))

    async def _answer(self, request: Request, exchange: Exchange, result: Awaitable[Response] | Response) -> None:
        response = result if isinstance(result, Response) else await self._server.settle(request, result)
        if response.stream is not None:
            self._last = self._last or request.head.http_1_0
            self._stream = asyncio.current_task()
            try:
                await send_stream(self, response, request.head, close=self._last)
            finally:
                self._stream = None
        if not self._lost:
            exchange.reply(response)

    async def writable(self) -> bool:
        """Waits until the peer has read enough; False: it is gone."""
        if self._stalled_s is not None and not self._lost:
            self._writable = asyncio.Event()
            await self._writable.wait()
            self._writable = None
        return not self._lost

    # ------------------------------------------------------------ answers out

    def answered(self) -> None:
        """An exchange got its response: writes what is next in order; several at once in one write."""
        if self._lost or self._queue[0].response is None:
            return
        if len(self._queue) == 1:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        out: list[bytes] = []
        queue = self._queue
        while queue and (response := queue[0].response) is not None:
            exchange = queue.popleft()
            if response.stream is not None:
                continue  # was written piece by piece
            if self._alone and not queue and self.incoming.in_body:
                self._last = self._unreadable = True  # the handler answered without reading the whole upload
            out.append(response_head(response, close=self._last and not queue))
            if exchange.head is None or exchange.head.method != "HEAD":
                out.append(response.body)
        if self._lost:
            return
        if len(out) == 2 and len(out[1]) > JOIN_BYTES_MAX:
            self.transport.write(out[0])
            self.transport.write(out[1])
        elif out:
            self.transport.write(b"".join(out))
        self._go_on()

    def _go_on(self) -> None:
        if self._held is not None and len(self._queue) == 1:
            (request, exchange), self._held = self._held, None
            self._run(request, exchange)
        elif not self._queue and self._last:
            self._end()
        else:
            self._alone = self._alone and bool(self._queue)
            incoming = self.incoming
            if incoming.buffer or incoming.owes_continue or not self._reading:
                self._advance()

    def _refuse(self, error: HttpError) -> None:
        """Answers a request that cannot be read; behind it nothing can."""
        path = self.incoming.head.path if self.incoming.head is not None else self._server.path_of_unreadable
        self.incoming.drop()
        self._last = self._unreadable = True
        exchange = Exchange(self, None)
        self._queue.append(exchange)
        exchange.reply(error_response(path, error))

    def _end(self) -> None:
        """Closes after what was written; where the client still sends, reads on a while so that it gets the answer."""
        if self._unreadable and self.transport.can_write_eof() and not self.transport.is_closing():
            self.incoming.fail_upload(ClientGone("the request was answered before the end of its body"))
            self.incoming.buffer = b""
            self._lingering = True
            self._seen_s = self._server.now_s
            self._throttle()
            self.transport.write_eof()
        else:
            self.transport.close()

    # ------------------------------------------------------------ flow and time

    def _throttle(self) -> None:
        incoming = self.incoming
        full = len(incoming.buffer) > READ_AHEAD_BYTES_MAX or (incoming.reader is not None and incoming.reader.full)
        reading = self._lingering or not (full or self.releasing)
        if reading != self._reading and not self._lost:
            self._reading = reading
            if reading:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def sweep(self, now_s: float) -> None:
        """Ends what takes too long. Called about once a second."""
        limits = self._server.limits
        incoming = self.incoming
        if self._stalled_s is not None:
            if now_s - self._stalled_s > limits.write_stall_s:
                self.transport.abort()
        elif self._lingering:
            if now_s - self._seen_s > limits.linger_s:
                self.transport.abort()
        elif incoming.in_body:
            if incoming.reader is None:
                slow = max(now_s - self._since_s - limits.body_s, now_s - self._seen_s - limits.body_idle_s)
            else:
                slow = 0 if incoming.reader.full else now_s - self._seen_s - limits.body_idle_s
            if slow > 0:
                self._time_out("the body did not arrive in time")
        elif self._queue or self.releasing:
            return
        elif incoming.buffer:
            if now_s - self._since_s > limits.head_s:
                self._time_out("the head did not arrive in time")
        elif now_s - self._seen_s > limits.idle_s:
            self.transport.close()

    def _time_out(self, text: str) -> None:
        if self.incoming.fail_upload(ClientGone(text)):
            self._last = self._unreadable = True
        else:
            self._refuse(HttpError("REQUEST.TIMEOUT", text))

    # ------------------------------------------------------------ handing over, stopping

    def begin_release(self) -> None:
        """Starts no more requests. A body that a handler is reading goes on, and its answer is the last."""
        if self.incoming.reader is None:
            self.releasing = True
            self._throttle()
        else:
            self._last = True

    @property
    def quiet(self) -> bool:
        """Nothing is under way, nothing waits to be written, and the connection is to live on."""
        ended = self._last or self._lingering or self._lost
        return not (self._queue or ended) and self.transport.get_write_buffer_size() == 0

    def close_when_quiet(self) -> None:
        """At once where nothing is under way, behind the answer otherwise."""
        self._last = True
        if not self._queue and not self._lost:
            self.transport.close()
