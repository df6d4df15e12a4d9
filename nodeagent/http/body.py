"""How a request's body ends, how it is inflated, and how an upload is read piece by piece.

A framer takes what arrived and gives back payload and the bytes behind the body; it never looks beyond its own end.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from collections.abc import Callable

CHUNK_LINE_BYTES_MAX = 64
TRAILER_BYTES_MAX = 2_048
READER_BYTES_MAX = 1 << 20  # an upload that is further ahead of its handler than this stops being read

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})")


class BodyError(Exception):
    """A body that is malformed (`too_large` False) or larger than allowed."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


class ClientGone(Exception):
    """The connection ended before the body did."""


class FixedBody:
    """A body of a known length."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        self.remaining = length

    @property
    def done(self) -> bool:
        return self.remaining == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, what lies behind the body)."""
        if len(data) <= self.remaining:
            self.remaining -= len(data)
            return data, b""
        end, self.remaining = self.remaining, 0
        return data[:end], data[end:]

    def replay(self, payload: bytes) -> bytes:
        """The bytes that bring a fresh framer of this request to where this one is."""
        return payload


class ChunkedBody:
    """A body in chunks (RFC 9112 section 7.1). Extensions are refused; trailers are read and dropped."""

    __slots__ = ("_buffer", "_chunk_left", "_state", "_total", "_total_max", "done")

    def __init__(self, bytes_max: int) -> None:
        self.done = False
        self._buffer = b""
        self._chunk_left = 0
        self._state = "size"  # size, data, data end, trailers
        self._total = 0
        self._total_max = bytes_max

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, what lies behind the body). Raises BodyError."""
        buffer = self._buffer + data if self._buffer else data
        payload: list[bytes] = []
        at = 0
        while not self.done:
            if self._state == "data":
                piece = buffer[at : at + self._chunk_left]
                at += len(piece)
                self._chunk_left -= len(piece)
                payload.append(piece)
                if self._chunk_left:
                    break
                self._state = "data end"
                continue
            end = buffer.find(b"\r\n", at)
            if end < 0:
                self._check_partial(len(buffer) - at)
                break
            self._line(buffer[at:end])
            at = end + 2
        rest = buffer[at:]
        self._buffer = b"" if self.done else rest
        return b"".join(payload), rest if self.done else b""

    def replay(self, payload: bytes) -> bytes:
        """The bytes that bring a fresh framer of this request to where this one is."""
        if self._state == "data end":  # the chunk's own CRLF is still to come, or half here
            return b"%x\r\n%s%s" % (len(payload), payload, self._buffer)
        so_far = b"%x\r\n%s\r\n" % (len(payload), payload) if payload else b""
        if self._state == "data":
            return so_far + b"%x\r\n" % self._chunk_left
        return so_far + (b"0\r\n" if self._state == "trailers" else b"") + self._buffer

    def _check_partial(self, length: int) -> None:
        if length > (TRAILER_BYTES_MAX if self._state == "trailers" else CHUNK_LINE_BYTES_MAX):
            raise BodyError("a line between chunks is too long")

    def _line(self, line: bytes) -> None:
        if self._state == "data end":
            if line:
                raise BodyError("a chunk is longer than its size")
            self._state = "size"
        elif self._state == "size":
            if not _CHUNK_SIZE.fullmatch(line):
                raise BodyError("a chunk size is not a plain hexadecimal number")
            self._chunk_left = int(line, 16)
            self._total += self._chunk_left
            if self._total > self._total_max:
                raise BodyError(f"the body is larger than {self._total_max} bytes", too_large=True)
            self._state = "data" if self._chunk_left else "trailers"
        elif not line:
            self.done = True
        else:
            self._total += len(line)
            if len(line) > TRAILER_BYTES_MAX or self._total > self._total_max + TRAILER_BYTES_MAX:
                raise BodyError("the trailers are too long")


def inflate(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """A gzip or deflate body, at most `bytes_max` bytes of it. Raises BodyError; never allocates more than the cap."""
    # "deflate" is zlib's format by the standard and raw deflate by habit; the first byte tells them apart.
    bits = 31 if encoding == "gzip" else 15 if body[:1] == b"\x78" else -15
    decoder = zlib.decompressobj(bits)
    try:
        out = decoder.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise BodyError(f"the {encoding} body is damaged") from error
    if len(out) > bytes_max:
        raise BodyError(f"the body inflates to more than {bytes_max} bytes", too_large=True)
    if not decoder.eof or decoder.unused_data:
        raise BodyError(f"the {encoding} body is cut short or has bytes behind its end")
    return out


class BodyReader:
    """An upload's body: `async for piece in reader`. Raises ClientGone or BodyError where the body breaks off.

    `bytes_total` is the declared length, or None for a chunked body. Only the server pushes.
    """

    def __init__(self, bytes_total: int | None) -> None:
        self.bytes_total = bytes_total
        self.full = False
        self.on_start: Callable[[], None] | None = None  # called once, when the handler begins to read
        self.on_space: Callable[[], None] | None = None  # called when there is room again
        self.finished = False
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> BodyReader:
        return self

    async def __anext__(self) -> bytes:
        if self.on_start is not None:
            on_start, self.on_start = self.on_start, None
            on_start()
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.finished:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        piece = self._pieces.popleft()
        self._held_bytes -= len(piece)
        if self.full and self._held_bytes < READER_BYTES_MAX // 2:
            self.full = False
            if self.on_space is not None:
                self.on_space()
        return piece

    def push(self, piece: bytes) -> None:
        """One more piece, from the connection."""
        if piece:
            self._pieces.append(piece)
            self._held_bytes += len(piece)
            self.full = self._held_bytes >= READER_BYTES_MAX
            self._wake()

    def finish(self, error: Exception | None = None) -> None:
        """The body ended: whole, or by `error`. The first end counts."""
        if not self.finished:
            self.finished = True
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
