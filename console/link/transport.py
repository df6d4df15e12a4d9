"""HTTP/1.1 over channels of an SSH connection: no port is opened on either end. Channels are kept and used again.

Ours and not a library's: what an agent needs of HTTP is small, and a general client costs a console of 1,000 nodes half
of its share of a core (docs/decisions/0006-own-http-client.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

from console.link.channel import Channel
from console.link.errors import LinkError, NotListening
from console.link.http import ChunkedBody, FixedBody, NotHttp, body_of, read_head, request_head
from console.view import LinkState

CONNECTIONS_MAX = 8
KEPT_ALIVE_MAX = 2
KEPT_ALIVE_S = 60.0
ANSWER_BYTES_MAX = 4 << 20
READ_BYTES = 64 << 10
CONNECT_S = 30.0
HOST = "node"

Opener = Callable[[], Awaitable[Channel]]
Body = bytes | AsyncIterator[bytes] | None


class _AgentClosed(Exception):
    """The far end of a channel closed it, while SSH stands."""


class _Broken(Exception):
    """The connection under a channel is gone."""


class _Silent(Exception):
    """Nothing came, or nothing was taken, in time."""


class _Crowded(Exception):
    """Every channel is taken, and none came free in time."""


class Answer:
    """A whole answer: `status` and `body`."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body


class _Exchange:
    """One request on one channel, and its answer. `is_over`: the channel may carry the next one."""

    __slots__ = ("_body", "_channel", "_rest", "_stays_open", "_timeout_s")

    def __init__(self, channel: Channel, timeout_s: float | None) -> None:
        self._channel, self._timeout_s = channel, timeout_s
        self._rest = b""
        self._stays_open = False
        self._body: FixedBody | ChunkedBody = FixedBody(0)

    @property
    def is_over(self) -> bool:
        return self._stays_open and self._body.done and not self._rest

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> int:
        """Sends the request and returns the status of the answer."""
        whole = await self._send(method, target, headers, body)
        while (found := read_head(self._rest)) is None:
            self._rest += await self._read()
        head, self._rest = found
        self._body, self._stays_open = body_of(head), head.stays_open and whole
        return head.status

    async def _send(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> bool:
        """False: an answer was there, or the channel's end, before all of the body was sent."""
        if body is None or isinstance(body, bytes):
            sent = body or b""
            head = request_head(method, target, headers, len(sent))
            if len(sent) < READ_BYTES:
                await self._write(head + sent)
                return True
            await self._write(head)
            return await self._pour(sent)
        await self._write(request_head(method, target, headers, None))
        async for piece in body:
            if piece and not await self._pour(b"%x\r\n%s\r\n" % (len(piece), piece)):
                return False
        return await self._pour(b"0\r\n\r\n")

    async def _pour(self, data: bytes) -> bool:
        if self._channel.has_news:
            return False
        try:
            await self._write(data)
        except _Broken:
            if not self._channel.has_news:
                raise
            return False  # The agent may have said why before it closed.
        return True

    async def next_chunk(self) -> bytes:
        """The next part of the body; empty at its end."""
        while not self._body.done or self._rest:
            data, self._rest = self._rest or await self._read(), b""
            if payload := self._body.feed(data):
                return payload
        return b""

    async def _write(self, data: bytes) -> None:
        with _translated():
            async with asyncio.timeout(self._timeout_s):
                await self._channel.write(data)

    async def _read(self) -> bytes:
        with _translated():
            if self._channel.has_news:
                data = await self._channel.read(READ_BYTES)
            else:
                async with asyncio.timeout(self._timeout_s):
                    data = await self._channel.read(READ_BYTES)
        if not data:
            raise _AgentClosed
        return data


class _Chunks:
    """The body of an answer as it comes."""

    __slots__ = ("_exchange", "_explained", "_what")

    def __init__(
        self, exchange: _Exchange, explained: Callable[[str], AbstractContextManager[None]], what: str
    ) -> None:
        self._exchange, self._explained, self._what = exchange, explained, what

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        with self._explained(self._what):
            chunk = await self._exchange.next_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of a channel: those of what is sent, such as a file that cannot be read, are not among them."""
    try:
        yield
    except TimeoutError as error:
        # Since Python 3.11 the socket's own ETIMEDOUT is a TimeoutError too; it bears an errno.
        raise (_Silent if error.errno is None else _Broken)(str(error) or "timed out") from error
    except OSError as error:
        raise _Broken(str(error) or type(error).__name__) from error


class HttpOverChannels:
    """Requests to one agent, each with `headers`. `subject` names the node in errors; every failure is a LinkError."""

    def __init__(self, subject: str, opener: Opener, headers: Mapping[str, str] | None = None) -> None:
        self._subject, self._opener = subject, opener
        self._headers = {"Host": HOST, **(headers or {})}
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[tuple[Channel, float]] = []
        self._taken: set[Channel] = set()

    async def request(self, method: str, target: str, *, body: Body = None, timeout_s: float) -> Answer:
        """The whole answer within `timeout_s` between two pieces. At most ANSWER_BYTES_MAX."""
        parts: list[bytes] = []
        size = 0
        async with self.stream(method, target, body=body, timeout_s=timeout_s) as (status, chunks):
            async for chunk in chunks:
                size += len(chunk)
                if size > ANSWER_BYTES_MAX:
                    raise LinkError(LinkState.WRONG_PROTOCOL, self._subject, f"an answer over {ANSWER_BYTES_MAX} bytes")
                parts.append(chunk)
        return Answer(status, b"".join(parts))

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, body: Body = None, timeout_s: float | None
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Status and body as it comes; `timeout_s` is the longest silence allowed, None: any.

        The channel is free again, or closed, behind the block.
        """
        what = f"{method} {target.partition('?')[0]}"
        with self._explained(what):
            channel = await self._take()
        exchange = _Exchange(channel, timeout_s)
        try:
            with self._explained(what):
                status = await exchange.ask(method, target, self._headers, body)
            yield status, _Chunks(exchange, self._explained, what)
        finally:
            self._give_back(channel, exchange.is_over)

    async def aclose(self) -> None:
        """Closes every channel."""
        for channel in (*(channel for channel, _ in self._idle), *self._taken):
            channel.close()
        self._idle.clear()

    async def _take(self) -> Channel:
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._free.acquire()
        except TimeoutError:
            raise _Crowded from None
        try:
            channel = self._kept()
            if channel is None:
                with _translated():
                    async with asyncio.timeout(CONNECT_S):
                        channel = await self._opener()
        except BaseException:
            self._free.release()
            raise
        self._taken.add(channel)
        return channel

    def _kept(self) -> Channel | None:
        """An idle channel that is still good."""
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            channel, since_s = self._idle.pop()
            if not channel.has_news and now_s - since_s <= KEPT_ALIVE_S:
                return channel
            channel.close()
        return None

    def _give_back(self, channel: Channel, reusable: bool) -> None:
        self._taken.discard(channel)
        self._free.release()
        if reusable and not channel.has_news and len(self._idle) < KEPT_ALIVE_MAX:
            self._idle.append((channel, asyncio.get_running_loop().time()))
        else:
            channel.close()

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except _Crowded as error:
            raise LinkError(LinkState.UP, self._subject, f"{what}: too many requests at once to this node") from error
        except NotHttp as error:
            raise LinkError(
                LinkState.WRONG_PROTOCOL, self._subject, f"{what}: this is not an agent: {error}"
            ) from error
        except _AgentClosed as error:
            message, hint = (
                f"{what}: the agent closed the connection",
                "it stopped or restarts; the console tries again",
            )
            raise NotListening(LinkState.NO_AGENT, self._subject, message, hint) from error
        except _Silent as error:
            hint = "SSH works; the agent may hang: look at `outstation-agent status` on the node"
            raise LinkError(LinkState.NO_AGENT, self._subject, f"{what}: the agent does not answer", hint) from error
        except _Broken as error:
            raise LinkError(LinkState.DOWN, self._subject, f"{what}: the connection broke") from error
