"""Who proves what to a server: agent keys, locked keys, passwords and one-time codes, and what is remembered."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from console.fleet.view import LinkState
from console.link.endpoint import Endpoint
from console.link.errors import LinkError
from console.link.hostkeys import HostKeys
from console.link.secrets import Secrets
from console.link.ssh import LOGIN_S, Ssh
from console.seat.prompts import Nobody


class Person(Nobody):
    """Accepts host keys and answers secrets in order."""

    def __init__(self, *answers: str | None, takes_s: float = 0.0) -> None:
        self.answers, self.asked, self._takes_s = list(answers), [], takes_s

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        return True

    async def secret(self, node: str, text: str) -> str | None:
        self.asked.append(text)
        await asyncio.sleep(self._takes_s)
        return self.answers.pop(0)


class Door(asyncssh.SSHServer):
    """Wants the password `sesame`, or with `codes` a password and a code by keyboard-interactive."""

    codes = False

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return not self.codes

    def validate_password(self, username: str, password: str) -> bool:
        return password == "sesame"

    def kbdint_auth_supported(self) -> bool:
        return self.codes

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return ("", "", "", [("Password: ", False), ("Code: ", True)])

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        return list(responses) == ["sesame", "123456"]


class CodeDoor(Door):
    codes = True


@asynccontextmanager
async def door(kind: type[Door]) -> AsyncIterator[Endpoint]:
    key, open_now = asyncssh.generate_private_key("ssh-ed25519"), []
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=kind, server_host_keys=[key], acceptor=open_now.append
    )
    try:
        yield Endpoint("127.0.0.1", server.get_port(), "plant")
    finally:
        server.close()
        await server.wait_closed()
        for connection in open_now:
            await connection.wait_closed()


@contextmanager
def ssh_agent(folder: Path, key: Path) -> Iterator[str]:
    path = folder / "agent.sock"
    told = subprocess.run(["ssh-agent", "-s", "-a", str(path)], capture_output=True, text=True, check=True)
    pid = int(told.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0])
    try:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True, capture_output=True)
        yield str(path)
    finally:
        os.kill(pid, signal.SIGTERM)


def ssh_with(folder: Path, person: Any, agent_path: str = "") -> Ssh:
    return Ssh(HostKeys(folder / "known_hosts"), Secrets(person), agent_path=agent_path)


async def log_in(ssh: Ssh, endpoint: Endpoint, *files: str) -> None:
    connection = await ssh.login("press-07", endpoint, identity_files=files)
    connection.abort()
    await connection.wait_closed()


def test_a_password_is_asked_once_and_kept_for_this_run(tmp_path: Path) -> None:
    async def run() -> None:
        person = Person("sesame")
        ssh = ssh_with(tmp_path, person)
        async with door(Door) as endpoint:
            await log_in(ssh, endpoint)
            await log_in(ssh, endpoint)
        assert person.asked == [f"password for plant@[127.0.0.1]:{endpoint.port}"]

    asyncio.run(run())


def test_a_wrong_password_is_forgotten_and_asked_for_again(tmp_path: Path) -> None:
    async def run() -> None:
        person = Person("open", "sesame")
        ssh = ssh_with(tmp_path, person)
        async with door(Door) as endpoint:
            with pytest.raises(LinkError, match="permission denied") as caught:
                await log_in(ssh, endpoint)
            assert caught.value.state is LinkState.REFUSED
            await log_in(ssh, endpoint)
        assert len(person.asked) == 2

    asyncio.run(run())


def test_a_code_is_asked_for_at_every_login_and_the_password_once(tmp_path: Path) -> None:
    async def run() -> None:
        person = Person("sesame", "123456", "123456")
        ssh = ssh_with(tmp_path, person)
        async with door(CodeDoor) as endpoint:
            await log_in(ssh, endpoint)
            await log_in(ssh, endpoint)
        assert [text.rpartition(" ")[2] for text in person.asked] == ["Password:", "Code:", "Code:"]

    asyncio.run(run())


def test_a_person_who_declines_is_refused_and_not_asked_on_and_on(tmp_path: Path) -> None:
    async def run() -> None:
        person = Person(None)
        async with door(Door) as endpoint:
            with pytest.raises(LinkError, match="permission denied"):
                await log_in(ssh_with(tmp_path, person), endpoint)

    asyncio.run(run())


def test_a_person_may_take_longer_than_a_login_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.link.ssh.LOGIN_S", 0.4)
    assert LOGIN_S > 1

    async def run() -> None:
        async with door(Door) as endpoint:
            await log_in(ssh_with(tmp_path, Person("sesame", takes_s=0.8)), endpoint)

    asyncio.run(run())


def test_a_server_that_says_nothing_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.link.ssh.LOGIN_S", 0.3)

    async def run() -> None:
        ended = asyncio.Event()

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            ended.set()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], "plant")
        with pytest.raises(LinkError, match="no answer in") as caught:
            await log_in(ssh_with(tmp_path, Nobody()), endpoint)
        assert caught.value.state is LinkState.DOWN
        await ended.wait()
        server.close()

    asyncio.run(run())


def test_a_key_from_the_ssh_agent_logs_in(ssh_lab: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        with ssh_agent(ssh_lab.folder, ssh_lab.identity) as path:
            endpoint = Endpoint("127.0.0.1", server.port, server.user)
            await log_in(ssh_with(ssh_lab.folder, Person(), path), endpoint)
        assert "Accepted publickey" in server.log

    asyncio.run(run())


def test_of_the_agents_keys_only_a_named_one_is_offered_and_no_default_file(
    ssh_lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        server, folder = ssh_lab.sshd(), Path(ssh_lab.folder)
        other = folder / "other"
        await asyncio.to_thread(ssh_keygen, other)
        (folder / ".ssh").mkdir()
        (folder / ".ssh" / "id_ed25519").write_bytes(ssh_lab.identity.read_bytes())
        (folder / ".ssh" / "id_ed25519").chmod(0o600)
        monkeypatch.setenv("HOME", str(folder))
        endpoint = Endpoint("127.0.0.1", server.port, server.user)
        with ssh_agent(folder, ssh_lab.identity) as path:
            for files in ((str(other),), (f"{other}.pub",), ("/nowhere",)):
                with pytest.raises(LinkError, match="permission denied"):
                    await log_in(ssh_with(folder, Person(), path), endpoint, *files)
            assert fingerprint_of(ssh_lab.identity) not in server.log
            await log_in(ssh_with(folder, Person(), path), endpoint, f"{ssh_lab.identity}.pub")
        assert server.log.count("Accepted publickey") == 1

    asyncio.run(run())


def ssh_keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def fingerprint_of(path: Path) -> str:
    told = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True)
    return told.stdout.split()[1]


def test_a_locked_key_of_the_agent_needs_no_passphrase(ssh_lab: Any) -> None:
    async def run() -> None:
        server, person, folder = ssh_lab.sshd(), Person(), Path(ssh_lab.folder)
        with ssh_agent(folder, ssh_lab.identity) as path:
            command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(ssh_lab.identity)]
            await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
            endpoint = Endpoint("127.0.0.1", server.port, server.user)
            await log_in(ssh_with(folder, person, path), endpoint, str(ssh_lab.identity))
        assert person.asked == []

    asyncio.run(run())


def test_a_locked_key_is_opened_once_with_its_passphrase(ssh_lab: Any) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(ssh_lab.identity)], check=True, capture_output=True
    )

    async def run() -> None:
        server, person = ssh_lab.sshd(), Person("secret")
        ssh = ssh_with(ssh_lab.folder, person)
        endpoint = Endpoint("127.0.0.1", server.port, server.user)
        await log_in(ssh, endpoint, str(ssh_lab.identity))
        await log_in(ssh, endpoint, str(ssh_lab.identity))
        assert person.asked == [f"passphrase for {ssh_lab.identity}"]

    asyncio.run(run())


def test_a_wrong_passphrase_says_which_key_and_is_forgotten(ssh_lab: Any) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(ssh_lab.identity)], check=True, capture_output=True
    )

    async def run() -> None:
        server, person = ssh_lab.sshd(), Person("wrong", "secret")
        ssh = ssh_with(ssh_lab.folder, person)
        endpoint = Endpoint("127.0.0.1", server.port, server.user)
        with pytest.raises(LinkError, match="does not open"):
            await log_in(ssh, endpoint, str(ssh_lab.identity))
        await log_in(ssh, endpoint, str(ssh_lab.identity))

    asyncio.run(run())


def test_what_is_negotiated_is_fast_and_never_group_exchange(ssh_lab: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        ssh = ssh_with(ssh_lab.folder, Person())
        endpoint = Endpoint("127.0.0.1", server.port, server.user)
        connection = await ssh.login("press-07", endpoint, identity_files=(str(ssh_lab.identity),))
        assert connection.ssh.get_extra_info("send_cipher") == "aes128-gcm@openssh.com"
        connection.abort()
        only = ssh_lab.sshd("KexAlgorithms diffie-hellman-group-exchange-sha256")
        with pytest.raises(LinkError, match="no common key exchange"):
            await log_in(ssh, Endpoint("127.0.0.1", only.port, only.user), str(ssh_lab.identity))

    asyncio.run(run())


def test_an_ssh_config_of_the_user_is_never_read(ssh_lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    home = ssh_lab.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("Host *\n  UserKnownHostsFile none\n  Port 1\n  BadOption x\n")
    monkeypatch.setenv("HOME", str(home))

    async def run() -> None:
        server = ssh_lab.sshd()
        endpoint = Endpoint("127.0.0.1", server.port, server.user)
        with pytest.raises(LinkError, match="host key not known"):
            await log_in(ssh_with(ssh_lab.folder, Nobody()), endpoint, str(ssh_lab.identity))

    asyncio.run(run())


def test_a_proxy_command_carries_the_connection_where_one_was_accepted(ssh_lab: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        endpoint = Endpoint("127.0.0.1", server.port, server.user)
        relay = (
            "import socket,sys,os,select\ns=socket.create_connection(('127.0.0.1',int(sys.argv[1])))\n"
            "while True:\n for f in select.select([0,s],[],[])[0]:\n"
            "  d=os.read(0,65536) if f==0 else s.recv(65536)\n  if not d: sys.exit()\n"
            "  s.sendall(d) if f==0 else os.write(1,d)\n"
        )
        (ssh_lab.folder / "relay.py").write_text(relay)
        connection = await ssh_with(ssh_lab.folder, Person()).login(
            "press-07",
            endpoint,
            identity_files=(str(ssh_lab.identity),),
            proxy_command=f"python3 {ssh_lab.folder / 'relay.py'} %p",
        )
        connection.abort()
        await connection.wait_closed()
        assert "Accepted publickey" in server.log

    asyncio.run(run())
