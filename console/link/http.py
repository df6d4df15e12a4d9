"""HTTP/1.1 as a client reads and writes it: heads and bodies between bytes and values. Pure.

Strict (RFC 9112), since what answers may be anything: an answer that does not say how long it is, that says it twice,
or in a form of which two readers could make two things, is refused. So an end in it is a loss and never its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

HEAD_BYTES_MAX = 16 << 10
LINE_BYTES_MAX = 4 << 10
LENGTH_DIGITS_MAX = 15
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n\0]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}):[ \t]*([^\r\n\0]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n\0]*)?")
_TARGET = re.compile(r"/[!-~]*")
_WRITTEN = re.compile(r"[^\r\n\0]*")


class NotHttp(Exception):
    """What came is not an HTTP/1.1 answer; the text says what is wrong with it."""


class Head(NamedTuple):
    """What an answer begins with. `length` None: the body comes in chunks."""

    status: int
    length: int | None
    stays_open: bool


def request_head(method: str, target: str, headers: Mapping[str, str], length: int | None) -> bytes:
    """The bytes before a request's body. `length` None: in chunks. Raises ValueError for what cannot be said."""
    if not _TARGET.fullmatch(target) or not method.isalpha():
        raise ValueError(f"{method} {target!r} cannot stand in a request")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if not _WRITTEN.fullmatch(value):
            raise ValueError(f"{name} may hold no line end: {value!r}")
        lines.append(f"{name}: {value}")
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif length or method != "GET":
        lines.append(f"Content-Length: {length}")
    return "\r\n".join((*lines, "\r\n")).encode()


def read_head(buffer: bytes) -> tuple[Head, bytes] | None:
    """The head at the start of `buffer` and the bytes behind it; None: more has to come. Raises NotHttp.

    Interim answers (1xx) are passed over.
    """
    size = len(buffer)
    while True:
        if not buffer.startswith(b"HTTP/1."[: len(buffer)]):
            raise NotHttp(f"it begins with {buffer[:20]!r}")
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_BYTES_MAX:
            if size > HEAD_BYTES_MAX:
                raise NotHttp(f"a head over {HEAD_BYTES_MAX} bytes")
            return None
        head = _head(buffer[:end].split(b"\r\n"))
        buffer = buffer[end + 4 :]
        if head.status >= 200:
            return head, buffer
        if head.status == 101:
            raise NotHttp("it changes to another protocol")


def _head(lines: list[bytes]) -> Head:
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        raise NotHttp(f"it begins with {lines[0][:40]!r}")
    fields: dict[bytes, set[bytes]] = {}
    for line in lines[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise NotHttp(f"the header {line[:40]!r} cannot be read")
        fields.setdefault(field[1].lower(), set()).add(field[2].lower())
    code = int(status[2])
    stays_open = status[1] == b"1" and not any(b"close" in value for value in fields.get(b"connection", ()))
    return Head(code, _length(code, fields.get(b"content-length"), fields.get(b"transfer-encoding")), stays_open)


def _length(code: int, lengths: set[bytes] | None, encodings: set[bytes] | None) -> int | None:
    if encodings is not None:
        if lengths is not None or encodings != {b"chunked"}:
            raise NotHttp("it says in more than one way how long it is")
        return None
    if lengths is not None:
        (told, *others) = lengths
        if others or not told.isdigit() or len(told) > LENGTH_DIGITS_MAX:
            raise NotHttp("its length is not a number")
        return int(told)
    if code < 200 or code in (204, 304):
        return 0
    raise NotHttp("it does not say how long it is")


class FixedBody:
    """A body of a known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        return self._left == 0

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`. Raises NotHttp for bytes behind the body's end."""
        if len(data) > self._left:
            raise NotHttp("bytes behind its end")
        self._left -= len(data)
        return data


class ChunkedBody:
    """A body in chunks; extensions and trailers are read and dropped."""

    __slots__ = ("_buffer", "_left", "_state", "done")

    def __init__(self) -> None:
        self.done = False
        self._buffer = b""
        self._left = 0
        self._state = "size"  # size, data, data end, trailers

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`. Raises NotHttp."""
        buffer = self._buffer + data if self._buffer else data
        payload: list[bytes] = []
        at = 0
        while not self.done:
            if self._state == "data":
                piece = buffer[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                payload.append(piece)
                if self._left:
                    break
                self._state = "data end"
            end = buffer.find(b"\r\n", at)
            if end < 0:
                break
            self._line(buffer[at:end])
            at = end + 2
        self._buffer = buffer[at:]
        if (self.done and self._buffer) or len(self._buffer) > LINE_BYTES_MAX:
            raise NotHttp("bytes behind its end" if self.done else "a line between chunks is too long")
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _line(self, line: bytes) -> None:
        if self._state == "trailers":
            self.done = not line
        elif self._state == "data end":
            if line:
                raise NotHttp("a chunk is longer than its size")
            self._state = "size"
        else:
            size = _CHUNK.fullmatch(line)
            if size is None:
                raise NotHttp("a chunk does not say its size")
            self._left = int(size[1], 16)
            self._state = "data" if self._left else "trailers"


def body_of(head: Head) -> FixedBody | ChunkedBody:
    """What reads the body behind `head`."""
    return ChunkedBody() if head.length is None else FixedBody(head.length)
