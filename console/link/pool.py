"""Connections that nodes share: jump hosts, one connection each per lane, and the door in front of each sshd."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from console.link.endpoint import Endpoint, Route
from console.link.errors import LinkError
from console.link.turns import Turns

if TYPE_CHECKING:
    from console.link.ssh import Connection, Ssh

# sshd drops logins past MaxStartups 10:30:100 (its default) at random.
LOGINS_AT_ONCE_MAX = 8
JITTER_S = 0.05
LIVE = "live"
BULK = "bulk"

Hops = tuple[Endpoint, ...]


@dataclass
class _Shared:
    """One jump connection and how many nodes stand on it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Connection | None = None
    users: int = 0
    failures: int = 0
    failed: LinkError | None = None


class Pool:
    """Opens connections along a route. Jump connections are shared within a lane, so that bulk never starves live.

    `ssh` may be what makes it, called at the first login and in a thread: the SSH library takes 0.3 s to import.
    """

    def __init__(self, ssh: Ssh | Callable[[], Ssh], *, random_unit: Callable[[], float] = random.random) -> None:
        self._ssh = ssh
        self._random = random_unit
        self._doors: dict[Hops, asyncio.Semaphore] = {}
        self._jumps: dict[tuple[str, Hops], _Shared] = {}
        self._turns = Turns()

    def anew(self) -> Pool:
        """A pool with no connection of this one and nothing that a person told it: who logs in is asked again."""
        return Pool(self._ssh if callable(self._ssh) else self._ssh.anew(), random_unit=self._random)

    @asynccontextmanager
    async def connect(
        self, route: Route, *, lane: str, identity_files: Sequence[str], forward_agent: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection of the caller's own to the node, held with its jumps until the block ends. Raises LinkError.

        `forward_agent`: to the node, never to a jump host on the way.
        """
        async with self._through(route, route.jumps, lane, identity_files) as tunnel:
            connection = await self._login(
                route, (*route.jumps, route.target), tunnel, identity_files, forward_agent=forward_agent
            )
            try:
                yield connection
            finally:
                connection.abort()

    @asynccontextmanager
    async def _through(
        self, route: Route, hops: Hops, lane: str, identity_files: Sequence[str]
    ) -> AsyncIterator[Connection | None]:
        if not hops:
            yield None
            return
        shared = self._jumps.setdefault((lane, hops), _Shared())
        shared.users += 1
        try:
            async with self._through(route, hops[:-1], lane, identity_files) as tunnel:
                yield await self._share(shared, route, hops, tunnel, identity_files)
        finally:
            shared.users -= 1
            if shared.users == 0:
                if shared.connection is not None:
                    shared.connection.abort()
                self._jumps.pop((lane, hops), None)

    async def _share(
        self, shared: _Shared, route: Route, hops: Hops, tunnel: Connection | None, identity_files: Sequence[str]
    ) -> Connection:
        """The jump connection, opened by whoever comes first. Who waited for a failed attempt shares its error."""
        failures = shared.failures
        async with shared.lock:
            if shared.failures != failures and shared.failed is not None:
                raise LinkError(
                    shared.failed.state, shared.failed.subject, shared.failed.message, shared.failed.hint
                ) from shared.failed
            if shared.connection is None or shared.connection.is_closed:
                try:
                    shared.connection = await self._login(route, hops, tunnel, identity_files)
                except LinkError as error:
                    shared.failures += 1
                    shared.failed = error
                    raise
            return shared.connection

    async def pins(self, endpoint: Endpoint) -> list[str]:
        """The lines of known_hosts that say which keys `endpoint` may show; what is revoked is among them."""
        found = (await self._made()).hostkeys.read().match(endpoint)
        marked = (("", found.keys), ("@cert-authority ", found.authorities), ("@revoked ", found.revoked))
        return [f"{marker}{endpoint.known_name} {key.text}" for marker, keys in marked for key in keys]

    async def _login(
        self,
        route: Route,
        hops: Hops,
        tunnel: Connection | None,
        identity_files: Sequence[str],
        *,
        forward_agent: bool = False,
    ) -> Connection:
        door = self._doors.setdefault(hops, asyncio.Semaphore(LOGINS_AT_ONCE_MAX))
        crowded = door.locked()
        async with door:
            if crowded:
                await asyncio.sleep(self._random() * JITTER_S)
            try:
                ssh = await self._made()
                async with self._turns.turn():
                    return await ssh.login(
                        route.node,
                        hops[-1],
                        tunnel=tunnel,
                        identity_files=identity_files,
                        proxy_command=route.proxy_command if tunnel is None else "",
                        forward_agent=forward_agent,
                    )
            except LinkError as error:
                if tunnel is not None and not error.hint:
                    error.hint = f"reached through {tunnel.endpoint}: can it reach {hops[-1].known_name}?"
                raise

    async def _made(self) -> Ssh:
        if callable(self._ssh):
            made = await asyncio.to_thread(self._ssh)
            if callable(self._ssh):
                self._ssh = made
        return self._ssh
