"""Commands on a node over its SSH connection: sent, fed, heard to their end."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.client.clean import clean
from console.fleet.view import LinkState
from console.link.channel import Channel
from console.link.errors import LinkError

if TYPE_CHECKING:
    from console.link.ssh import Connection

OUTPUT_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. `status` is None where a signal or the link ended it."""

    status: int | None
    output: str
    said: str


class Shell:
    """Runs commands as `sh -c` on one connection, whatever the account's own shell is. Raises LinkError."""

    def __init__(self, connection: Connection, node: str) -> None:
        self._connection, self.node = connection, node

    async def run(
        self, script: str, *words: str, data: bytes | AsyncIterator[bytes] = b"", timeout_s: float = 30.0
    ) -> Ran:
        """`script` with `words` as $1, $2, ... and `data` as its standard input."""
        command = f"exec sh -c {shlex.quote(script)} sh {shlex.join(words)}"
        channel = await self._connection.open_command(command)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._through(channel, data)
        except TimeoutError as error:
            hint = "the link or the node is slow, or hangs; run the same command again"
            raise LinkError(LinkState.DOWN, self.node, f"no end of a command in {timeout_s:g} s", hint) from error
        finally:
            channel.close()

    async def _through(self, channel: Channel, data: bytes | AsyncIterator[bytes]) -> Ran:
        feeding = asyncio.create_task(_feed(channel, data))
        try:
            output = await self._hear(channel)
            await channel.wait_gone()
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
        if not feeding.cancelled():
            feeding.result()
        if self._connection.is_closed:
            raise LinkError(LinkState.DOWN, self.node, "the connection broke", "run the same command again")
        said = clean(channel.stderr.decode("utf-8", "replace").strip(), 1_000)
        return Ran(channel.exit_status, output.decode("utf-8", "replace"), said)

    async def _hear(self, channel: Channel) -> bytes:
        output = bytearray()
        try:
            while piece := await channel.read(1 << 16):
                output += piece[: OUTPUT_BYTES_MAX - len(output)]
        except OSError as error:
            raise LinkError(LinkState.DOWN, self.node, "the connection broke", "run the same command again") from error
        return bytes(output)


async def _feed(channel: Channel, data: bytes | AsyncIterator[bytes]) -> None:
    """Hands `data` over. A command that ends before it read everything says why itself."""
    try:
        if isinstance(data, bytes):
            if data:
                await channel.write(data)
        else:
            async for piece in data:
                await channel.write(piece)
        channel.write_end()
    except OSError:
        return
