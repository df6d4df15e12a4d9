"""The link to one node: an SSH connection when it is needed, and HTTP to the agent inside it."""

from __future__ import annotations

import asyncio
import posixpath
import shlex
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Literal

from console.fleet.view import LinkState, NodeAddress
from console.link.channel import Channel
from console.link.endpoint import route_of
from console.link.errors import BridgeRefused, ChannelRefused, LinkError, NotListening
from console.link.pool import LIVE, Pool
from console.link.transport import Answer, Body, HttpOverChannels
from nodeagent.protocol import OPERATOR_HEADER, ROLE_HEADER

if TYPE_CHECKING:
    from console.link.ssh import Connection

SOCKET_DEFAULT = "/run/outstation/agent.sock"
MONITOR_SOCKET = "monitor.sock"
OPERATE: Literal["operate"] = "operate"
MONITOR: Literal["monitor"] = "monitor"
Role = Literal["operate", "monitor"]
AUTO = ""
STREAMLOCAL = "streamlocal"
BRIDGE = "bridge"
CONNECTIONS_MAX = 4


class NodeLink:
    """Connects at the first request and again after a loss. `way` is how the agent is reached, once it is known.

    With the role OPERATE it speaks to the socket that the address names. With MONITOR it speaks to the one beside it,
    and where that is not there, to the operate socket with the role lowered in every request; `mode` says so.
    """

    def __init__(
        self, address: NodeAddress, pool: Pool, *, lane: str = LIVE, role: Role = OPERATE, operator: str = ""
    ) -> None:
        self.address = address
        self.way = AUTO
        self._route = route_of(address)
        self._pool, self._lane, self._role = pool, lane, role
        self._shares_socket = False
        self._retired = False
        self._lock = asyncio.Lock()
        self._held = AsyncExitStack()
        self._connections: list[Connection] = []
        headers = {OPERATOR_HEADER: operator, ROLE_HEADER: MONITOR if role == MONITOR else ""}
        self._http = HttpOverChannels(address.name, self._open, {k: v for k, v in headers.items() if v})

    @property
    def mode(self) -> str:
        """How the agent is reached, for people: `streamlocal` or `bridge`, and if it reads over the operate socket."""
        return f"{self.way}, operate socket" if self._shares_socket else self.way

    @property
    def is_open(self) -> bool:
        """Whether the SSH connection stands, as far as is known."""
        return bool(self._connections) and not self._connections[0].is_closed

    async def connect(self) -> Connection:
        """The SSH connection, made anew where there is none. Raises LinkError."""
        async with self._lock:
            if self._retired:
                raise LinkError(LinkState.REFUSED, self.address.name, "this way to change the node was closed")
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
        """Ends everything; a request that comes later connects again."""
        await self._http.aclose()
        await self.drop()

    async def retire(self) -> None:
        """Ends everything for good: no request gets through any more."""
        self._retired = True
        await self.aclose()

    async def _let_go(self) -> None:
        self._connections.clear()
        await self._held.aclose()

    async def _open(self) -> Channel:
        """A channel to the agent's socket: forwarded by sshd, or where it forbids that, over the stdio bridge."""
        connection = await self.connect()
        refused: LinkError | None = None
        for role in self._roles() if self.way != BRIDGE else ():
            try:
                return self._reached(STREAMLOCAL, role, await connection.open_socket(self._socket(role)))
            except ChannelRefused as error:
                refused = error
        for role in self._roles():
            try:
                return self._reached(BRIDGE, role, await self._open_bridge(self._bridge_command(role)))
            except BridgeRefused as error:
                failed: LinkError = error
            except ChannelRefused as error:
                failed = error
                break
        raise self._no_agent(failed) from refused or failed

    def _roles(self) -> tuple[Role, ...]:
        """The sockets to try, in order."""
        return (MONITOR, OPERATE) if self._role == MONITOR else (OPERATE,)

    def _reached(self, way: str, role: Role, channel: Channel) -> Channel:
        self.way, self._shares_socket = way, role != self._role
        return channel

    def _socket(self, role: Role) -> str:
        socket = self.address.socket or SOCKET_DEFAULT
        return posixpath.join(posixpath.dirname(socket), MONITOR_SOCKET) if role == MONITOR else socket

    async def _open_bridge(self, command: str) -> Channel:
        """Each bridge is a session, and sshd allows MaxSessions of them a connection: then one more login is made."""
        for connection in list(self._connections):
            try:
                return await connection.open_bridge(command)
            except ChannelRefused:
                if self.way != BRIDGE or len(self._connections) >= CONNECTIONS_MAX:
                    raise
        async with self._lock:
            connection = await self._add()
        return await connection.open_bridge(command)

    def _bridge_command(self, role: Role) -> str:
        words = [self.address.agent, "connect"]
        if role == MONITOR:
            words += ["--role", MONITOR]
        if self.address.socket:
            words += ["--socket", self._socket(role)]
        return "exec " + shlex.join(words)

    def _no_agent(self, error: LinkError) -> LinkError:
        sockets = " and ".join(self._socket(role) for role in self._roles())
        message = (
            f"the agent is not reached. Tried: the socket {sockets}; `{self.address.agent} connect`: {error.message}"
        )
        hint = (
            f"is outstation-agent running on {self.address.name}, and may {self._route.target.user} reach it?"
            f" Where there is none: `outstation node bootstrap {self.address.name} --kit FILE` puts it there"
        )
        if not self.address.socket:
            hint += (
                ". Its launcher says at start which socket it listens on (STATE/run/agent.sock, unless node.toml says"
                " otherwise): give that to `outstation node add` as --socket, and the command's path as --agent"
            )
        return NotListening(LinkState.NO_AGENT, self.address.name, message, hint)
