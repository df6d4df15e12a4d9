"""What the HTTP server hands to a handler and takes back: requests, answers, limits, errors. Values only.

Errors have two shapes on one server: `{"error": "text"}` below /v2, as the Open Inference Protocol wants it, and
`protocol.ErrorBody` everywhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Literal

import msgspec

from nodeagent import protocol
from nodeagent.http.body import BodyReader

JSON_LINES = b"content-type: application/json\r\n"
_NO_HEADERS: Mapping[str, str] = {}

_REASONS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one server accepts. `*_s` are seconds between the steps of one connection; the clock is the loop's."""

    head_bytes_max: int = 16_384
    headers_max: int = 64
    json_bytes_max: int = protocol.JSON_BYTES_MAX
    tensor_bytes_max: int = 64 << 20
    upload_bytes_max: int = protocol.CHUNK_BYTES_MAX
    buffered_bytes_max: int = 256 << 20  # bodies being received, over all connections
    connections_max: int = 512
    pipeline_max: int = 64
    head_s: float = 10.0
    body_idle_s: float = 20.0
    body_s: float = 300.0
    idle_s: float = 120.0
    write_stall_s: float = 30.0
    linger_s: float = 2.0


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the other end, as the kernel says; -1 is not known (TCP).

    `actor` is the login name, or the name that the stdio bridge gave in its preface (`kind` is then `bridge`).
    `role` is the socket's; a preface can lower it to monitor, never raise it. `releases`: of those who operate, whether
    also what is new may be brought; a preface can take that away.
    """

    pid: int = -1
    uid: int = -1
    gid: int = -1
    actor: str = ""
    role: Literal["operate", "monitor"] = "monitor"
    releases: bool = True
    kind: Literal["unix", "bridge", "tcp"] = "unix"


class Head(msgspec.Struct, kw_only=True):
    """A request's first lines, parsed. A pure function of `raw`, so heads are kept and found again by their bytes."""

    raw: bytes
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content_length: int
    chunked: bool
    keep_alive: bool
    http_1_0: bool
    expects_continue: bool
    encoding: str
    body_bytes_max: int = 0
    streamed: bool = False


class Request:
    """One request. `body` is whole and inflated, or empty where `reader` gives it piece by piece (uploads).

    HEAD arrives as GET; the server drops the body of the answer.
    """

    __slots__ = ("body", "head", "peer", "reader")

    def __init__(self, head: Head, body: bytes, peer: Peer, reader: BodyReader | None = None) -> None:
        self.head = head
        self.body = body
        self.peer = peer
        self.reader = reader

    @property
    def method(self) -> str:
        return "GET" if self.head.method == "HEAD" else self.head.method

    @property
    def path(self) -> str:
        """Percent-decoded, without the query; a decoded slash was refused."""
        return self.head.path

    @property
    def query(self) -> dict[str, str]:
        return self.head.query

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; repeated ones joined by a comma."""
        return self.head.headers


class Response:
    """One answer. `lines` are header lines already in wire form, each with its CRLF: the fast path's `headers`."""

    __slots__ = ("body", "headers", "lines", "status", "stream")

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        stream: AsyncIterator[bytes] | None = None,
        lines: bytes = JSON_LINES,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.stream = stream
        self.lines = lines


Handler = Callable[[Request], Awaitable[Response] | Response]
Reply = Callable[[Response], None]
# Asked before the handler: True means it took the request and calls `reply` once, now or later. No coroutine.
FastPath = Callable[[Request, Reply], bool]


class HttpError(Exception):
    """A request that is answered by an error. `code` is a key of protocol.ERRORS and gives the status."""

    def __init__(self, code: str, message: str, hint: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = protocol.ERRORS[code][0] if status is None else status


def json_response(value: object, status: int = 200) -> Response:
    """`value` (anything msgspec can encode) as JSON."""
    return Response(status, msgspec.json.encode(value))


def error_response(path: str, error: HttpError) -> Response:
    """The error in the shape of the path: text below /v2, a protocol.Error elsewhere."""
    if path == "/v2" or path.startswith("/v2/"):
        text = f"{error.message} ({error.hint})" if error.hint else error.message
        return json_response({"error": text}, error.status)
    owner = protocol.ERRORS[error.code][1]
    body = protocol.Error(code=error.code, message=error.message, hint=error.hint, owner=owner)
    return json_response(protocol.ErrorBody(body), error.status)


def response_head(response: Response, *, close: bool, chunked: bool = False) -> bytes:
    """The status line and headers of an answer, up to and with the empty line."""
    status = response.status
    lines = response.lines
    if response.headers:
        own = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
        kept = lines if "content-type" not in (name.lower() for name in response.headers) else b""
        lines = kept + own.encode("latin-1")
    length = b"transfer-encoding: chunked\r\n" if chunked else b"content-length: %d\r\n" % len(response.body)
    if response.stream is not None and not chunked:
        length = b""
    last = b"connection: close\r\n\r\n" if close else b"\r\n"
    if status == 200:
        return b"HTTP/1.1 200 OK\r\n" + lines + length + last
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n".encode() + lines + length + last
