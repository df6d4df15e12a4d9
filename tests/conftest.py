"""A small real HTTP server on a Unix socket, for tests of what speaks to an agent."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

Served = tuple[int, bytes] | AsyncIterator[bytes]


class UnixHttp:
    """`async with UnixHttp(path, serve)`: `serve(method, target, body)` gives (status, body) or chunks of a 200.

    Counts connections and requests; `connections` are the ones open now.
    """

    def __init__(self, path: Path, serve: Callable[[str, str, bytes], Served | Awaitable[Served]]) -> None:
        self.path, self._serve = path, serve
        self.requests: list[tuple[str, str, bytes]] = []
        self.accepted = 0
        self.open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> UnixHttp:
        self._server = await asyncio.start_unix_server(self._connected, str(self.path))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        self.path.unlink(missing_ok=True)

    def cut(self) -> None:
        """Ends every open connection without goodbye."""
        for writer in list(self.open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append((method, target, body))
        served: Any = self._serve(method, target, body)
        if inspect.isawaitable(served):
            served = await served
        if isinstance(served, tuple):
            status, data = served
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        async for chunk in served:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@pytest.fixture
def unix_http() -> type[UnixHttp]:
    return UnixHttp


def json_bytes(value: object) -> bytes:
    return msgspec.json.encode(value)
