"""HTTP over channels: back-pressure, silence, broken ends, and what an idle connection must notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from console.fleet.view import LinkState
from console.link.channel import BUFFER_BYTES_HIGH, Channel
from console.link.errors import LinkError
from console.link.transport import ANSWER_BYTES_MAX, ChannelTransport, HttpOverChannels


class Socket(asyncio.Protocol):
    """A Unix socket of this machine as a channel's wire."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def connection_made(self, transport: Any) -> None:
        self._channel.attach(transport)

    def data_received(self, data: bytes) -> None:
        self._channel.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.end(exc)

    def pause_writing(self) -> None:
        self._channel.set_writable(False)

    def resume_writing(self) -> None:
        self._channel.set_writable(True)


async def open_socket(path: Path) -> Channel:
    channel = Channel()
    await asyncio.get_running_loop().create_unix_connection(lambda: Socket(channel), str(path))
    return channel


def http_to(path: Path) -> HttpOverChannels:
    return HttpOverChannels("press-07", lambda: open_socket(path))


def test_requests_one_after_the_other_use_one_channel(tmp_path: Path, unix_http: Any) -> None:
    async def run() -> None:
        async with unix_http(tmp_path / "s", lambda m, t, b: (200, t.encode())) as server:
            http = http_to(server.path)
            for index in range(20):
                answer = await http.request("GET", f"/{index}", timeout_s=5)
                assert (answer.status, answer.body) == (200, f"/{index}".encode())
            assert server.accepted == 1
            await http.aclose()

    asyncio.run(run())


def test_a_channel_that_the_agent_closed_while_idle_is_not_used_again(tmp_path: Path, unix_http: Any) -> None:
    async def run() -> None:
        async with unix_http(tmp_path / "s", lambda m, t, b: (200, b"ok")) as server:
            http = http_to(server.path)
            await http.request("GET", "/", timeout_s=5)
            server.cut()
            await asyncio.sleep(0.02)
            assert (await http.request("GET", "/", timeout_s=5)).body == b"ok"
            assert server.accepted == 2
            await http.aclose()

    asyncio.run(run())


def test_an_agent_that_does_not_answer_in_time_is_named_as_such(tmp_path: Path, unix_http: Any) -> None:
    async def never(method: str, target: str, body: bytes) -> tuple[int, bytes]:
        await asyncio.Event().wait()
        return 200, b""

    async def run() -> None:
        async with unix_http(tmp_path / "s", never) as server:
            http = http_to(server.path)
            with pytest.raises(LinkError, match="does not answer") as caught:
                await http.request("GET", "/agent/v1/status?x=1", timeout_s=0.05)
            assert caught.value.state is LinkState.NO_AGENT
            assert "?x" not in str(caught.value)
            await http.aclose()

    asyncio.run(run())


def test_an_answer_over_the_limit_is_not_read(tmp_path: Path, unix_http: Any) -> None:
    async def run() -> None:
        async with unix_http(tmp_path / "s", lambda m, t, b: (200, b"x" * (ANSWER_BYTES_MAX + 1))) as server:
            http = http_to(server.path)
            with pytest.raises(LinkError, match="an answer over"):
                await http.request("GET", "/", timeout_s=5)
            await http.aclose()

    asyncio.run(run())


def test_something_that_is_not_http_is_said_not_to_be_an_agent(tmp_path: Path) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail ready\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(shout, str(tmp_path / "s"))
        http = http_to(tmp_path / "s")
        with pytest.raises(LinkError, match="this is not an agent") as caught:
            await http.request("GET", "/", timeout_s=5)
        assert caught.value.state is LinkState.WRONG_PROTOCOL
        await http.aclose()
        server.close()

    asyncio.run(run())


async def read_on(http: HttpOverChannels, server: Any) -> None:
    async with http.stream("GET", "/", timeout_s=5) as (status, chunks):
        assert status == 200
        async for _ in chunks:
            server.cut()


def test_a_stream_that_breaks_in_the_middle_is_an_error_and_not_an_end(tmp_path: Path, unix_http: Any) -> None:
    async def run() -> None:
        async def forever() -> AsyncIterator[bytes]:
            while True:
                yield b"line\n"
                await asyncio.sleep(0.01)

        async with unix_http(tmp_path / "s", lambda m, t, b: forever()) as server:
            http = http_to(server.path)
            with pytest.raises(LinkError):
                await read_on(http, server)
            await http.aclose()

    asyncio.run(run())


def test_a_reader_that_is_slow_stops_the_sender(tmp_path: Path) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        piece = b"x" * 65_536
        try:
            while True:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        except ConnectionError:
            pass

    async def run() -> None:
        server = await asyncio.start_unix_server(pour, str(tmp_path / "s"))
        channel = await open_socket(tmp_path / "s")
        await asyncio.sleep(0.3)
        assert BUFFER_BYTES_HIGH <= sent < 4 * BUFFER_BYTES_HIGH
        stopped_at = sent
        for _ in range(100):
            await channel.read(1 << 20)
        assert sent > stopped_at
        channel.close()
        server.close()

    asyncio.run(run())


def test_an_httpx_client_speaks_over_channels_and_no_tls_is_set_up_for_it(tmp_path: Path, unix_http: Any) -> None:
    async def run() -> None:
        async with unix_http(tmp_path / "s", lambda m, t, b: (200, t.encode())) as server:
            transport = ChannelTransport("press-07", lambda: open_socket(server.path))
            assert isinstance(transport._pool, httpcore.AsyncConnectionPool)
            assert transport._pool._ssl_context is None
            async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
                assert (await client.get("/agent/v1/status", params={"x": 1})).text == "/agent/v1/status?x=1"

    asyncio.run(run())


@pytest.mark.parametrize(
    "target", ["/agent/v1/bundles/a%2Fb%20c/revert", "/agent/v1/logs?search=a%2Bb+c%C3%A9&after=1"]
)
def test_a_target_arrives_as_it_was_written(tmp_path: Path, unix_http: Any, target: str) -> None:
    async def run() -> None:
        async with unix_http(tmp_path / "s", lambda m, t, b: (200, t.encode())) as server:
            http = http_to(server.path)
            assert (await http.request("GET", target, timeout_s=5)).body == target.encode()
            await http.aclose()

    asyncio.run(run())


def test_a_read_gives_no_more_than_was_asked_for_and_loses_nothing() -> None:
    async def run() -> None:
        channel = Channel()
        channel.feed(b"abcdef")
        channel.feed(b"gh")
        channel.end()
        got = [await channel.read(4) for _ in range(4)]
        assert got == [b"abcd", b"ef", b"gh", b""]

    asyncio.run(run())


def test_what_was_received_before_the_link_broke_is_read_before_the_error() -> None:
    async def run() -> None:
        channel = Channel()
        channel.feed(b"last words")
        channel.end(OSError("connection lost"))
        assert await channel.read(100) == b"last words"
        with pytest.raises(ConnectionResetError, match="connection lost"):
            await channel.read(100)

    asyncio.run(run())
