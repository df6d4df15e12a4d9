"""The link to one node: an SSH connection when it is needed, and HTTP to the agent inside it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from console.link.channel import Channel
from console.link.endpoint import route_of
from console.link.errors import BridgeRefused, ChannelRefused, LinkError, NotListening
from console.link.pool import LIVE, Pool
from console.link.transport import Answer, Body, HttpOverChannels
from console.view import LinkState, NodeAddress

if TYPE_CHECKING:
    from console.link.ssh import Connection

SOCKET_DEFAULT = "/run/outstation/agent.sock"
AUTO = ""
STREAMLOCAL = "streamlocal"
BRIDGE = "bridge"
CONNECTIONS_MAX = 4


class NodeLink:
    """Connects at the first request and again after a loss. `mode` is how the agent is reached, once it is known."""

    def __init__(self, address: NodeAddress, pool: Pool, *, lane: str = LIVE) -> None:
        self.address = address
        self.mode = AUTO
        self._route = route_of(address)
        self._pool, self._lane = pool, lane
        self._lock = asyncio.Lock()
        self._held = AsyncExitStack()
        self._connections: list[Connection] = []
        self._http = HttpOverChannels(address.name, self._open)

    @property
    def is_open(self) -> bool:
        """Whether the SSH connection stands, as far as is known."""
        return bool(self._connections) and not self._connections[0].is_closed

    async def connect(self) -> Connection:
        """The SSH connection, made anew where there is none. Raises LinkError."""
        async with self._lock:
            if not self.is_open:
                await self._let_go()
                await self._add()
            return self._connections[0]

    async def _add(self) -> Connection:
        opened = self._pool.connect(self._route, lane=self._lane, identity_files=self.address.identity_files)
        self._connections.append(await self._held.enter_async_context(opened))
        return self._connections[-1]

    async def request(self, method: str, target: str, *, body: Body = None, timeout_s: float) -> Answer:
        """One request, answered whole. Raises LinkError."""
        return await self._http.request(method, target, body=body, timeout_s=timeout_s)

    def stream(
        self, method: str, target: str, *, body: Body = None, timeout_s: float | None
    ) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        """One request whose answer is read as it comes. Raises LinkError."""
        return self._http.stream(method, target, body=body, timeout_s=timeout_s)

    async def drop(self) -> None:
        """Ends the connection at once; open requests fail, the next one connects again."""
        for connection in self._connections:
            connection.abort()
        async with self._lock:
            await self._let_go()

    async def aclose(self) -> None:
        """Ends everything."""
        await self._http.aclose()
        await self.drop()

    async def _let_go(self) -> None:
        self._connections.clear()
        await self._held.aclose()

    async def _open(self) -> Channel:
        """A channel to the agent's socket: forwarded by sshd, or where it forbids that, over the stdio bridge."""
        connection = await self.connect()
        refused: ChannelRefused | None = None
        if self.mode != BRIDGE:
            try:
                channel = await connection.open_socket(self.address.socket or SOCKET_DEFAULT)
                self.mode = STREAMLOCAL
                return channel
            except ChannelRefused as error:
                refused = error
        try:
            channel = await self._open_bridge()
        except (BridgeRefused, ChannelRefused) as error:
            raise self._no_agent(error) from refused or error
        self.mode = BRIDGE
        return channel

    async def _open_bridge(self) -> Channel:
        """Each bridge is a session, and sshd allows MaxSessions of them a connection: then one more login is made."""
        for connection in list(self._connections):
            try:
                return await connection.open_bridge(self._bridge_command())
            except ChannelRefused:
                if self.mode != BRIDGE or len(self._connections) >= CONNECTIONS_MAX:
                    raise
        async with self._lock:
            connection = await self._add()
        return await connection.open_bridge(self._bridge_command())

    def _bridge_command(self) -> str:
        words = [self.address.agent, "connect"]
        if self.address.socket:
            words += ["--socket", self.address.socket]
        return "exec " + shlex.join(words)

    def _no_agent(self, error: LinkError) -> LinkError:
        hint = f"is outstation-agent running on {self.address.name}, and may {self._route.target.user} reach it?"
        socket = self.address.socket or SOCKET_DEFAULT
        message = f"the agent is not reached: {socket} is refused or nobody listens there; the bridge: {error.message}"
        return NotListening(LinkState.NO_AGENT, self.address.name, message, hint)
