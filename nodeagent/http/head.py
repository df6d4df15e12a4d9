"""From the bytes of a request's head to a Head, by llhttp (httptools) and rules of our own on top. Pure.

The server cuts heads out by their empty line and gives each to a fresh parser, so that the end of every request is
known to the byte: open connections can be handed to another process in the middle of a request. What two readers could
understand differently (RFC 9112 section 11.2, request smuggling) is refused, never repaired.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote_to_bytes

import httptools

from nodeagent.http.message import Head, HttpError, Limits

_QUERY_FIELDS_MAX = 32
_LENGTH = re.compile(rb"[0-9]{1,15}")
_BARE_LF = re.compile(rb"(?<!\r)\n")
# A second one of these would let two readers disagree about where the body ends or what it is.
_SINGLE = frozenset(
    ("content-length", "transfer-encoding", "host", "content-encoding", "expect", "inference-header-content-length")
)


class _Parts:
    """Receives httptools' callbacks for one head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_head(raw: bytes, limits: Limits) -> Head:
    """The head that ends with the empty line at the end of `raw`. Raises HttpError, after which nothing is readable."""
    if _BARE_LF.search(raw) or b"\r\n " in raw or b"\r\n\t" in raw or b"\0" in raw:
        raise _malformed("bare line feed, folded header or NUL in the head")
    parts = _Parts()
    parser = httptools.HttpRequestParser(parts)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer, which a server may leave unanswered: the request itself is ordinary
    except (httptools.HttpParserError, httptools.HttpParserInvalidURLError) as error:
        raise _malformed(str(error) or "unreadable head") from error
    if not parts.complete:
        raise _malformed("unreadable head")
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise HttpError("REQUEST.MALFORMED", f"HTTP/{version} is not spoken here", status=505)
    headers = _headers(parts.headers, limits)
    http_1_0 = version == "1.0"
    if not http_1_0 and "host" not in headers:
        raise _malformed("HTTP/1.1 without Host")
    length, chunked = _framing(headers, http_1_0)
    path, query = _target(parts.url)
    return Head(
        raw=raw,
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        content_length=length,
        chunked=chunked,
        keep_alive=_keeps_alive(headers, http_1_0),
        http_1_0=http_1_0,
        expects_continue=_expects(headers) and not http_1_0,
        encoding=_encoding(headers),
    )


def _headers(pairs: list[tuple[bytes, bytes]], limits: Limits) -> dict[str, str]:
    if len(pairs) > limits.headers_max:
        raise HttpError("LIMIT.HEADERS", f"more than {limits.headers_max} headers")
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            if name in _SINGLE:
                raise _malformed(f"{name} given twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _framing(headers: dict[str, str], http_1_0: bool) -> tuple[int, bool]:
    """(content length, chunked): at most one of the two says how the body ends."""
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise _malformed("both Content-Length and Transfer-Encoding")
        if http_1_0:
            raise _malformed("Transfer-Encoding in HTTP/1.0")
        if coding.lower() != "chunked":
            raise HttpError("REQUEST.MALFORMED", f"transfer coding {coding[:40]!r}", status=501)
        return 0, True
    if length is None:
        return 0, False
    if not _LENGTH.fullmatch(length.encode("latin-1")):
        raise _malformed("Content-Length is not a number")
    return int(length), False


def _target(url: bytes) -> tuple[str, dict[str, str]]:
    if not url.startswith(b"/") or b"#" in url:
        raise _malformed("the target is not a path")
    raw_path, _, raw_query = url.partition(b"?")
    try:
        path = raw_path.decode("ascii")
        if "%" in path:
            if "%2f" in path.lower():
                raise _malformed("an escaped slash in the path")
            path = unquote_to_bytes(path).decode("utf-8")
        pairs = parse_qsl(
            raw_query.decode("ascii"), keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise _malformed("the target is not readable") from error
    if any(ord(letter) < 32 for letter in path):
        raise _malformed("a control character in the path")
    query = dict(pairs)
    if len(query) != len(pairs):
        raise _malformed("a query parameter given twice")
    return path, query


def _keeps_alive(headers: dict[str, str], http_1_0: bool) -> bool:
    tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
    return "keep-alive" in tokens if http_1_0 else "close" not in tokens


def _expects(headers: dict[str, str]) -> bool:
    expectation = headers.get("expect")
    if expectation is None:
        return False
    if expectation.lower() != "100-continue":
        raise HttpError("REQUEST.MALFORMED", f"expectation {expectation[:40]!r}", status=417)
    return True


def _encoding(headers: dict[str, str]) -> str:
    encoding = headers.get("content-encoding", "").lower()
    if encoding in ("", "identity"):
        return ""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise HttpError("REQUEST.ENCODING", f"content encoding {encoding[:40]!r}", "send gzip, deflate or none")
    return encoding.removeprefix("x-")


def _malformed(text: str) -> HttpError:
    return HttpError("REQUEST.MALFORMED", text)
