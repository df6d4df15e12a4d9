"""Sends an answer that is made while it is sent: chunked, or until the connection closes for HTTP/1.0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from nodeagent.http.message import Head, Response, response_head


class Outlet(Protocol):
    """Where the pieces go: a connection."""

    transport: asyncio.Transport

    async def writable(self) -> bool:
        """Waits until the peer has read enough; False: it is gone."""


async def send_stream(outlet: Outlet, response: Response, head: Head, *, close: bool) -> None:
    """Sends the whole of `response.stream` and closes it, also where the client goes.

    An error of the stream breaks the connection off, so that the client sees that the answer is not whole; it is
    raised again.
    """
    stream = response.stream
    assert stream is not None
    chunked = not head.http_1_0
    transport = outlet.transport
    try:
        if not await outlet.writable():
            return
        transport.write(response_head(response, close=close, chunked=chunked))
        if head.method == "HEAD":
            return
        async for piece in stream:
            if piece:
                transport.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                if not await outlet.writable():
                    return
        if chunked:
            transport.write(b"0\r\n\r\n")
    except Exception:
        transport.abort()
        raise
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
