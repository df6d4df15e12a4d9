"""An upload over real SSH that is cut again and again: how many bytes cross the wire for one blob.

Between console and sshd stands a relay that counts what the console sends and drops every connection, both ways and
without a word, when the next cut is due. What is counted is the wire: encryption, headers, and what was lost on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import io
import random
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

from console.client.client import AgentClient
from console.delivery.upload import Meter, upload
from console.fleet.view import NodeAddress
from console.link.hostkeys import HostKeys
from console.link.node import NodeLink
from console.link.pool import BULK, Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import Nobody

RE_SENT_MAX = 0.05
RELAY_BYTES = 64 << 10


class Outcome(NamedTuple):
    """`wire_bytes`: what the console sent, all of it."""

    size: int
    cuts: int
    wire_bytes: int
    whole: bool

    @property
    def re_sent(self) -> float:
        return self.wire_bytes / self.size - 1

    def wrong(self) -> list[str]:
        """What does not hold."""
        found = [] if self.whole else ["the blob did not become whole"]
        if self.re_sent >= RE_SENT_MAX:
            found.append(f"{self.re_sent:.1%} of {self.size} bytes were sent again with {self.cuts} cuts")
        return found


class Relay:
    """TCP to `port` on this machine, cut after each of `cuts` (bytes from the client, in all)."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._target, self._cuts = port, sorted(cuts)
        self.sent_bytes, self.done_cuts = 0, 0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        await asyncio.gather(
            self._pass(reader, far_writer, count=True), self._pass(far_reader, writer), return_exceptions=True
        )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False) -> None:
        while data := await reader.read(RELAY_BYTES):
            if count:
                self.sent_bytes += len(data)
                if self._cuts and self.sent_bytes >= self._cuts[0]:
                    self._cuts.pop(0)
                    self.done_cuts += 1
                    self._cut()
                    return
            writer.write(data)
            await writer.drain()
        writer.close()


def a_lab() -> AbstractContextManager[Any]:
    """Servers to log in to, as tests/real makes them."""
    return cast(AbstractContextManager[Any], _servers()._lab())


def _servers() -> ModuleType:
    path = Path(__file__).parents[1] / "real" / "conftest.py"
    spec = importlib.util.spec_from_file_location("real_servers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(lab: Any, agent: Any, *, size: int, cuts: int, seed: int = 1) -> Outcome:
    """One blob of `size` bytes to a running agent through an sshd of the lab, cut so many times."""
    source = random.Random(seed)
    places = sorted(source.sample(range(size // 50, size), cuts))
    return asyncio.run(_run(lab, agent, source.randbytes(size), places))


async def _run(lab: Any, agent: Any, data: bytes, places: list[int]) -> Outcome:
    server, digest = lab.sshd(), f"sha256:{hashlib.sha256(data).hexdigest()}"

    async def piece() -> None:
        return

    async with Relay(server.port, places) as relay:
        known = lab.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{relay.port} {server.host_public}\n")
        pool = Pool(Ssh(HostKeys(known), Secrets(Nobody()), agent_path=""))
        identity = (str(lab.identity),)
        where = NodeAddress(
            "press-07", "127.0.0.1", relay.port, server.user, socket=str(agent.socket), identity_files=identity
        )
        link = NodeLink(where, pool, lane=BULK)
        try:
            client = AgentClient(link, "press-07")
            meter = Meter(len(data))
            state = await upload(client, digest, io.BytesIO(data), len(data), meter=meter, on_piece=piece)
        finally:
            await link.retire()
        return Outcome(len(data), relay.done_cuts, relay.sent_bytes, state.complete)
