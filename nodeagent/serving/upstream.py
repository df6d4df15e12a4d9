"""A connection to a worker's socket over which many requests are under way at once, answered in order.

Requests of one turn of the loop go out in one write and come back in few reads: that is what makes a hop cheap.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from nodeagent.http.message import Reply, Response

JOIN_BYTES_MAX = 64 << 10
READ_BYTES = 256 << 10
HEAD_BYTES_MAX = 16_384
HEADS_KEPT_MAX = 128
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n")
_OWN_LINES = (b"content-length:", b"connection:", b"transfer-encoding:")


class Pending(NamedTuple):
    """A request that waits for its answer: kept whole, since a worker that is closing leaves it to the next one."""

    head: bytes
    body: bytes
    reply: Reply
    since_s: float


class _AnswerHead(NamedTuple):
    status: int
    lines: bytes
    length: int
    last: bool


class Upstream(asyncio.BufferedProtocol):
    """One connection. `on_end(left, refused)` gets what stayed unanswered when it ended.

    `refused` is True where the worker said that its last answer was the last: it took none of those that are left.
    """

    def __init__(self, on_end: Callable[[Upstream, list[Pending], bool], None]) -> None:
        self._read_buffer = memoryview(bytearray(READ_BYTES))
        self.waiting: deque[Pending] = deque()
        self.waiting_bytes = 0
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._head: _AnswerHead | None = None
        self._parts: list[bytes] = []
        self._missing = 0
        self._heads: dict[bytes, _AnswerHead] = {}
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, requests: list[Pending]) -> None:
        """Writes requests, small ones together."""
        assert self._transport is not None
        self.waiting.extend(requests)
        out: list[bytes] = []
        for request in requests:
            self.waiting_bytes += len(request.body)
            out.append(request.head)
            if len(request.body) > JOIN_BYTES_MAX:
                self._transport.write(b"".join(out))
                self._transport.write(request.body)
                out.clear()
            else:
                out.append(request.body)
        if out:
            self._transport.write(b"".join(out))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received(bytes(self._read_buffer[:nbytes]))

    def _received(self, data: bytes) -> None:
        if self._missing:
            piece = data[: self._missing] if len(data) > self._missing else data
            data = data[len(piece) :]
            self._parts.append(piece)
            self._missing -= len(piece)
            if not self._missing and self._head is not None:
                body, self._parts = b"".join(self._parts), []
                self._answer(self._head, body)
        if not data or self._transport is None:
            return
        self._buffer = self._buffer + data if self._buffer else data
        try:
            self._take()
        except ValueError:
            self.close()  # not an answer of ours: whoever waits is told that the worker failed

    def _take(self) -> None:
        buffer, at = self._buffer, 0
        while at < len(buffer):
            end = buffer.find(b"\r\n\r\n", at)
            if end < 0:
                if len(buffer) - at > HEAD_BYTES_MAX:
                    raise ValueError("an answer's head is too long")
                break
            raw = buffer[at : end + 4]
            head = self._heads.get(raw) or self._read_head(raw)
            at = end + 4
            if len(buffer) - at < head.length:
                self._head, self._parts = head, [buffer[at:]]
                self._missing = head.length - (len(buffer) - at)
                at = len(buffer)
                break
            self._answer(head, buffer[at : at + head.length])
            at += head.length
        self._buffer = buffer[at:]

    def _read_head(self, raw: bytes) -> _AnswerHead:
        match = _STATUS.match(raw)
        if match is None:
            raise ValueError("not a status line")
        lines = [line for line in raw[match.end() :].split(b"\r\n") if line]
        own = {
            name: line[len(name) :].strip() for line in lines for name in _OWN_LINES if line.lower().startswith(name)
        }
        if b"transfer-encoding:" in own or b"content-length:" not in own:
            raise ValueError("an answer without a length")
        kept = b"".join(line + b"\r\n" for line in lines if not line.lower().startswith(_OWN_LINES))
        last = own.get(b"connection:", b"").lower() == b"close"
        head = _AnswerHead(int(match[1]), kept, int(own[b"content-length:"]), last)
        if len(self._heads) >= HEADS_KEPT_MAX:
            self._heads.clear()
        self._heads[raw] = head
        return head

    def _answer(self, head: _AnswerHead, body: bytes) -> None:
        if head.status == 100:
            raise ValueError("an interim answer that nobody asked for")
        if not self.waiting:
            raise ValueError("an answer that nobody asked for")
        request = self.waiting.popleft()
        self.waiting_bytes -= len(request.body)
        if head.last:
            self._refused = True
        request.reply(Response(head.status, body, lines=head.lines))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        left = list(self.waiting)
        self.waiting.clear()
        self._on_end(self, left, self._refused)

    def close(self) -> None:
        """Ends the connection; what waits is handed to on_end."""
        if self._transport is not None:
            self._transport.abort()
