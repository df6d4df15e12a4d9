"""SSH by asyncssh: logins with pinned host keys, and byte channels that do not leak. The one importer of asyncssh.

No ssh_config is ever given to asyncssh, and a host key is always checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Awaitable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asyncssh

from console.fleet.view import LinkState
from console.link.algorithms import CERTIFICATE_ALGORITHMS, CIPHERS, HOST_KEY_ALGORITHMS, KEX
from console.link.channel import Channel
from console.link.endpoint import Endpoint, proxy_words
from console.link.errors import BridgeRefused, ChannelRefused, LinkError
from console.link.hostkeys import HostKey, HostKeys, Verdict, refusal
from console.link.secrets import Secrets
from console.link.together import together

IDENTITIES_DEFAULT = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
LOGIN_S = 10.0
LOGIN_WITH_PERSON_S = 120
CHANNEL_OPEN_S = 10.0
SESSION_PAUSES_S = (0.05, 0.2, 0.8, None)
KEEPALIVE_S = 5
KEEPALIVE_MISSED_MAX = 3
ATTEMPTS_MAX = 5
BRIDGE_ACK = b"\x06"
NODELAY_FIXED_IN = (10, 1)
KEYS_FRESH_S = 5.0
KEYS_KEPT_MAX = 64

T = TypeVar("T")


class _Session(asyncssh.SSHUNIXSession[bytes], asyncssh.SSHClientSession[bytes]):
    """Passes what asyncssh tells to a Channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def connection_made(self, chan: Any) -> None:
        self._channel.attach(chan)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is None:
            self._channel.feed(data)
        else:
            self._channel.feed_stderr(data)

    def eof_received(self) -> bool:
        self._channel.end()
        return True

    def exit_status_received(self, status: int) -> None:
        self._channel.exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.lose(exc)

    def pause_writing(self) -> None:
        self._channel.set_writable(False)

    def resume_writing(self) -> None:
        self._channel.set_writable(True)


class Connection:
    """One SSH connection to one server."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.ssh = ssh
        self._opening: set[asyncio.Future[Any]] = set()
        self._waking: Any = None
        self.open_s = CHANNEL_OPEN_S
        """How long the far end may take to open anything."""

    @property
    def is_closed(self) -> bool:
        return self.ssh.is_closed()

    @property
    def server_version(self) -> str:
        """What the server called itself, such as `SSH-2.0-OpenSSH_9.2p1`."""
        return str(self.ssh.get_extra_info("server_version") or "")

    async def open_socket(self, path: str) -> Channel:
        """A stream to the Unix socket at `path` on the server. Raises ChannelRefused, LinkError."""
        channel = Channel()
        with _explained(self.endpoint, self.open_s, f"forwarding to {path}"):
            await self._open(self.ssh.create_unix_connection(lambda: _Session(channel), path))
        return channel

    async def open_bridge(self, command: str) -> Channel:
        """A stream over the stdio bridge `command`. Raises BridgeRefused with its words, ChannelRefused, LinkError."""
        with _explained(self.endpoint, self.open_s, f"`{command.removeprefix('exec ')}`"):
            channel, chan = await self._open_session(command)
            try:
                async with asyncio.timeout(self.open_s):
                    if await channel.read(1) == BRIDGE_ACK:
                        return channel
                    await chan.wait_closed()
            except BaseException:
                channel.close()
                raise
        channel.close()
        if self.is_closed:
            raise LinkError(LinkState.DOWN, str(self.endpoint), "the connection broke")
        said = channel.stderr.decode("utf-8", "replace").strip()
        raise BridgeRefused(
            LinkState.NO_AGENT, str(self.endpoint), said or f"the bridge ended with status {channel.exit_status}"
        )

    async def open_command(self, command: str) -> Channel:
        """The standard input and output of a command that sshd runs. Raises ChannelRefused, LinkError."""
        with _explained(self.endpoint, self.open_s, "a command"):
            channel, _ = await self._open_session(command)
            return channel

    async def wake(self) -> None:
        """Makes sshd before 10.1 turn Nagle's delay off, as it does at the first session: else 44 ms a reply."""
        version = re.search(r"OpenSSH_(\d+)\.(\d+)", self.server_version)
        if version and (int(version[1]), int(version[2])) >= NODELAY_FIXED_IN:
            return
        channel = Channel()
        try:
            opened = self.ssh.create_session(lambda: _Session(channel), "true", encoding=None)
            self._waking = await self._open(opened)
            self._waking.write_eof()
        except (asyncssh.ChannelOpenError, TimeoutError, OSError):
            return  # No session is allowed here (MaxSessions 0): slower, and still right.

    async def _open_session(self, command: str) -> tuple[Channel, Any]:
        """Where sshd allows one session at a time (MaxSessions 1), the place of the last is free a moment later."""
        for pause_s in SESSION_PAUSES_S:
            channel = Channel()
            try:
                opened = self.ssh.create_session(partial(_Session, channel), command, encoding=None)
                chan = await self._open(opened)
                self._waking = None
                return channel, chan
            except asyncssh.ChannelOpenError:
                if self._waking is None or pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError("the last pause is None")

    async def _open(self, opened: Awaitable[tuple[Any, Any]]) -> Any:
        """asyncssh leaks a channel whose open is cancelled: let it finish, then close it."""
        task = asyncio.ensure_future(opened)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        try:
            async with asyncio.timeout(self.open_s):
                chan, _ = await asyncio.shield(task)
                return chan
        except (asyncio.CancelledError, TimeoutError):
            task.add_done_callback(_close_late)
            raise

    def abort(self) -> None:
        """Ends the connection and every channel in it, at once."""
        self.ssh.abort()

    async def wait_closed(self) -> None:
        """Returns when the connection is gone."""
        await self.ssh.wait_closed()


def _close_late(task: asyncio.Future[tuple[Any, Any]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[0].abort()


class _Attempt(asyncssh.SSHClient):
    """One login. The host key callback is synchronous: asyncssh takes a coroutine for a yes."""

    def __init__(self, endpoint: Endpoint, hostkeys: HostKeys, secrets: Secrets, node: str) -> None:
        self._endpoint, self._hostkeys, self._secrets, self._node = endpoint, hostkeys, secrets, node
        self._connection: asyncssh.SSHClientConnection | None = None
        self._abandoned = False
        self._asked_password = False
        self.deadline: asyncio.Timeout | None = None
        self.shown: HostKey | None = None
        self.asked: str = ""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn
        if self._abandoned:
            conn.abort()

    @property
    def reached(self) -> bool:
        """Whether there was somebody at the other end."""
        return self._connection is not None

    def abandon(self) -> None:
        """Nobody waits for this login any more."""
        self._abandoned = True
        if self._connection is not None:
            self._connection.abort()

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = _host_key(key)
        return self._hostkeys.read().judge(self._endpoint, self.shown) is Verdict.KNOWN

    async def password_auth_requested(self) -> str | None:
        if self._asked_password:
            return None
        self._asked_password = True
        return await self._ask(f"password for {self._endpoint}", keep=True)

    def kbdint_auth_requested(self) -> str | None:
        return ""

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> Sequence[str] | None:
        answers = []
        for text, _echo in prompts:
            answer = await self._ask(f"{self._endpoint} asks: {text.strip()}", keep="assword" in text)
            if answer is None:
                return None
            answers.append(answer)
        return answers

    async def _ask(self, text: str, *, keep: bool) -> str | None:
        if self.deadline is not None:
            self.deadline.reschedule(None)
        answer = await self._secrets.ask(self._node, str(self._endpoint), text, keep=keep)
        self.asked = "declined" if answer is None else "answered"
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + LOGIN_S)
        return answer


class Ssh:
    """Logs in to servers: host keys by `hostkeys`, people by `secrets`, keys from files and the agent."""

    def __init__(self, hostkeys: HostKeys, secrets: Secrets, *, agent_path: str | None = None) -> None:
        self.hostkeys, self.secrets = hostkeys, secrets
        self._agent_path = os.environ.get("SSH_AUTH_SOCK", "") if agent_path is None else agent_path
        self._loaded: dict[tuple[str, float], Sequence[asyncssh.SSHKeyPair]] = {}
        self._opened: dict[tuple[str, ...], tuple[float, _Keys]] = {}
        self._opening = asyncio.Lock()

    def anew(self) -> Ssh:
        """The same servers and the same person, without what the person typed: passwords, opened keys."""
        return Ssh(self.hostkeys, Secrets(self.secrets.prompter), agent_path=self._agent_path)

    async def login(
        self,
        node: str,
        endpoint: Endpoint,
        *,
        tunnel: Connection | None = None,
        identity_files: Sequence[str] = (),
        proxy_command: str = "",
        forward_agent: bool = False,
    ) -> Connection:
        """A connection to `endpoint`, through `tunnel` if given. Asks a person at most what is needed. LinkError.

        `forward_agent`: commands that run over it may sign with the person's ssh-agent while they run.
        """
        found = await self._keys(tuple(identity_files))
        keys, locked = found.keys, list(found.locked)
        options: dict[str, Any] = {"proxy_command": proxy_words(proxy_command, endpoint)} if proxy_command else {}
        if identity_files:
            options |= {"agent_identities": found.named} if found.named else {"agent_path": None}
        if forward_agent:
            if not self._agent_path:
                hint = "start ssh-agent and ssh-add the key that the nodes know"
                raise LinkError(LinkState.REFUSED, str(endpoint), "there is no ssh-agent to forward", hint)
            options["agent_forwarding"] = self._agent_path
        for _ in range(ATTEMPTS_MAX):
            attempt = _Attempt(endpoint, self.hostkeys, self.secrets, node)
            try:
                with _explained(endpoint, LOGIN_S):
                    ssh = await self._attempt(attempt, endpoint, tunnel, keys, options)
            except LinkError as error:
                if isinstance(error.__cause__, asyncssh.HostKeyNotVerifiable):
                    await self._meet(node, endpoint, attempt.shown, error)
                elif isinstance(error.__cause__, asyncssh.PermissionDenied) and attempt.asked == "answered":
                    self.secrets.forget(str(endpoint))
                    raise
                elif isinstance(error.__cause__, asyncssh.PermissionDenied) and locked:
                    keys = [*keys, *await self._unlock(node, endpoint, locked.pop(0))]
                else:
                    raise
                continue
            connection = Connection(ssh, endpoint)
            if forward_agent:
                return connection  # Its one session is the command that the agent is forwarded for.
            try:
                with _explained(endpoint, LOGIN_S):
                    await connection.wake()
            except BaseException:
                connection.abort()
                raise
            return connection
        raise LinkError(LinkState.REFUSED, str(endpoint), f"no login in {ATTEMPTS_MAX} attempts")

    async def _attempt(
        self,
        attempt: _Attempt,
        endpoint: Endpoint,
        tunnel: Connection | None,
        keys: Sequence[asyncssh.SSHKeyPair],
        options: dict[str, Any],
    ) -> asyncssh.SSHClientConnection:
        found = self.hostkeys.read().match(endpoint)
        known = [name for key in found.keys for name in HOST_KEY_ALGORITHMS if _family(name) == key.algorithm]
        algorithms = [*(CERTIFICATE_ALGORITHMS if found.authorities else ()), *known, *HOST_KEY_ALGORITHMS]
        authorities = [asyncssh.import_public_key(key.text) for key in found.authorities]
        revoked = [asyncssh.import_public_key(key.text) for key in found.revoked] if authorities else []
        connecting = asyncssh.connect(
            endpoint.host,
            endpoint.port,
            username=endpoint.user,
            tunnel=() if "proxy_command" in options else _Way(tunnel),
            config=None,
            known_hosts=lambda host, addr, port: ((), authorities, revoked),
            client_factory=lambda: attempt,
            client_keys=iter(keys),  # For an empty list asyncssh would offer the user's default files.
            server_host_key_algs=list(dict.fromkeys(algorithms)),
            encryption_algs=list(CIPHERS),
            kex_algs=list(KEX),
            preferred_auth="publickey,keyboard-interactive,password",
            connect_timeout=None,
            login_timeout=LOGIN_WITH_PERSON_S,
            keepalive_interval=KEEPALIVE_S,
            keepalive_count_max=KEEPALIVE_MISSED_MAX,
            **{"agent_path": self._agent_path or None, **options},
        )
        task: asyncio.Future[asyncssh.SSHClientConnection] = asyncio.ensure_future(connecting)
        try:
            async with asyncio.timeout(LOGIN_S) as attempt.deadline:
                return await asyncio.shield(task)
        except (asyncio.CancelledError, TimeoutError):
            attempt.abandon()
            task.add_done_callback(_abort_late)
            if tunnel is None and "proxy_command" not in options and not attempt.reached:
                # Else the kernel would knock for two minutes more, and a node that comes back hears every attempt.
                task.cancel()
            raise

    async def _meet(self, node: str, endpoint: Endpoint, shown: HostKey | None, error: LinkError) -> None:
        """Decides about a key that is not pinned: a person accepts a first contact, nobody accepts a change."""
        known = self.hostkeys.read()
        if shown is None:
            raise LinkError(LinkState.REFUSED, str(endpoint), "the host certificate is not valid here") from error
        verdict = known.judge(endpoint, shown)
        if verdict is not Verdict.UNKNOWN:
            pinned = ", ".join(f"{key.fingerprint} ({key.algorithm})" for key in known.match(endpoint).keys)
            raise refusal(endpoint, verdict, shown, pinned, str(self.hostkeys.path)) from error
        prompter = self.secrets.prompter
        if not await prompter.accept_host_key(node, endpoint.known_name, shown.algorithm, shown.fingerprint):
            raise refusal(endpoint, verdict, shown, "", str(self.hostkeys.path)) from error
        await asyncio.to_thread(self.hostkeys.accept, endpoint, shown)

    async def _keys(self, files: tuple[str, ...]) -> _Keys:
        """The keys to offer, looked for on the disk once in KEYS_FRESH_S: many nodes have the same."""
        async with self._opening:
            looked_s, found = self._opened.get(files, (0.0, None))
            if found is None or time.monotonic() - looked_s > KEYS_FRESH_S:
                found = await asyncio.to_thread(self._look_for_keys, files)
                if len(self._opened) >= KEYS_KEPT_MAX:
                    self._opened.clear()
                self._opened[files] = time.monotonic(), found
            return found

    def _look_for_keys(self, files: tuple[str, ...]) -> _Keys:
        keys, locked = self._load(files or IDENTITIES_DEFAULT)
        return _Keys(keys, locked, _public_halves(files, keys))

    def _load(self, files: Sequence[str]) -> tuple[list[asyncssh.SSHKeyPair], list[Path]]:
        """Keys that open without a person, and the files that need a passphrase. Blocks: for a thread."""
        keys: list[asyncssh.SSHKeyPair] = []
        locked: list[Path] = []
        for path in (Path(name).expanduser() for name in files):
            try:
                stamp = (str(path), path.stat().st_mtime)
                if stamp not in self._loaded:
                    self._loaded[stamp] = asyncssh.load_keypairs(str(path))
            except FileNotFoundError:
                continue
            except (asyncssh.KeyImportError, OSError):
                if path.suffix != ".pub":  # The public half alone names a key of the ssh-agent.
                    locked.append(path)
                continue
            keys.extend(self._loaded[stamp])
        return keys, locked

    async def _unlock(self, node: str, endpoint: Endpoint, path: Path) -> Sequence[asyncssh.SSHKeyPair]:
        passphrase = await self.secrets.ask(node, str(path), f"passphrase for {path}")
        if passphrase is None:
            return ()
        try:
            keys = await asyncio.to_thread(self._decrypt, path, passphrase)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
            self.secrets.forget(str(path))
            raise LinkError(LinkState.REFUSED, str(endpoint), f"the key {path} does not open") from error
        self._opened.clear()
        return keys

    def _decrypt(self, path: Path, passphrase: str) -> Sequence[asyncssh.SSHKeyPair]:
        """0.13 s of CPU by design of the format: for a thread, and once."""
        keys = asyncssh.load_keypairs(str(path), passphrase)
        self._loaded[str(path), path.stat().st_mtime] = keys
        return keys


class _Way:
    """How a connection is made, as asyncssh's `tunnel`: straight, or through another connection."""

    def __init__(self, through: Connection | None) -> None:
        self._through = through

    async def create_connection(self, factory: Any, host: str, port: int) -> tuple[Any, Any]:
        if self._through is not None:
            return await self._through.ssh.create_connection(together(factory), host, port)
        made: tuple[Any, Any] = await asyncio.get_running_loop().create_connection(together(factory), host, port)
        return made


class _Keys(NamedTuple):
    """Keys that are open, files that need a passphrase, and the public halves of all that were named."""

    keys: list[asyncssh.SSHKeyPair]
    locked: list[Path]
    named: list[bytes]


def _public_halves(files: Sequence[str], keys: Sequence[asyncssh.SSHKeyPair]) -> list[bytes]:
    """The public keys of identity files: of the ssh-agent's keys only these are offered (ssh_config IdentitiesOnly)."""
    found = [key.public_data for key in keys]
    for path in (Path(name).expanduser() for name in files):
        public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
        with contextlib.suppress(OSError, asyncssh.KeyImportError):
            found.append(asyncssh.read_public_key(str(public)).public_data)
    return found


def _abort_late(task: asyncio.Future[asyncssh.SSHClientConnection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def _family(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-") else algorithm


def _host_key(key: asyncssh.SSHKey) -> HostKey:
    return HostKey(key.get_algorithm(), key.public_data)


@contextlib.contextmanager
def _explained(endpoint: Endpoint, waited_s: float, asked: str = "") -> Iterator[None]:
    """Foreign exceptions become ours at this border. `asked`: what was asked of a server that let us in."""
    where = str(endpoint)
    try:
        yield
    except asyncssh.ChannelOpenError as error:
        raise ChannelRefused(LinkState.DOWN, where, f"channel refused: {error.reason}") from error
    except asyncssh.HostKeyNotVerifiable as error:
        raise LinkError(LinkState.REFUSED, where, "the host key is not trusted") from error
    except asyncssh.PermissionDenied as error:
        hint = f"check the login name and that your public key stands in {endpoint.user}'s authorized_keys there"
        raise LinkError(LinkState.REFUSED, where, "permission denied: no key or password was taken", hint) from error
    except asyncssh.KeyExchangeFailed as error:
        raise LinkError(LinkState.REFUSED, where, "no common key exchange or cipher", "update its sshd") from error
    except asyncssh.Error as error:
        raise LinkError(LinkState.DOWN, where, f"SSH failed: {error.reason or type(error).__name__}") from error
    except TimeoutError as error:
        if asked:
            message = f"the login works, and {asked} there did not answer in {waited_s:g} s"
            hint = "it hangs: look at that account's .bashrc and profile, and at `outstation-agent status` on the node"
            raise LinkError(LinkState.NO_AGENT, where, message, hint) from error
        hint = "check cable, power, address and the jump host"
        raise LinkError(LinkState.DOWN, where, f"no answer in {waited_s:g} s", hint) from error
    except ConnectionRefusedError as error:
        raise LinkError(LinkState.DOWN, where, "nothing listens on that port", "is sshd running there?") from error
    except socket.gaierror as error:
        raise LinkError(LinkState.DOWN, where, "the name does not resolve", "give the address instead") from error
    except OSError as error:
        raise LinkError(LinkState.DOWN, where, error.strerror or str(error) or "the connection broke") from error
