"""The demo's own SSH servers: one before each node's agent, one as the jump host. For the demo alone.

A node's server opens the agent's sockets and runs `outstation-agent connect`, nothing else; the jump host opens
TCP to the nodes behind it, nothing else; the bare account's gives a shell in its folder. Each knows exactly one key.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import asyncssh

HOST = "127.0.0.1"
EXIT_NOT_FOUND = 127
CHUNK_BYTES = 65_536


def make_key(path: Path, comment: str) -> str:
    """Writes a new ed25519 key pair at `path` and `path`.pub; returns the public line."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    path.touch(mode=0o600)
    key.write_private_key(str(path))
    key.write_public_key(f"{path}.pub")
    return key.export_public_key().decode().strip()


class _Door(asyncssh.SSHServer):
    """Lets one key in, to the named sockets and ports."""

    def __init__(
        self,
        key: asyncssh.SSHKey,
        sockets: Collection[str],
        ports: Callable[[], Collection[int]],
        account: Path | None,
    ) -> None:
        self._key, self._sockets, self._ports, self._account = key, sockets, ports, account

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data == self._key.public_data

    def unix_connection_requested(self, dest_path: str) -> bool:
        below = self._account is not None and Path(os.path.normpath(dest_path)).is_relative_to(self._account)
        return below or dest_path in self._sockets

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return dest_host in (HOST, "localhost") and dest_port in self._ports()


class SshServer:
    """One listening SSH server on loopback. `unplug` drops every connection and the port, as a pulled cable does."""

    def __init__(
        self,
        *,
        host_key: Path,
        client_key: Path,
        sockets: Collection[str] = (),
        ports: Callable[[], Collection[int]] = tuple,
        state: Path | None = None,
        account: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._host_key, self._client = host_key, asyncssh.read_public_key(f"{client_key}.pub")
        self._sockets, self._ports, self._state = frozenset(sockets), ports, state
        self._account, self._environment = account, dict(environment or {})
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._open: set[asyncssh.SSHServerConnection] = set()
        self.port = 0

    async def start(self) -> None:
        """Listens, on the port it had before if it had one."""
        self._acceptor = await asyncssh.listen(
            HOST,
            self.port,
            server_host_keys=[str(self._host_key)],
            server_factory=lambda: _Door(self._client, self._sockets, self._ports, self._account),
            process_factory=self._run,
            acceptor=self._open.add,
            encoding=None,
            agent_forwarding=False,
            x11_forwarding=False,
            login_timeout=10,
            keepalive_interval=10,
        )
        self.port = self._acceptor.get_port()

    async def unplug(self) -> None:
        """Ends the listener and every connection at once, without goodbye."""
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        for connection in self._open:
            connection.abort()
        self._open.clear()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = await self._child(process.command or "")
        if isinstance(child, int):
            process.stderr.write(b"not found\n" if child else b"")
            process.exit(child)
            return
        telling = asyncio.gather(_tell(child.stdout, process.stdout), _tell(child.stderr, process.stderr))
        hearing = asyncio.ensure_future(_hear(process.stdin, child.stdin))
        gone = asyncio.ensure_future(process.channel.wait_closed())
        try:
            ends: set[asyncio.Future[Any]] = {telling, gone}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if telling.done() and not gone.done():
                process.exit(await child.wait())  # as a real sshd does, once all that it said has been sent
        finally:
            for task in (telling, hearing, gone):
                task.cancel()
            await asyncio.gather(telling, hearing, gone, return_exceptions=True)
            if child.returncode is None:  # the peer is gone: a real sshd ends the session's process too
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            await child.wait()

    async def _child(self, command: str) -> asyncio.subprocess.Process | int:
        """What the command starts here, or its exit status at once."""
        if self._account is not None:
            return await self._spawn(["/bin/sh", "-c", command], cwd=self._account, env=self._environment)
        words = shlex.split(command)
        if words[:1] == ["exec"]:
            words = words[1:]
        if words == ["true"]:
            return 0
        if not words or Path(words[0]).name != "outstation-agent" or self._state is None:
            return EXIT_NOT_FOUND
        return await self._spawn([sys.executable, "-m", "nodeagent", *words[1:]])

    async def _spawn(
        self, words: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=env, start_new_session=True
        )


async def _tell(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
    """What a child says, to the peer. A peer that is gone ends it."""
    assert source is not None
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()


async def _hear(source: asyncssh.SSHReader[bytes], sink: asyncio.StreamWriter | None) -> None:
    """What the peer sends, to a child, and its end. A child that reads no more ends it."""
    assert sink is not None
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
        sink.close()
