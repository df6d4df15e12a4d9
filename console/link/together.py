"""What one turn of the event loop writes leaves together: one system call and one segment, in place of one a packet.

The SSH library writes each packet by itself, and an empty one before it. With Nagle's delay off, as it must be for
short answers, each would be a segment of its own: on a radio link the headers alone would be more than what is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class _Made(Protocol):
    def connection_made(self, transport: Any) -> None: ...


M = TypeVar("M", bound=_Made)


class TogetherTransport:
    """A transport that holds what is written until the loop's next turn. All else is the inner transport's."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner, self._loop = inner, loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        """Goes out with whatever else is written in this turn, in order."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Ends the connection behind what was written."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """Ends the connection; what was not sent is dropped."""
        self._held.clear()
        self._inner.abort()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._inner.is_closing():
            self._inner.write(held[0] if len(held) == 1 else b"".join(held))


def together(factory: Callable[[], M]) -> Callable[[], M]:
    """Makes what `factory` makes, which will write through a TogetherTransport."""

    def make() -> M:
        made = factory()
        attach = made.connection_made
        loop = asyncio.get_running_loop()
        made.connection_made = lambda transport: attach(TogetherTransport(transport, loop))  # type: ignore[method-assign]
        return made

    return make
