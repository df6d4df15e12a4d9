"""The reading half of one connection, without I/O: bytes in, whole requests (or the start of an upload) out.

It always knows to the byte where the request that is being received began, so that `leftover` can be given to another
process which goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable

from nodeagent.http.body import BodyError, BodyReader, ChunkedBody, FixedBody, inflate
from nodeagent.http.head import parse_head
from nodeagent.http.message import Head, HttpError, Limits, Peer, Request
from nodeagent.http.preface import with_preface

HEADS_KEPT_MAX = 256
HEAD_KEPT_BYTES_MAX = 2_048

# The largest body for a request, and whether its handler reads it piece by piece.
Admit = Callable[[Head], tuple[int, bool]]


class Heads:
    """Parsed heads by their bytes: a client that keeps a connection sends the same head again and again."""

    def __init__(self, limits: Limits, admit: Admit) -> None:
        self._limits = limits
        self._admit = admit
        self._kept: dict[bytes, Head] = {}

    def get(self, raw: bytes) -> Head:
        """Raises HttpError."""
        head = self._kept.get(raw)
        if head is None:
            head = parse_head(raw, self._limits)
            head.body_bytes_max, head.streamed = self._admit(head)
            if head.streamed and head.encoding:
                raise HttpError("REQUEST.ENCODING", "an upload is not inflated here", "send it as it is")
            if len(raw) <= HEAD_KEPT_BYTES_MAX:
                if len(self._kept) >= HEADS_KEPT_MAX:
                    self._kept.clear()
                self._kept[raw] = head
        return head


class Incoming:
    """What arrived on a connection and was not started yet."""

    def __init__(self, peer: Peer, heads: Heads, limits: Limits, hold: Callable[[int], None]) -> None:
        self.peer = peer
        self.buffer = b""
        self.head: Head | None = None  # of the request whose body is being received
        self.reader: BodyReader | None = None
        self.owes_continue = False
        self._heads = heads
        self._limits = limits
        self._hold = hold
        self._preface: bytes | None = None  # None: not looked for yet
        self._framer: FixedBody | ChunkedBody | None = None
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    @property
    def in_body(self) -> bool:
        return self._framer is not None

    def feed(self, data: bytes) -> None:
        """What the transport read."""
        self.buffer = self.buffer + data if self.buffer else data

    def next(self) -> Request | None:
        """The next request, an upload's with a reader; None where more bytes are needed.

        Raises HttpError or BodyError, after which nothing more can be read.
        """
        if self._framer is None:
            if self._preface is None and not self._take_preface():
                return None
            return self._next_head()
        return self._next_body(self._framer)

    def _take_preface(self) -> bool:
        found = with_preface(self.peer, self.buffer)
        if found is None:
            return False
        self._preface, self.peer = found
        self.buffer = self.buffer[len(self._preface) :]
        return True

    def _next_head(self) -> Request | None:
        while self.buffer.startswith(b"\r\n"):  # RFC 9112 section 2.2
            self.buffer = self.buffer[2:]
        buffer = self.buffer
        end = buffer.find(b"\r\n\r\n")
        bytes_max = self._limits.head_bytes_max
        if end > bytes_max or (end < 0 and len(buffer) > bytes_max):
            raise HttpError("LIMIT.HEADERS", f"the head is larger than {bytes_max} bytes")
        if end < 0:
            return None
        end += 4
        head = self._heads.get(buffer[:end])
        length = head.content_length
        if length > head.body_bytes_max:
            self.head = head
            raise HttpError("LIMIT.BODY", f"the body is larger than {head.body_bytes_max} bytes")
        if not (head.chunked or head.streamed) and end + length <= len(buffer):
            self.buffer = buffer[end + length :]
            return self._whole(head, buffer[end : end + length])
        self.buffer = buffer[end:]
        self.head = head
        self._framer = ChunkedBody(head.body_bytes_max) if head.chunked else FixedBody(length)
        self.owes_continue = head.expects_continue and not self.buffer
        if not head.streamed:
            return self._next_body(self._framer)
        return Request(head, b"", self.peer, self._open_reader(head))

    def _open_reader(self, head: Head) -> BodyReader:
        self.reader = BodyReader(None if head.chunked else head.content_length)
        reader = self.reader
        if self._framer is not None and self._framer.done:
            self._end_upload()
        return reader

    def _next_body(self, framer: FixedBody | ChunkedBody) -> Request | None:
        if not self.buffer:
            return None
        self.owes_continue = False
        piece, self.buffer = framer.feed(self.buffer)
        if self.reader is not None:
            self.reader.push(piece)
            if framer.done:
                self._end_upload()
            return None
        self._parts.append(piece)
        self._parts_bytes += len(piece)
        self._hold(len(piece))
        if not framer.done or self.head is None:
            return None
        body, head = b"".join(self._parts), self.head
        self.drop()
        return self._whole(head, body)

    def _whole(self, head: Head, body: bytes) -> Request:
        if head.encoding and body:
            self.head = head  # for the shape of the error
            body = inflate(body, head.encoding, head.body_bytes_max)
            self.head = None
        return Request(head, body, self.peer)

    def _end_upload(self) -> None:
        if self.reader is not None:
            self.reader.finish()
        self.reader = self._framer = self.head = None

    def fail_upload(self, error: Exception) -> bool:
        """Tells the handler that reads the body that it breaks off. False: no upload is under way."""
        if self.reader is None:
            return False
        self.reader.finish(error)
        self.reader = self._framer = self.head = None
        self.buffer = b""
        return True

    def drop(self) -> None:
        """Forgets the body that is being received."""
        self._hold(-self._parts_bytes)
        self._parts, self._parts_bytes = [], 0
        self._framer = self.head = None

    def leftover(self) -> bytes:
        """What brings a fresh Incoming to where this one is, byte for byte of what was not started."""
        out = self._preface or b""
        if self.head is not None and self._framer is not None:
            out += self.head.raw + self._framer.replay(b"".join(self._parts))
        return out + self.buffer


def as_http_error(error: BodyError) -> HttpError:
    """A damaged or too large body as an answer."""
    return HttpError("LIMIT.BODY" if error.too_large else "REQUEST.MALFORMED", str(error))
