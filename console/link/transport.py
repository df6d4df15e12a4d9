"""HTTP/1.1 by httpx over channels of an SSH connection: no port is opened on either end.

One transport, with a pool of its own, a node: one pool for a fleet is quadratic in its connections. Requests are given
to the transport itself: httpx's client on top would cost 0.2 ms a request and give cookies, redirects and proxies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpcore
import httpx

from console.fleet.view import LinkState
from console.link.channel import Channel
from console.link.errors import LinkError, NotListening

CONNECTIONS_MAX = 8
KEPT_ALIVE_MAX = 2
KEPT_ALIVE_S = 60.0
ANSWER_BYTES_MAX = 4 << 20
CONNECT_S = 30.0
HOST = "node"

Opener = Callable[[], Awaitable[Channel]]
Body = bytes | AsyncIterator[bytes] | None


class _AgentClosed(httpcore.ReadError):
    """The far end of a channel closed it, while SSH stands."""


class ChannelStream(httpcore.AsyncNetworkStream):
    """A channel in httpcore's vocabulary."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        with _translated(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                data = await self._channel.read(max_bytes)
        if not data:
            # An agent says how long its answers are, so an end in one is a loss and never the end of the answer.
            raise _AgentClosed("the agent closed the connection")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        with _translated(httpcore.WriteTimeout, httpcore.WriteError):
            async with asyncio.timeout(timeout):
                if buffer:
                    await self._channel.write(buffer)

    async def aclose(self) -> None:
        self._channel.close()

    def get_extra_info(self, info: str) -> Any:
        return self._channel.has_news if info == "is_readable" else None


@contextmanager
def _translated(timeout: type[Exception], failure: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        # Since Python 3.11 the socket's own ETIMEDOUT is a TimeoutError too; it bears an errno.
        raise (timeout if error.errno is None else failure)(str(error) or "timed out") from error
    except OSError as error:
        raise failure(str(error) or type(error).__name__) from error


class ChannelBackend(httpcore.AsyncNetworkBackend):
    """Opens a channel where httpcore wants a Unix socket. LinkError passes through as it is."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                return ChannelStream(await self._opener())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ChannelTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over channels; an httpx.AsyncClient takes it as well.

    The base's __init__ is passed over: it builds 31 ms of TLS context that no Unix socket needs.
    """

    def __init__(self, subject: str, opener: Opener) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=KEPT_ALIVE_MAX,
            keepalive_expiry=KEPT_ALIVE_S,
            uds=subject,
            network_backend=ChannelBackend(opener),
        )

    @asynccontextmanager
    async def answer(self, request: httpx.Request) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Status and body as it comes; the channel is free again, or closed, behind the block."""
        response = await self.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            yield response.status_code, response.stream.__aiter__()
        finally:
            await response.stream.aclose()


class Answer:
    """A whole answer: `status` and `body`."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body


class HttpOverChannels:
    """Requests to one agent, each with `headers`. `subject` names the node in errors; every failure is a LinkError."""

    def __init__(self, subject: str, opener: Opener, headers: Mapping[str, str] | None = None) -> None:
        self._subject = subject
        self._headers = {"Host": HOST, **(headers or {})}
        self._transport = ChannelTransport(subject, opener)

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
        """Status and body as it comes; `timeout_s` is the longest silence allowed, None: any."""
        timeouts = {"connect": CONNECT_S, "read": timeout_s, "write": timeout_s, "pool": CONNECT_S}
        with self._explained(method, target):
            request = httpx.Request(
                method, f"http://{HOST}{target}", headers=self._headers, content=body, extensions={"timeout": timeouts}
            )
            async with self._transport.answer(request) as (status, chunks):
                yield status, chunks

    async def aclose(self) -> None:
        """Closes every channel."""
        await self._transport.aclose()

    @contextmanager
    def _explained(self, method: str, target: str) -> Iterator[None]:
        what = f"{method} {target.partition('?')[0]}"
        try:
            yield
        except httpx.PoolTimeout as error:
            raise LinkError(LinkState.UP, self._subject, f"{what}: too many requests at once to this node") from error
        except httpx.TimeoutException as error:
            hint = "SSH works; the agent may hang: look at `outstation-agent status` on the node"
            raise LinkError(LinkState.NO_AGENT, self._subject, f"{what}: the agent does not answer", hint) from error
        except httpx.ProtocolError as error:
            raise LinkError(
                LinkState.WRONG_PROTOCOL, self._subject, f"{what}: this is not an agent: {error}"
            ) from error
        except httpx.NetworkError as error:
            if isinstance(error.__cause__, _AgentClosed):
                message, hint = (
                    f"{what}: the agent closed the connection",
                    "it stopped or restarts; the console tries again",
                )
                raise NotListening(LinkState.NO_AGENT, self._subject, message, hint) from error
            raise LinkError(LinkState.DOWN, self._subject, f"{what}: the connection broke") from error
