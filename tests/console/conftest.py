"""Nodes for tests: an SSH server and a tiny agent each, in this process, and the fleet that watches them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from console.demo.sshd import HOST, SshServer, make_key
from console.fleet.fleet import LiveFleet
from console.fleet.view import NodeAddress, NodeView
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import Nobody
from console.terminal.pace import Pace

QUICK = Pace(ping_s=0.3, backoff_first_s=0.05, backoff_max_s=0.1, refused_s=0.1)


class Yes(Nobody):
    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        return True


class Plant:
    """Nodes with an SSH server and a tiny agent each, and the fleet that watches them."""

    def __init__(self, folder: Path, unix_http: Any, tiny_agent: Any) -> None:
        self.folder, self._unix_http, self._tiny_agent = folder, unix_http, tiny_agent
        make_key(folder / "id", "test")
        self.agents: dict[str, Any] = {}
        self.http: dict[str, Any] = {}
        self.servers: dict[str, SshServer] = {}
        self.addresses: list[NodeAddress] = []
        self.fleet: LiveFleet

    async def node(self, name: str, **agent: Any) -> NodeAddress:
        self.agents[name] = self._tiny_agent(**{"node_id": f"id-{name}", "name": name, **agent})
        socket, monitor = self.folder / f"{name}.d" / "agent.sock", self.folder / f"{name}.d" / "monitor.sock"
        socket.parent.mkdir()
        self.http[name] = await self._unix_http(socket, self.agents[name].serve).__aenter__()
        monitor.symlink_to(socket)
        make_key(self.folder / f"{name}.key", name)
        server = SshServer(
            host_key=self.folder / f"{name}.key", client_key=self.folder / "id", sockets=(str(socket), str(monitor))
        )
        await server.start()
        self.servers[name] = server
        address = NodeAddress(
            name, HOST, server.port, "operator", socket=str(socket), identity_files=(str(self.folder / "id"),)
        )
        self.addresses.append(address)
        return address

    def open(self, pace: Pace = QUICK, person: Nobody | None = None) -> LiveFleet:
        ssh = Ssh(HostKeys(self.folder / "known_hosts"), Secrets(person or Yes()), agent_path="")
        self.fleet = LiveFleet(self.addresses, Pool(ssh), pace=pace)
        return self.fleet

    @asynccontextmanager
    async def running(self, *, pace: Pace = QUICK, person: Nobody | None = None) -> AsyncIterator[LiveFleet]:
        """The fleet of every node made so far, watched for the block."""
        fleet = self.open(pace, person)
        task = asyncio.create_task(fleet.run())
        try:
            yield fleet
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, name: str, check: Callable[[NodeView], bool]) -> NodeView:
        async with asyncio.timeout(15):
            while not (name in self.fleet.views() and check(self.fleet.views()[name])):
                await self.fleet.wait_changed(self.fleet.version)
        return self.fleet.views()[name]

    async def stop(self) -> None:
        for server in self.servers.values():
            await server.unplug()
        for http in self.http.values():
            await http.__aexit__()


@pytest.fixture
def in_plant(unix_http: Any, tiny_agent: Any) -> Callable[[Callable[[Plant], Any]], None]:
    def run(body: Callable[[Plant], Any]) -> None:
        async def whole() -> None:
            with tempfile.TemporaryDirectory(prefix="p-") as folder:
                plant = Plant(Path(folder), unix_http, tiny_agent)
                try:
                    await body(plant)
                finally:
                    await plant.stop()

        asyncio.run(whole())

    return run
