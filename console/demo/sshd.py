"""The demo's own SSH servers: one before each node's agent, one as the jump host. For the demo alone.

A node's server opens the agent's sockets and runs `outstation-agent connect`, nothing else; the jump host opens
TCP to the nodes behind it, nothing else. Both know exactly one key.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path

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

    def __init__(self, key: asyncssh.SSHKey, sockets: Collection[str], ports: Callable[[], Collection[int]]) -> None:
        self._key, self._sockets, self._ports = key, sockets, ports

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data == self._key.public_data

    def unix_connection_requested(self, dest_path: str) -> bool:
        return dest_path in self._sockets

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
    ) -> None:
        self._host_key, self._client = host_key, asyncssh.read_public_key(f"{client_key}.pub")
        self._sockets, self._ports, self._state = frozenset(sockets), ports, state
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._open: set[asyncssh.SSHServerConnection] = set()
        self.port = 0

    async def start(self) -> None:
        """Listens, on the port it had before if it had one."""
        self._acceptor = await asyncssh.listen(
            HOST,
            self.port,
            server_host_keys=[str(self._host_key)],
            server_factory=lambda: _Door(self._client, self._sockets, self._ports),
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
        words = shlex.split(process.command or "")
        if words[:1] == ["exec"]:
            words = words[1:]
        if words == ["true"]:
            process.exit(0)
            return
        if not words or Path(words[0]).name != "outstation-agent" or self._state is None:
            process.stderr.write(b"not found\n")
            process.exit(EXIT_NOT_FOUND)
            return
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "nodeagent",
            *words[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await process.redirect(child.stdin, child.stdout, child.stderr)
        ended, left = asyncio.create_task(child.wait()), asyncio.create_task(process.channel.wait_closed())
        try:
            await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and not left.done():
                process.exit(ended.result())
        finally:
            left.cancel()
            if child.returncode is None:  # the peer is gone: a real sshd ends the session's process too
                child.kill()
            await ended
