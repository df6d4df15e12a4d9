"""Where sources that are spoken to over HTTP wait for what comes in: by the source's id, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Door = Callable[[bytes], int]


class NotTaken(Exception):
    """What was brought is not what the source expects; the text says why, and nothing of it was taken."""


class Doors:
    """The open doors of one worker."""

    def __init__(self) -> None:
        self._open: dict[str, Door] = {}

    @contextmanager
    def open(self, id: str, door: Door) -> Iterator[None]:  # noqa: A002
        """Lets `door` be found under `id` for the time of the block."""
        self._open[id] = door
        try:
            yield
        finally:
            del self._open[id]

    def find(self, id: str) -> Door | None:  # noqa: A002
        """What takes the bytes of a request and says how many sweeps they were, or raises NotTaken."""
        return self._open.get(id)
