"""The HTTP server against real sockets: framing, order, limits, time, streams."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from nodeagent import protocol
from nodeagent.http.body import BodyReader
from nodeagent.http.server import HttpError, HttpServer, Limits, Request, Response

Body = Callable[[HttpServer, Path], Awaitable[None]]


class Asked:
    """A handler that keeps what it was asked and answers by path."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.uploaded: list[bytes] = []
        self.gate = asyncio.Event()
        self.stream_closed = asyncio.Event()
        self.errors: list[BaseException] = []

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        self.requests.append(request)
        path = request.path
        if request.reader is not None:
            return self._upload(request.reader)
        if path == "/slow":
            return self._slow()
        if path == "/stream":
            return Response(200, stream=self._lines(), headers={"content-type": "application/x-ndjson"})
        if path == "/large":
            return Response(200, b"x" * (8 << 20))
        if path == "/bug":
            raise ZeroDivisionError("a bug")
        if path in ("/refused", "/v2/refused"):
            raise HttpError("LEASE.HELD", "held by bob", "wait")
        return Response(200, json.dumps({"path": path, "body": len(request.body), "query": request.query}).encode())

    async def _slow(self) -> Response:
        await self.gate.wait()
        return Response(200, b'"slow"')

    async def _upload(self, reader: BodyReader) -> Response:
        if reader.bytes_total == 7:  # refused by its size, unread
            raise HttpError("BLOB.OFFSET", "wrong offset")
        async for piece in reader:
            self.uploaded.append(piece)
        return Response(200, b"%d" % sum(map(len, self.uploaded)))

    async def _lines(self) -> AsyncIterator[bytes]:
        try:
            for number in range(1_000_000):
                yield b'{"n":%d}\n' % number
                await asyncio.sleep(0)
                if number == 2 and not self.gate.is_set():
                    await self.gate.wait()
                    return
        finally:
            self.stream_closed.set()


def serving(tmp_path: Path, body: Callable[[HttpServer, Path, Asked], Awaitable[None]], **limits: float) -> None:
    """Runs `body` beside a server on a Unix socket; fails on any exception that a handler let out unasked."""

    async def main() -> None:
        asked = Asked()
        server = HttpServer(asked, limits=Limits(**limits), report=asked.errors.append)  # type: ignore[arg-type]
        listener = socket.socket(socket.AF_UNIX)
        path = tmp_path / "s"
        listener.bind(str(path))
        listener.listen(64)
        await server.serve(listener)
        try:
            await asyncio.wait_for(body(server, path, asked), 30)
        finally:
            asked.gate.set()
            await server.close(drain_s=1)
        assert not asked.errors

    asyncio.run(main())


async def until(holds: Callable[[], object]) -> None:
    """Lets the loop turn until `holds()`; bounded."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to hold")


async def talk(path: Path, data: bytes, *, eof: bool = False) -> bytes:
    """Sends `data` and reads until the server closes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(data)
    if eof:
        writer.write_eof()
    out = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return out


def get(path: str, *headers: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: n\r\n{''.join(h + chr(13) + chr(10) for h in headers)}\r\n".encode()


CLOSE = "Connection: close"


def test_pipelined_requests_are_answered_in_order_and_the_last_one_closes(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        post = b"POST /b HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\n\r\nabc"
        out = await talk(path, get("/a") + post + get("/c?q=1", CLOSE))
        assert out.count(b"HTTP/1.1 200 OK\r\n") == 3
        assert out.index(b'"/a"') < out.index(b'"/b", "body": 3') < out.index(b'"q": "1"')
        assert out.count(b"connection: close") == 1

    serving(tmp_path, body)


def test_a_slow_answer_holds_back_those_behind_it_on_its_connection(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        talking = asyncio.create_task(talk(path, get("/slow") + get("/after", CLOSE)))
        await until(lambda: asked.requests)
        await asyncio.sleep(0.01)
        assert [request.path for request in asked.requests] == ["/slow"]
        asked.gate.set()
        out = await talking
        assert out.index(b"slow") < out.index(b"/after")

    serving(tmp_path, body)


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_a_request_in_any_pieces_is_the_same_request(tmp_path: Path, size: int) -> None:
    data = b"\r\nPOST /p HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n"
    data += b"X-Trailer: 1\r\n\r\n" + get("/end", CLOSE)

    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            await asyncio.sleep(0)
        out = await reader.read()
        writer.close()
        assert b'"body": 19' in out
        assert asked.requests[0].body == b"abc0123456789abcdef"
        assert b'"/end"' in out

    serving(tmp_path, body)


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 3, 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: n\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 0x3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: n\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: n\nX: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: n\n\nGET /second HTTP/1.1\r\nHost: n\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: n\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: n\r\nHost: m\r\n\r\n",
        "GET http://evil/ HTTP/1.1\r\nHost: n\r\n\r\n",
        "GET /a%2fb HTTP/1.1\r\nHost: n\r\n\r\n",
        "GET /a%00 HTTP/1.1\r\nHost: n\r\n\r\n",
        "GET /%ff HTTP/1.1\r\nHost: n\r\n\r\n",
        "GET /?a=1&a=2 HTTP/1.1\r\nHost: n\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: n\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: n\r\nExpect: 200-ok\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: n\r\n\r\n",
    ],
)
def test_what_two_readers_could_understand_differently_is_refused_and_closed(tmp_path: Path, head: str) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        out = await talk(path, head.encode("latin-1") + get("/smuggled"))
        assert out[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5")
        assert out.count(b"content-length: ") == 1
        assert not asked.requests

    serving(tmp_path, body, linger_s=0.1)


@pytest.mark.parametrize(
    "chunks", ["3;x=y\r\nabc\r\n0\r\n\r\n", "-3\r\n", "g\r\n", "\r\n", "3\r\nabcd\r\n", "123456789\r\n"]
)
def test_a_bad_chunk_ends_the_connection_with_400(tmp_path: Path, chunks: str) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        head = "POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"
        out = await talk(path, (head + chunks).encode() + get("/smuggled"))
        assert out.startswith(b"HTTP/1.1 400")
        assert not asked.requests

    serving(tmp_path, body)


def test_limits_on_head_headers_and_body_have_their_own_status(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        assert (await talk(path, b"GET /" + b"a" * 20_000)).startswith(b"HTTP/1.1 431")
        many = [f"X{n}: 1" for n in range(80)]
        assert (await talk(path, get("/", *many))).startswith(b"HTTP/1.1 431")
        large = b"POST /agent/v1/lease HTTP/1.1\r\nHost: n\r\nContent-Length: 2000000\r\n\r\n"
        out = await talk(path, large + b"x" * 2_000_000)
        assert out.startswith(b"HTTP/1.1 413")
        assert b"LIMIT.BODY" in out
        chunked = b"POST /v2/x HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"
        out = await talk(path, chunked)
        assert out.startswith(b"HTTP/1.1 413")
        assert json.loads(out.partition(b"\r\n\r\n")[2]) == {"error": "the body is larger than 67108864 bytes"}

    serving(tmp_path, body)


def test_errors_are_text_below_v2_and_codes_elsewhere(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        out = await talk(path, get("/refused", CLOSE))
        assert out.startswith(b"HTTP/1.1 409 Conflict")
        error = json.loads(out.partition(b"\r\n\r\n")[2])["error"]
        assert error == {"code": "LEASE.HELD", "message": "held by bob", "hint": "wait", "owner": "operator"}
        out = await talk(path, get("/v2/refused", CLOSE))
        assert json.loads(out.partition(b"\r\n\r\n")[2]) == {"error": "held by bob (wait)"}

    serving(tmp_path, body)


def test_a_bug_in_a_handler_is_reported_and_answered_without_its_text(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        out = await talk(path, get("/bug", CLOSE))
        assert out.startswith(b"HTTP/1.1 500")
        assert b"a bug" not in out
        assert isinstance(asked.errors.pop(), ZeroDivisionError)

    serving(tmp_path, body)


def test_a_bug_in_the_fast_path_is_reported_and_the_connection_serves_on(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        def fast(request: Request, reply: object) -> bool:
            if request.path == "/fast":
                raise ZeroDivisionError("a bug")
            return False

        server.fast = fast
        out = await talk(path, get("/fast") + get("/after", CLOSE))
        assert out.startswith(b"HTTP/1.1 500")
        assert b"/after" in out
        assert isinstance(asked.errors.pop(), ZeroDivisionError)

    serving(tmp_path, body)


def test_head_gets_the_length_and_no_body(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        out = await talk(path, b"HEAD /a HTTP/1.1\r\nHost: n\r\n\r\n" + get("/b", CLOSE))
        assert out.count(b"content-length: ") == 2
        assert b'"/a"' not in out
        assert asked.requests[0].method == "GET"

    serving(tmp_path, body)


def test_http_1_0_closes_unless_it_asks_to_stay(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        assert b"connection: close" in await talk(path, b"GET /a HTTP/1.0\r\n\r\n")
        out = await talk(path, b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n")
        assert out.count(b"200 OK") == 2

    serving(tmp_path, body)


def test_a_client_that_expects_100_gets_it_before_its_body_and_not_when_refused(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"POST /x HTTP/1.1\r\nHost: n\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        large = b"POST /x HTTP/1.1\r\nHost: n\r\nExpect: 100-continue\r\nContent-Length: 99000000\r\n\r\n"
        assert (await talk(path, large)).startswith(b"HTTP/1.1 413")
        blob = f"PUT {protocol.API}/blobs/x HTTP/1.1\r\nHost: n\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n"
        assert (await talk(path, blob.encode())).startswith(b"HTTP/1.1 409")

    serving(tmp_path, body, linger_s=0.1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
def test_compressed_bodies_are_inflated_up_to_the_cap(tmp_path: Path, encoding: str) -> None:
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    pack = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "raw deflate": lambda data: raw.compress(data) + raw.flush(),
    }[encoding]
    name = encoding.removeprefix("raw ")

    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        def post(data: bytes) -> bytes:
            start = f"POST /x HTTP/1.1\r\nHost: n\r\n{CLOSE}\r\nContent-Encoding: {name}\r\n"
            return start.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data

        packed = pack(b"{}" * 5_000)
        assert b'"body": 10000' in await talk(path, post(packed))
        assert (await talk(path, post(packed[:-3]))).startswith(b"HTTP/1.1 400")
        assert (await talk(path, post(b"garbage"))).startswith(b"HTTP/1.1 400")
        if encoding != "raw deflate":
            assert (await talk(path, post(pack(b"\0" * 3_000_000)))).startswith(b"HTTP/1.1 413")

    serving(tmp_path, body)


def test_an_unknown_encoding_is_415(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        out = await talk(path, get("/", "Content-Encoding: br"))
        assert out.startswith(b"HTTP/1.1 415")

    serving(tmp_path, body)


def test_an_upload_reaches_its_handler_in_pieces_and_is_not_buffered(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        size = 6 << 20
        put = f"PUT {protocol.API}/blobs/sha256:ab HTTP/1.1\r\nHost: n\r\nContent-Length: {size}\r\n\r\n".encode()
        out = await talk(path, put + os.urandom(size) + get("/after", CLOSE))
        assert b"%d" % size in out
        assert b"/after" in out
        assert len(asked.uploaded) > 3

    serving(tmp_path, body)


def test_an_upload_that_breaks_off_is_told_to_its_handler(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        put = f"PUT {protocol.API}/blobs/sha256:ab HTTP/1.1\r\nHost: n\r\nContent-Length: 100\r\n\r\nabc".encode()
        await talk(path, put, eof=True)
        await until(lambda: server.requests_lost_total)
        assert asked.uploaded == [b"abc"]

    serving(tmp_path, body)


def test_an_upload_that_is_refused_unread_still_hears_why(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        put = (
            f"PUT {protocol.API}/blobs/x HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"
        )
        assert (await talk(path, put.encode())).startswith(b"HTTP/1.1 400")

    serving(tmp_path, body, linger_s=0.1)


def test_a_stream_is_chunked_and_ends_whole(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(get("/stream") + get("/after", CLOSE))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert b"application/x-ndjson" in head
        assert await reader.readuntil(b'{"n":2}\n\r\n') == b'8\r\n{"n":0}\n\r\n8\r\n{"n":1}\n\r\n8\r\n{"n":2}\n\r\n'
        asked.gate.set()
        rest = await reader.read()
        assert rest.startswith(b"0\r\n\r\nHTTP/1.1 200 OK")
        writer.close()

    serving(tmp_path, body)


def test_a_stream_is_closed_when_its_client_goes(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(get("/stream"))
        await reader.readuntil(b'"n":1')
        writer.close()
        await asyncio.wait_for(asked.stream_closed.wait(), 5)

    serving(tmp_path, body)


def test_a_client_that_does_not_read_stops_the_stream_and_is_cut_by_time(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        asked.gate.set()  # the stream goes on for ever
        _, writer = await asyncio.open_unix_connection(str(path), limit=1)
        writer.write(get("/stream"))
        await until(lambda: any(connection._stalled_s is not None for connection in server._connections))
        server.sweep(server.now_s + 31)
        await asyncio.wait_for(asked.stream_closed.wait(), 5)
        writer.close()

    serving(tmp_path, body)


def test_time_ends_a_slow_head_a_slow_body_and_an_idle_connection(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        async def after(data: bytes, seconds: float) -> bytes:
            task = asyncio.create_task(talk(path, data))
            await until(lambda: server.connections)
            await asyncio.sleep(0.02)
            server.sweep(server.now_s + seconds)
            await asyncio.sleep(0.02)
            server.sweep(server.now_s + 3)  # the linger
            return await task

        assert (await after(b"GET / HT", 11)).startswith(b"HTTP/1.1 408")
        assert (await after(b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\nab", 21)).startswith(
            b"HTTP/1.1 408"
        )
        assert await after(b"", 121) == b""
        put = f"PUT {protocol.API}/blobs/x HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\nab".encode()
        assert (await after(put, 21)).startswith(b"HTTP/1.1 408")

    serving(tmp_path, body)


def test_whoever_goes_on_sending_after_an_error_is_cut(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        server.sweep(server.now_s + 1.5)
        writer.write(b"more")
        await asyncio.sleep(0.01)
        server.sweep(server.now_s + 1.5)
        await until(lambda: not server.connections)
        writer.close()

    serving(tmp_path, body)


def test_a_half_closed_client_still_gets_its_answer(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        asked.gate.set()
        assert b"slow" in await talk(path, get("/slow"), eof=True)

    serving(tmp_path, body)


def test_more_connections_than_allowed_are_told_so(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        opened = [await asyncio.open_unix_connection(str(path)) for _ in range(2)]
        assert (await talk(path, get("/"))).startswith(b"HTTP/1.1 503")
        for _, writer in opened:
            writer.close()

    serving(tmp_path, body, connections_max=2, linger_s=0.1)


def test_a_large_answer_to_a_slow_reader_arrives_whole(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 16)
        writer.write(get("/large") * 2 + get("/end", CLOSE))
        total = 0
        while piece := await reader.read(100_000):
            total += len(piece)
            await asyncio.sleep(0)
        writer.close()
        assert total > 16 << 20

    serving(tmp_path, body)


def test_the_peer_of_a_unix_socket_is_who_the_kernel_says(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        await talk(path, get("/", CLOSE))
        peer = asked.requests[0].peer
        assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())
        assert (peer.kind, peer.role) == ("unix", "operate")

    serving(tmp_path, body)


def test_a_preface_names_the_person_and_can_only_lower_the_role(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        await talk(path, b"OUTSTATION-AS alice monitor\n" + get("/", CLOSE))
        peer = asked.requests[0].peer
        assert (peer.actor, peer.role, peer.kind, peer.uid) == ("alice", "monitor", "bridge", os.getuid())
        for wrong in (b"OUTSTATION-AS ../x operate\n", b"OUTSTATION-AS alice root\n", b"OUTSTATION-AS " + b"a" * 200):
            assert (await talk(path, wrong + get("/", CLOSE))).startswith(b"HTTP/1.1 400")
        assert len(asked.requests) == 1

    serving(tmp_path, body, linger_s=0.1)


def test_a_preface_on_a_monitor_socket_or_over_tcp_gives_no_rights(tmp_path: Path) -> None:
    async def main() -> None:
        asked = Asked()
        server = HttpServer(asked, report=asked.errors.append, limits=Limits(linger_s=0.1))
        unix, tcp = socket.socket(socket.AF_UNIX), socket.socket()
        unix.bind(str(tmp_path / "m"))
        tcp.bind(("127.0.0.1", 0))
        for listener in (unix, tcp):
            listener.listen(4)
        port = tcp.getsockname()[1]
        await server.serve(unix, role="monitor")
        await server.serve(tcp, role="operate")
        await talk(tmp_path / "m", b"OUTSTATION-AS alice operate\n" + get("/", CLOSE))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/", CLOSE))
        await reader.read()
        writer.close()
        assert [request.peer.role for request in asked.requests] == ["monitor", "monitor"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"OUTSTATION-AS alice operate\n" + get("/", CLOSE))
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        await server.close()

    asyncio.run(main())


def test_close_lets_an_answer_under_way_finish(tmp_path: Path) -> None:
    async def body(server: HttpServer, path: Path, asked: Asked) -> None:
        idle_reader, idle_writer = await asyncio.open_unix_connection(str(path))
        talking = asyncio.create_task(talk(path, get("/slow")))
        await until(lambda: asked.requests)
        closing = asyncio.create_task(server.close(drain_s=5))
        assert await idle_reader.read() == b""
        idle_writer.close()
        asked.gate.set()
        out = await talking
        assert b"slow" in out
        assert b"connection: close" in out
        await closing

    serving(tmp_path, body)
