"""Messages over a Unix stream socket between supervisor and worker and between two workers: JSON, bytes, descriptors.

A message is `<I I H>` (bytes of JSON, bytes of payload, descriptors), the JSON object, the payload; its descriptors
travel with its first byte. Both directions are bounded: a peer that does not read loses the channel, never our memory.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from nodeagent.processes.control import descriptors

HEADER: Final = struct.Struct("<IIH")
JSON_BYTES_MAX: Final = 4 << 20
PAYLOAD_BYTES_MAX: Final = 96 << 20
FDS_MAX: Final = 128
OUT_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + JSON_BYTES_MAX
UNREAD_MESSAGES_MAX: Final = 64
READ_BYTES: Final = 256 << 10


class ChannelClosed(ConnectionError):
    """The peer is gone, or broke the rules of this channel."""


class Message(NamedTuple):
    """One message. Who receives one owns its descriptors."""

    body: dict[str, Any]
    payload: bytes
    fds: list[int]


class Channel:
    """One connection, on the running loop. `send` never blocks; `receive` raises ChannelClosed at the end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._out_bytes = 0
        self._in = bytearray()
        self._in_fds: deque[int] = deque()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._paused = False
        self._closed = False
        self._sent = asyncio.Event()
        self._sent.set()
        self._loop.add_reader(sock, self._readable)

    @classmethod
    async def connect(cls, path: Path, *, timeout_s: float = 5.0) -> Channel:
        """A channel to whoever listens at `path`. Raises OSError, TimeoutError."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, str(path))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def waiting_bytes(self) -> int:
        """What the peer has not taken yet."""
        return self._out_bytes

    def send(self, body: dict[str, Any], payload: bytes = b"", fds: list[int] | None = None) -> None:
        """Queues a message and sends what the peer takes. `fds` are given away: closed here once sent, or never.

        A peer that leaves OUT_BYTES_MAX unread loses the channel. Raises ChannelClosed.
        """
        fds = fds or []
        data = msgspec.json.encode(body)
        if self._closed or len(fds) > FDS_MAX:
            _close_fds(fds)
            raise ChannelClosed("the peer is gone" if self._closed else f"more than {FDS_MAX} descriptors")
        size = HEADER.size + len(data) + len(payload)
        if self._out_bytes + size > OUT_BYTES_MAX:
            _close_fds(fds)
            self.close()
            raise ChannelClosed("the peer does not read")
        self._out.append((memoryview(HEADER.pack(len(data), len(payload), len(fds)) + data + payload), fds))
        self._out_bytes += size
        self._sent.clear()
        if len(self._out) == 1:
            self._writable()

    async def receive(self) -> Message:
        """The next message. Raises ChannelClosed at the end."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)
            raise ChannelClosed("the peer is gone")
        if self._paused and self._messages.qsize() <= UNREAD_MESSAGES_MAX // 2 and not self._closed:
            self._paused = False
            self._loop.add_reader(self._sock, self._readable)
        return message

    async def drain(self, timeout_s: float) -> None:
        """Waits until the peer has taken everything. Raises ChannelClosed, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._sent.wait()
        if self._closed:
            raise ChannelClosed("the peer is gone")

    def close(self) -> None:
        """Closes at once; what was received stays readable."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for _, fds in self._out:
            _close_fds(fds)
        self._out.clear()
        self._out_bytes = 0
        self._sent.set()
        _close_fds(self._in_fds)
        self._in_fds.clear()
        self._messages.put_nowait(None)

    def _writable(self) -> None:
        try:
            while self._out:
                view, fds = self._out[0]
                sent = socket.send_fds(self._sock, [view], fds) if fds else self._sock.send(view)
                _close_fds(fds)
                self._out_bytes -= sent
                if sent == len(view):
                    self._out.popleft()
                else:
                    self._out[0] = (view[sent:], [])
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._writable)
            return
        except OSError:
            self.close()
            return
        self._loop.remove_writer(self._sock)
        self._sent.set()

    def _readable(self) -> None:
        room = socket.CMSG_SPACE(FDS_MAX * array.array("i").itemsize)
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(READ_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._in_fds.extend(descriptors(ancillary))
        self._in += data
        if not data or flags & socket.MSG_CTRUNC or not self._parse():
            self.close()
        elif self._messages.qsize() >= UNREAD_MESSAGES_MAX:
            self._paused = True
            self._loop.remove_reader(self._sock)

    def _parse(self) -> bool:
        """Takes whole messages out of what came. False: the peer broke the rules."""
        at = 0
        while len(self._in) - at >= HEADER.size:
            json_bytes, payload_bytes, fds = HEADER.unpack_from(self._in, at)
            if json_bytes > JSON_BYTES_MAX or payload_bytes > PAYLOAD_BYTES_MAX or fds > FDS_MAX:
                return False
            start = at + HEADER.size
            end = start + json_bytes + payload_bytes
            if len(self._in) < end:
                break
            if len(self._in_fds) < fds:
                return False
            try:
                body = msgspec.json.decode(memoryview(self._in)[start : start + json_bytes], type=dict[str, Any])
            except msgspec.DecodeError:
                return False
            payload = bytes(memoryview(self._in)[start + json_bytes : end])
            self._messages.put_nowait(Message(body, payload, [self._in_fds.popleft() for _ in range(fds)]))
            at = end
        del self._in[:at]
        return True


def _close_fds(fds: list[int] | deque[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
    fds.clear()
