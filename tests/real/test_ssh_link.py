"""The link against OpenSSH's own server: host keys, jumps, refused forwarding, losses, and what must not leak."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.fleet.view import LinkState, NodeAddress
from console.link.errors import LinkError
from console.link.hostkeys import HostKeys
from console.link.node import BRIDGE, STREAMLOCAL, NodeLink
from console.link.pool import BULK, Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import AcceptListed, Nobody


class Asked(Nobody):
    """A person who says yes to the first host key and remembers what was shown."""

    def __init__(self, answer: bool = True) -> None:
        self.answer, self.shown = answer, []

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        self.shown.append((node, host, algorithm, fingerprint))
        return self.answer


def pool_at(lab: Any, prompter: Any = None) -> Pool:
    hostkeys = HostKeys(lab.folder / "known_hosts")
    return Pool(Ssh(hostkeys, Secrets(prompter or Asked()), agent_path=""))


def address(lab: Any, server: Any, **extra: Any) -> NodeAddress:
    plain = {"socket": str(lab.folder / "a.sock"), "identity_files": (str(lab.identity),)}
    return NodeAddress(name="press-07", host="127.0.0.1", port=server.port, user=server.user, **{**plain, **extra})


def hop(server: Any) -> str:
    return f"{server.user}@127.0.0.1:{server.port}"


def bridge_command(lab: Any) -> str:
    """An `outstation-agent` that is the shipped bridge, for servers that forbid forwarding."""
    script = lab.folder / "outstation-agent"
    source = (
        "import sys\nfrom pathlib import Path\nfrom nodeagent.bridge import connect\n"
        "sys.exit(connect(Path(sys.argv[sys.argv.index('--socket') + 1])))\n"
    )
    (lab.folder / "bridge.py").write_text(source)
    root = Path(__file__).resolve().parents[2]
    script.write_text(
        f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(root))} exec {shlex.quote(sys.executable)} "
        f'{lab.folder / "bridge.py"} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


def pong(method: str, target: str, body: bytes) -> tuple[int, bytes]:
    return 200, b"pong " + body


async def until(check: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass in 10 s")


async def ask(link: NodeLink, body: bytes = b"") -> bytes:
    return (await link.request("POST", "/x", body=body, timeout_s=10)).body


def test_a_request_reaches_a_unix_socket_behind_sshd_and_no_port_is_opened(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab))
            assert await ask(link, b"1") == b"pong 1"
            assert link.mode == STREAMLOCAL
            await link.aclose()

    asyncio.run(run())


def test_a_first_contact_shows_the_fingerprint_and_is_pinned_when_accepted(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server, person = ssh_lab.sshd(), Asked()
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            for _ in range(2):
                link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab, person))
                assert await ask(link) == b"pong "
                await link.aclose()
        assert len(person.shown) == 1
        known = (ssh_lab.folder / "known_hosts").read_text()
        assert known == f"[127.0.0.1]:{server.port} {server.host_public}\n"
        assert os.stat(ssh_lab.folder / "known_hosts").st_mode & 0o777 == 0o600

    asyncio.run(run())


def test_a_declined_host_key_sends_nothing_and_pins_nothing(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        async with unix_http(ssh_lab.folder / "a.sock", pong) as agent:
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab, Asked(answer=False)))
            with pytest.raises(LinkError, match="host key not known: SHA256:") as caught:
                await ask(link)
            assert caught.value.state is LinkState.REFUSED
            assert "--accept SHA256:" in caught.value.hint
            assert agent.accepted == 0
        assert not (ssh_lab.folder / "known_hosts").exists()
        assert "Accepted publickey" not in server.log

    asyncio.run(run())


def test_a_fingerprint_given_beforehand_is_accepted_and_another_is_not(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server, person = ssh_lab.sshd(), Asked(answer=False)
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            with pytest.raises(LinkError):
                await ask(NodeLink(address(ssh_lab, server), pool_at(ssh_lab, person)))
            fingerprint = person.shown[0][3]
            wrong = AcceptListed(["SHA256:" + "A" * 43], Nobody())
            with pytest.raises(LinkError):
                await ask(NodeLink(address(ssh_lab, server), pool_at(ssh_lab, wrong)))
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab, AcceptListed([fingerprint], Nobody())))
            assert await ask(link) == b"pong "
            await link.aclose()

    asyncio.run(run())


def test_a_changed_host_key_stops_with_both_fingerprints_and_asks_nobody(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server, other, person = ssh_lab.sshd(), ssh_lab.sshd(), Asked()
        known = ssh_lab.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {other.host_public}\n")
        async with unix_http(ssh_lab.folder / "a.sock", pong) as agent:
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab, person))
            with pytest.raises(LinkError, match=r"CHANGED.*pinned SHA256:\S+ .*shown SHA256:\S+ ") as caught:
                await ask(link)
            assert caught.value.state is LinkState.REFUSED
            assert agent.accepted == 0
        assert person.shown == []
        assert "publickey" not in server.log

    asyncio.run(run())


@pytest.mark.parametrize("name", ["127.0.0.1", "[127.0.0.1]:{port}"])
def test_a_revoked_host_key_is_refused_whichever_name_revokes_it(ssh_lab: Any, name: str) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        own = f"[127.0.0.1]:{server.port}"
        lines = [f"@revoked {name.format(port=server.port)} {server.host_public}", f"{own} {server.host_public}"]
        (ssh_lab.folder / "known_hosts").write_text("\n".join([*lines, f"127.0.0.1 {server.host_public}", ""]))
        with pytest.raises(LinkError, match="HOST KEY REVOKED"):
            await ask(NodeLink(address(ssh_lab, server), pool_at(ssh_lab)))

    asyncio.run(run())


def test_a_garbage_line_in_known_hosts_does_not_cut_the_fleet_off(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        text = f"\x00garbage\n[127.0.0.1]:{server.port} {server.host_public}\n"
        (ssh_lab.folder / "known_hosts").write_text(text)
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab, Nobody()))
            assert await ask(link) == b"pong "
            await link.aclose()

    asyncio.run(run())


def test_host_keys_are_checked_through_the_jump_too(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server, jump, person = ssh_lab.sshd(), ssh_lab.sshd(), Asked()
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, server, jumps=(hop(jump),)), pool_at(ssh_lab, person))
            assert await ask(link) == b"pong "
            await link.aclose()
        assert [shown[1] for shown in person.shown] == [f"[127.0.0.1]:{jump.port}", f"[127.0.0.1]:{server.port}"]

    asyncio.run(run())


def test_nodes_behind_one_jump_share_its_login_and_bulk_has_its_own(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server, jump = ssh_lab.sshd(), ssh_lab.sshd()
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            pool, where = pool_at(ssh_lab), address(ssh_lab, server, jumps=(hop(jump),))
            first, second = NodeLink(where, pool), NodeLink(where, pool)
            bulk = NodeLink(where, pool, lane=BULK)
            await ask(first)
            await ask(second)
            assert jump.log.count("Accepted publickey") == 1
            await ask(bulk)
            assert jump.log.count("Accepted publickey") == 2
            assert server.log.count("Accepted publickey") == 3
            await bulk.aclose()
            await first.aclose()
            assert await ask(second) == b"pong "
            await second.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("lines", "prefix"),
    [
        (("AllowStreamLocalForwarding no",), ""),
        (("AllowTcpForwarding no",), ""),
        (("DisableForwarding yes",), ""),
        (("PermitOpen none",), ""),
        (("AllowStreamLocalForwarding no", "MaxSessions 1"), ""),
        ((), "restrict"),
    ],
)
def test_where_forwarding_is_refused_the_stdio_bridge_is_taken(
    ssh_lab: Any, unix_http: Any, lines: tuple[str, ...], prefix: str
) -> None:
    async def run() -> None:
        server = ssh_lab.sshd(*lines, prefix=prefix)
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            where = address(ssh_lab, server, agent=bridge_command(ssh_lab))
            link = NodeLink(where, pool_at(ssh_lab))
            assert await ask(link, b"over stdio") == b"pong over stdio"
            assert link.mode == BRIDGE
            await link.aclose()

    asyncio.run(run())


def test_a_key_whose_forced_command_is_the_bridge_reaches_the_agent(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        command = f"{bridge_command(ssh_lab)} connect --socket {ssh_lab.folder / 'a.sock'}"
        server = ssh_lab.sshd(prefix=f'restrict,command="{command}"')
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab))
            assert await ask(link) == b"pong "
            assert link.mode == BRIDGE
            await link.aclose()

    asyncio.run(run())


def test_streamlocal_works_where_no_session_is_allowed(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd("MaxSessions 0")
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab))
            assert await ask(link) == b"pong "
            await link.aclose()

    asyncio.run(run())


def test_the_bridge_names_the_cause_when_no_agent_runs(ssh_lab: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        link = NodeLink(address(ssh_lab, server, agent=bridge_command(ssh_lab)), pool_at(ssh_lab))
        with pytest.raises(LinkError, match="there is no such socket") as caught:
            await ask(link)
        assert caught.value.state is LinkState.NO_AGENT
        await link.aclose()

    asyncio.run(run())


def test_where_the_login_works_and_the_agents_command_hangs_it_is_said_so(ssh_lab: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd("AllowStreamLocalForwarding no")
        hanging = ssh_lab.folder / "hanging"
        hanging.write_text("#!/bin/sh\nexec sleep 60\n")
        hanging.chmod(0o755)
        link = NodeLink(address(ssh_lab, server, agent=str(hanging)), pool_at(ssh_lab))
        (await link.connect()).open_s = 0.5
        with pytest.raises(LinkError, match=r"the login works, and .* there did not answer in 0\.5 s") as caught:
            await ask(link)
        assert caught.value.state is LinkState.NO_AGENT
        assert "cable" not in caught.value.hint
        await link.aclose()

    asyncio.run(run())


def test_an_agent_that_is_not_where_it_usually_is_is_asked_for_by_name(ssh_lab: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        link = NodeLink(address(ssh_lab, server, socket="", agent="no-such-agent"), pool_at(ssh_lab))
        with pytest.raises(LinkError, match=r"/run/outstation/agent\.sock; `no-such-agent connect`: ") as caught:
            await ask(link)
        assert "--socket" in caught.value.hint
        assert "--agent" in caught.value.hint
        await link.aclose()

    asyncio.run(run())


def test_every_hop_gets_one_cheap_session_at_once_so_that_sshd_turns_nagle_off(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server, jump = ssh_lab.sshd(), ssh_lab.sshd()
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, server, jumps=(hop(jump),)), pool_at(ssh_lab))
            for _ in range(3):
                await ask(link)
            await link.aclose()
        assert [log.count("Starting session: command") for log in (jump.log, server.log)] == [1, 1]

    asyncio.run(run())


def test_an_open_that_nobody_waits_for_any_more_leaves_no_channel(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        async with unix_http(ssh_lab.folder / "a.sock", pong) as agent:
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab))
            connection = await link.connect()
            server.signal_all(signal.SIGSTOP)
            opens = [asyncio.ensure_future(connection.open_socket(str(agent.path))) for _ in range(10)]
            await asyncio.sleep(0.05)
            for task in opens:
                task.cancel()
            results = await asyncio.gather(*opens, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            server.signal_all(signal.SIGCONT)
            channel = await connection.open_socket(str(agent.path))
            channel.close()
            await until(lambda: agent.accepted == 11 and not agent.open)
            await link.aclose()

    asyncio.run(run())


def test_a_killed_login_is_seen_and_the_next_request_logs_in_anew(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab))
            await ask(link)
            server.signal_all(signal.SIGKILL)
            await until(lambda: not link.is_open)
            assert await ask(link) == b"pong "
            assert server.log.count("Accepted publickey") == 2
            await link.aclose()

    asyncio.run(run())


def test_an_agent_that_restarts_is_reached_again_over_the_same_login(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        link = NodeLink(address(ssh_lab, server), pool_at(ssh_lab))
        for _ in range(2):
            async with unix_http(ssh_lab.folder / "a.sock", pong):
                assert await ask(link) == b"pong "
            await asyncio.sleep(0.05)
        assert server.log.count("Accepted publickey") == 1
        await link.aclose()

    asyncio.run(run())


def test_forty_logins_at_once_all_succeed_under_the_default_maxstartups(ssh_lab: Any, unix_http: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd("MaxStartups 10:30:100")
        (ssh_lab.folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_public}\n")
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            pool = pool_at(ssh_lab, Nobody())
            links = [NodeLink(address(ssh_lab, server), pool) for _ in range(40)]
            answers = await asyncio.gather(*(ask(link) for link in links))
            assert answers == [b"pong "] * 40
            for link in links:
                await link.aclose()

    asyncio.run(run())


def test_a_dead_jump_fails_every_node_behind_it_once_and_not_one_after_the_other(ssh_lab: Any) -> None:
    async def run() -> None:
        server, jump = ssh_lab.sshd(), ssh_lab.sshd()
        jump.stop()
        pool, where = pool_at(ssh_lab), address(ssh_lab, server, jumps=(hop(jump),))
        links = [NodeLink(where, pool) for _ in range(20)]
        results = await asyncio.gather(*(ask(link) for link in links), return_exceptions=True)
        assert {type(result) for result in results} == {LinkError}
        assert {str(result) for result in results} == {
            f"{hop(jump).replace('127.0.0.1', '[127.0.0.1]')}: nothing listens on that port"
        }

    asyncio.run(run())


def test_a_node_that_the_jump_cannot_reach_is_said_so(ssh_lab: Any) -> None:
    async def run() -> None:
        server, jump = ssh_lab.sshd(), ssh_lab.sshd()
        server.stop()
        link = NodeLink(address(ssh_lab, server, jumps=(hop(jump),)), pool_at(ssh_lab))
        with pytest.raises(LinkError) as caught:
            await ask(link)
        assert caught.value.state is LinkState.DOWN
        assert "reached through" in caught.value.hint
        await link.aclose()

    asyncio.run(run())


def test_a_login_name_that_is_not_let_in_is_refused_with_advice(ssh_lab: Any) -> None:
    async def run() -> None:
        server = ssh_lab.sshd()
        (server.folder / "authorized_keys").write_text("")
        with pytest.raises(LinkError, match="permission denied") as caught:
            await ask(NodeLink(address(ssh_lab, server), pool_at(ssh_lab)))
        assert caught.value.state is LinkState.REFUSED
        assert "authorized_keys" in caught.value.hint

    asyncio.run(run())


def test_a_host_certificate_is_taken_from_an_authority_and_a_plain_key_is_not(ssh_lab: Any, unix_http: Any) -> None:
    authority, key = ssh_lab.folder / "ca", ssh_lab.folder / "hk"
    for path in (authority, key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "n", "-h", "-n", "127.0.0.1", f"{key}.pub"]
    subprocess.run(sign, check=True)
    plain, certified = ssh_lab.sshd(), ssh_lab.sshd(f"HostCertificate {key}-cert.pub", host_key=key)

    async def run() -> None:
        public = " ".join(Path(f"{authority}.pub").read_text().split()[:2])
        (ssh_lab.folder / "known_hosts").write_text(f"@cert-authority 127.0.0.* {public}\n")
        async with unix_http(ssh_lab.folder / "a.sock", pong):
            link = NodeLink(address(ssh_lab, certified), pool_at(ssh_lab, Nobody()))
            assert await ask(link) == b"pong "
            await link.aclose()
            with pytest.raises(LinkError, match="should have a host certificate"):
                await ask(NodeLink(address(ssh_lab, plain), pool_at(ssh_lab)))

    asyncio.run(run())
