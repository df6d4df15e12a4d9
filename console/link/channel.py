"""One byte stream inside an SSH connection, as the HTTP layer uses it. Knows no SSH library."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

BUFFER_BYTES_HIGH = 1 << 20
STDERR_BYTES_MAX = 2_000


class Wire(Protocol):
    """What a channel needs of the SSH library's channel object."""

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...
    def write_eof(self) -> None: ...


class Channel:
    """Reads and writes with back-pressure in both directions. Every error is an OSError with the reason."""

    def __init__(self) -> None:
        self._wire: Wire | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self.stderr = b""
        self.exit_status: int | None = None

    # -- what the SSH library tells

    def attach(self, wire: Wire) -> None:
        """The channel is open."""
        self._wire = wire

    def feed(self, data: bytes) -> None:
        """Bytes came. Past BUFFER_BYTES_HIGH the peer's window stays shut until they are read."""
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered >= BUFFER_BYTES_HIGH and not self._paused and self._wire is not None:
            self._paused = True
            self._wire.pause_reading()
        self._readable.set()

    def feed_stderr(self, data: bytes) -> None:
        """The bridge complains."""
        self.stderr = (self.stderr + data)[:STDERR_BYTES_MAX]

    def end(self, error: Exception | None = None) -> None:
        """No more bytes will come; with `error`, the connection under it broke."""
        self._ended = True
        self._error = self._error or error
        self._readable.set()
        self._writable.set()

    def lose(self, error: Exception | None) -> None:
        """The channel itself is gone: nothing follows, not even an exit status."""
        self.end(error)
        self._gone.set()

    def set_writable(self, on: bool) -> None:
        """Whether the peer's window takes more bytes now."""
        if on:
            self._writable.set()
        else:
            self._writable.clear()

    # -- what the HTTP layer does

    @property
    def has_news(self) -> bool:
        """Whether an idle stream is of no more use: it ended, or bytes came that nobody asked for."""
        return self._ended or bool(self._chunks)

    async def read(self, bytes_max: int) -> bytes:
        """At least one byte and at most `bytes_max`; empty at the end. Raises ConnectionError when the link broke."""
        while not self._chunks:
            if self._ended:
                if self._error is not None:
                    raise ConnectionResetError(str(self._error) or type(self._error).__name__) from self._error
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = self._chunks.popleft()
        if len(data) > bytes_max:
            self._chunks.appendleft(data[bytes_max:])
            data = data[:bytes_max]
        self._buffered -= len(data)
        if self._paused and self._buffered < BUFFER_BYTES_HIGH // 2 and self._wire is not None:
            self._paused = False
            self._wire.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Hands `data` to SSH and waits while its window is full. Raises ConnectionError when the link broke."""
        self._raise_if_ended()
        assert self._wire is not None
        self._wire.write(data)
        await self._writable.wait()
        self._raise_if_ended()

    def write_end(self) -> None:
        """Tells the peer that no more bytes come from here."""
        if self._wire is not None and not self._gone.is_set():
            self._wire.write_eof()

    async def wait_gone(self) -> None:
        """Returns when the channel is gone: `exit_status` is then as final as it gets."""
        await self._gone.wait()

    def _raise_if_ended(self) -> None:
        if self._wire is None or (self._ended and self._error is not None):
            raise ConnectionResetError(str(self._error or "the channel is closed")) from self._error

    def close(self) -> None:
        """Lets go at once; never waits for a peer that may be gone."""
        if self._wire is not None:
            self._wire.abort()
        self.end()
