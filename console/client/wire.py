"""Bytes of an agent to protocol structs: decoded, bounded, and cleaned. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, TypeVar, cast

import msgspec

from console.client.clean import TEXT_CHARS_MAX, clean_all, is_plain
from console.fleet.view import LinkState
from console.link.errors import LinkError
from nodeagent.protocol import JSON_BYTES_MAX, Error, ErrorBody

T = TypeVar("T")
# Between two quotes at most this much; numbers in a row are long too, and then only cost the slower way.
_LONG = re.compile(rb'[^"]{%d}' % (TEXT_CHARS_MAX + 1))


class AgentError(Exception):
    """The agent refused: `error` is its own account, cleaned; `node` names it."""

    def __init__(self, error: Error, node: str) -> None:
        super().__init__(f"{node}: {error.message} ({error.code})")
        self.error, self.node = error, node


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(kind: type[T], raw: bytes, node: str, what: str, *, cleaned: bool = True) -> T:
    """`raw` as `kind`; strings cleaned unless they are still to be hashed. Raises LinkError WRONG_PROTOCOL."""
    try:
        value: T = _decoder(cast(Any, kind)).decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{what}: the answer cannot be read: {clean_all(str(error), 200)}"
        raise LinkError(LinkState.WRONG_PROTOCOL, node, message, "agent and console differ: update one") from error
    if not cleaned or (is_plain(raw) and (len(raw) <= TEXT_CHARS_MAX or not _LONG.search(raw))):
        return value
    return clean_all(value)


def refusal(status: int, raw: bytes, node: str, what: str) -> AgentError:
    """What an answer that is not 2xx says; made up truthfully where it says nothing readable."""
    try:
        error = _decoder(ErrorBody).decode(raw).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        error = Error(code="INTERNAL", message=f"{what}: HTTP status {status} without a reason", owner="outstation")
    return AgentError(clean_all(error), node)


async def lines(chunks: AsyncIterator[bytes], node: str) -> AsyncGenerator[bytes, None]:
    """NDJSON lines without their ends; empty ones (a sign of life) are passed over. A part at the end is dropped."""
    rest = b""
    async for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest += first
        for line in others:
            if rest.strip():
                yield rest
            rest = line
        if len(rest) > JSON_BYTES_MAX:
            raise LinkError(LinkState.WRONG_PROTOCOL, node, f"a line over {JSON_BYTES_MAX} bytes")
