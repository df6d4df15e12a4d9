"""One place of a plant that a decision is written to, over one connection: what the writer needs of a protocol."""

from __future__ import annotations

from typing import Protocol


class WriteLost(Exception):
    """The connection can no longer be trusted; make a new one. The text says why."""


class WriteRefused(Exception):
    """The device answered that it does not do this; the connection is fine. The text is the device's own."""


class Writable(Protocol):
    """An open connection to one place, and to the place of its heartbeat."""

    async def read(self) -> float:
        """What stands there; NaN where the device does not say. Raises WriteLost, WriteRefused."""

    async def write(self, value: float) -> None:
        """Raises WriteLost, WriteRefused."""

    def reads_as(self, value: float) -> float:
        """What `value` is read as once it stands there, behind the rounding of the place's own type."""

    async def beat(self, count: int) -> None:
        """The heartbeat's next number, of as many bits as its place has. Raises WriteLost, WriteRefused."""

    async def tell(self, code: int) -> None:
        """How the bundle does, as a number. Raises WriteLost, WriteRefused."""

    async def close(self) -> None:
        """Lets the connection go."""
