"""One HTTP POST after another over a connection that is kept: the border to http.client, in a thread of its own."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

ANSWER_BYTES_MAX: Final = 64 << 10
RETRY_AFTER_S_MAX: Final = 300.0


class PostFailed(Exception):
    """Nothing is known of what became of it: no connection, no answer, or an answer that is not HTTP."""


class Answer(NamedTuple):
    """What the other end said. `retry_after_s`: how long it asks to be left alone, 0 where it does not."""

    status: int
    reason: str
    retry_after_s: float


def endpoint(url: str) -> SplitResult:
    """http://HOST[:PORT]/PATH or https. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise ValueError(f"{url!r} is not an address like https://mes.plant:8443/outcomes")
    if parts.port == 0:
        raise ValueError("there is no port 0")
    return parts


class Poster:
    """Posts to one address. One at a time; each takes at most `timeout_s` for each of connect, send and answer."""

    def __init__(self, url: str, headers: dict[str, str], *, timeout_s: float, ca_file: str | None) -> None:
        self._where = endpoint(url)
        self._headers = headers
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="post")
        self._connection: http.client.HTTPConnection | None = None

    async def post(self, body: bytes) -> Answer:
        """Raises PostFailed."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._post, body)

    def close(self) -> None:
        """Closes behind the post that is under way."""
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)

    def _post(self, body: bytes) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        path = self._where.path or "/"
        target = f"{path}?{self._where.query}" if self._where.query else path
        try:
            self._connection.request("POST", target, body, {"Content-Type": "application/json", **self._headers})
            answer = self._connection.getresponse()
            said = answer.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._drop()
            raise PostFailed(f"{self._where.hostname}: {error or type(error).__name__}") from error
        if len(said) > ANSWER_BYTES_MAX or answer.will_close:
            self._drop()
        return Answer(answer.status, answer.reason, _seconds(answer.getheader("Retry-After")))

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._where.hostname, self._where.port
        assert host is not None
        if self._where.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise PostFailed(f"ca_file: {error}") from error
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _seconds(text: str | None) -> float:
    """Retry-After in seconds; its form as a date is not followed, since clocks differ in a plant."""
    return min(float(text), RETRY_AFTER_S_MAX) if text is not None and text.isdecimal() else 0.0
