"""Open connections pass from one server to the next, between requests and in the middle of one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from nodeagent.http.body import ChunkedBody, FixedBody
from nodeagent.http.server import HttpServer, Request, Response


def echo(name: str) -> object:
    """A handler that answers with its name and what it was sent, some requests at once and some later."""

    async def later(request: Request) -> Response:
        await asyncio.sleep(0.001)
        return Response(200, b"%s %s" % (name.encode(), request.body))

    def handle(request: Request) -> Response | Awaitable[Response]:
        if len(request.body) % 2:
            return later(request)
        return Response(200, b"%s %s" % (name.encode(), request.body))

    return handle


def new_server(name: str, errors: list[BaseException]) -> HttpServer:
    return HttpServer(echo(name), report=errors.append)  # type: ignore[arg-type]


def listen(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(64)
    return sock


def post(body: bytes, *, chunked: bool = False) -> bytes:
    if not chunked:
        return b"POST /e HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    half = len(body) // 2
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece)
    return b"POST /e HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"


async def until(holds: Callable[[], object]) -> None:
    """Lets the loop turn until `holds()`; bounded."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to hold")


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


def test_connections_pass_under_load_with_no_lost_and_no_wrong_answer(tmp_path: Path) -> None:
    async def client(path: Path, number: int, stop: asyncio.Event, seen: list[bytes]) -> int:
        reader, writer = await asyncio.open_unix_connection(str(path))
        count = 0
        while not stop.is_set():
            bodies = [b"%d-%d-%s" % (number, count + n, b"x" * (n * 37 % 11)) for n in range(3)]
            data = b"".join(post(body, chunked=n == 1) for n, body in enumerate(bodies))
            cut = (count * 13 + number) % len(data)  # a switch often finds half a request
            writer.write(data[:cut])
            await asyncio.sleep(0)
            writer.write(data[cut:])
            for body in bodies:
                got = await answer(reader)
                assert got.partition(b" ")[2] == body
                seen.append(got.partition(b" ")[0])
            count += 3
        writer.close()
        return count

    async def main() -> None:
        errors: list[BaseException] = []
        path = tmp_path / "s"
        listener = listen(path)
        server = new_server("r0", errors)
        await server.serve(listener.dup())
        stop = asyncio.Event()
        seen: list[bytes] = []
        clients = [asyncio.create_task(client(path, n, stop, seen)) for n in range(12)]
        for revision in range(1, 9):
            enough = len(seen) + 200
            await until(lambda enough=enough: len(seen) >= enough)  # type: ignore[misc]
            following = new_server(f"r{revision}", errors)
            released = await server.release()
            assert len(released) == 12
            await following.serve(listener.dup())
            for sock, leftover in released:
                await following.adopt(sock, leftover)
            await server.close()
            server = following
        stop.set()
        counts = await asyncio.gather(*clients)
        assert sum(counts) == len(seen)
        assert {name.decode() for name in seen} >= {f"r{n}" for n in range(8)}
        assert not errors
        await server.close()
        listener.close()

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_cut_at_any_byte_is_finished_by_the_next_server(tmp_path: Path, chunked: bool) -> None:
    async def main() -> None:
        errors: list[BaseException] = []
        path = tmp_path / "s"
        listener = listen(path)
        data = b"OUTSTATION-AS alice monitor\n" + post(b"0123456789abcdef", chunked=chunked)
        for cut in range(len(data) + 1):
            first, second = new_server("a", errors), new_server("b", errors)
            await first.serve(listener.dup())
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(data[:cut])
            await until(lambda server=first: server.connections)  # type: ignore[misc]
            await asyncio.sleep(0)
            ((sock, leftover),) = await first.release()
            await second.adopt(sock, leftover)
            writer.write(data[cut:])
            expected = b"b 0123456789abcdef" if cut < len(data) else b"a 0123456789abcdef"
            assert await answer(reader) == expected
            writer.close()
            await first.close()
            await second.close()
        listener.close()
        assert not errors

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_busy_connection_stays_and_is_closed_behind_its_answer(tmp_path: Path) -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def slow(request: Request) -> Response:
            await gate.wait()
            return Response(200, b"late")

        server = HttpServer(slow, report=lambda error: None)
        await server.serve(listen(tmp_path / "s"))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(post(b"x"))
        await until(lambda: server.connections)
        await asyncio.sleep(0.01)
        assert await server.release(drain_s=0.05) == []
        gate.set()
        out = await reader.read()
        assert b"connection: close" in out
        assert out.endswith(b"late")
        writer.close()
        await server.close()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("cut", range(30))
def test_a_framer_that_is_replayed_goes_on_as_if_it_had_never_stopped(cut: int) -> None:
    data = b"3\r\nabc\r\n8\r\n01234567\r\n0\r\n\r\nNEXT"
    first = ChunkedBody(100)
    payload, rest = first.feed(data[:cut])
    if first.done:
        assert (payload, rest + data[cut:]) == (b"abc01234567", b"NEXT")
        return
    second = ChunkedBody(100)
    replayed, none = second.feed(first.replay(payload))
    more, rest = second.feed(data[cut:])
    assert (replayed + more, none, rest) == (b"abc01234567", b"", b"NEXT")


def test_a_fixed_body_gives_back_what_lies_behind_it() -> None:
    framer = FixedBody(4)
    assert framer.feed(b"ab") == (b"ab", b"")
    assert framer.feed(b"cdNEXT") == (b"cd", b"NEXT")
    assert framer.done
