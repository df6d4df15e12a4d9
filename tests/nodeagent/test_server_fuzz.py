"""Hostile bytes against a real server: it answers or closes, reports no bug, and serves the next client."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodeagent.http.server import HttpServer, Limits, Request, Response

_PIECES = [
    b"GET / HTTP/1.1\r\nHost: n\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\nHost: n\r\n\r\n",
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /agent/v1/blobs/a HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: n\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
    b"POST / HTTP/1.1\r\nHost: n\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"OUTSTATION-AS bob operate\n",
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"ffffffff\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 99999999999999\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\0",
]
_hostile = st.lists(
    st.one_of(
        st.sampled_from(_PIECES),
        st.binary(max_size=40),
        st.builds(
            lambda piece, at, byte: piece[: at % len(piece)] + byte + piece[at % len(piece) + 1 :],
            st.sampled_from(_PIECES),
            st.integers(0, 200),
            st.binary(min_size=0, max_size=2),
        ),
    ),
    min_size=1,
    max_size=8,
)
_ANSWER = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


async def _handle(request: Request) -> Response:
    total = len(request.body)
    if request.reader is not None:
        async for piece in request.reader:
            total += len(piece)
    return Response(200, b"%d" % total)


def _fast(request: Request, reply: object) -> bool:
    if not request.path.endswith("/infer"):
        return False
    asyncio.get_running_loop().call_soon(reply, Response(200, request.body))  # type: ignore[arg-type]
    return True


async def _attack(path: Path, data: bytes, cuts: list[int]) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    at = 0
    try:
        for cut in [*sorted(cuts), len(data)]:
            writer.write(data[at : max(at, cut)])
            at = max(at, cut)
            await asyncio.sleep(0)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def _round(data: bytes, cuts: list[int]) -> None:
    errors: list[BaseException] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        server = HttpServer(_handle, fast=_fast, report=errors.append, limits=Limits(head_bytes_max=2_000))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(8)
        await server.serve(listener)
        out = await _attack(path, data, cuts)
        statuses = [int(status) for status in _ANSWER.findall(out)]
        assert not out or _ANSWER.match(out)
        assert all(status in (100, 200, 400, 408, 413, 415, 417, 431, 501, 505) for status in statuses)
        wrong = [n for n, status in enumerate(statuses) if status >= 400]
        assert wrong in ([], [len(statuses) - 1])  # an error is the last answer
        fine = await _attack(path, b"GET /next HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n", [])
        assert fine.startswith(b"HTTP/1.1 200")
        await server.close(drain_s=1)
        assert not server.connections
        assert not errors


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces=_hostile, cuts=st.lists(st.integers(0, 400), max_size=6))
def test_hostile_bytes_are_answered_or_closed_and_harm_nobody_else(pieces: list[bytes], cuts: list[int]) -> None:
    asyncio.run(_round(b"".join(pieces), cuts))
