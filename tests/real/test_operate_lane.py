"""MONITOR and OPERATE against a real agent behind a real sshd: what a watching console cannot do, and what opens it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.fleet.fleet import LiveFleet
from console.fleet.view import LinkState, NodeAddress
from console.link.errors import LinkError
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.live import LiveOperations
from console.seat.operations import OperationFailed
from console.seat.prompts import Nobody

_SPEC = importlib.util.spec_from_file_location("real_ssh_agent", Path(__file__).with_name("test_ssh_agent.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
an_agent, bridge, watched = _MODULE.an_agent, _MODULE.bridge, _MODULE.watched
ROOT = Path(__file__).resolve().parents[2]
NODE = "press-07"


@pytest.fixture(scope="module")
def node(standing_lab: Any) -> Iterator[Any]:
    with an_agent(standing_lab) as made:
        asyncio.run(appears(made.socket.with_name("monitor.sock")))
        yield made


@pytest.fixture
def without_monitor_socket(node: Any) -> Iterator[None]:
    socket = node.socket.with_name("monitor.sock")
    aside = socket.with_suffix(".aside")
    socket.rename(aside)
    yield
    aside.rename(socket)


async def appears(path: Path) -> None:
    """The agent that was just started listens."""
    for _ in range(1_500):
        if path.exists():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"no {path} in 30 s")


async def refused(client: AgentClient) -> str:
    with pytest.raises(AgentError) as caught:
        await client.take_lease("alice")
    return caught.value.error.code


async def view_of(fleet: LiveFleet) -> Any:
    return fleet.views()[NODE]


def test_a_console_in_monitor_cannot_change_a_node_and_may_still_hold_it(standing_lab: Any, node: Any) -> None:
    async def run() -> None:
        server = standing_lab.sshd()
        async with watched(standing_lab, node, server) as fleet:
            view = await view_of(fleet)
            assert (view.link_mode, view.status.access) == ("streamlocal", "monitor")
            assert view.status.actor == f"alice (claimed, {server.user})"
            assert await refused(fleet.client(NODE)) == "ACCESS.MONITOR_ONLY"
            assert (await fleet.client(NODE).hold("smoke")).by == f"alice (claimed, {server.user})"
            async with fleet.operate() as lane:
                assert (await lane.client(NODE).status()).access == "operate"
                await lane.client(NODE).release()

    asyncio.run(run())


def test_where_only_the_operate_socket_is_there_it_is_read_with_the_role_lowered_and_shown(
    standing_lab: Any, node: Any, without_monitor_socket: None
) -> None:
    async def run() -> None:
        async with watched(standing_lab, node, standing_lab.sshd()) as fleet:
            view = await view_of(fleet)
            assert (view.link_mode, view.status.access) == ("streamlocal, operate socket", "monitor")
            assert await refused(fleet.client(NODE)) == "ACCESS.MONITOR_ONLY"
        server = standing_lab.sshd("DisableForwarding yes")
        async with watched(standing_lab, node, server, agent=bridge(standing_lab)) as fleet:
            assert (await view_of(fleet)).link_mode == "bridge, operate socket"
            assert await refused(fleet.client(NODE)) == "ACCESS.MONITOR_ONLY"

    asyncio.run(run())


def test_the_bridge_has_both_lanes_too(standing_lab: Any, node: Any) -> None:
    async def run() -> None:
        server = standing_lab.sshd("DisableForwarding yes", "MaxSessions 2")
        async with watched(standing_lab, node, server, agent=bridge(standing_lab)) as fleet:
            assert (await view_of(fleet)).link_mode == "bridge"
            assert await refused(fleet.client(NODE)) == "ACCESS.MONITOR_ONLY"
            async with fleet.operate() as lane:
                assert (await lane.client(NODE).take_lease("alice")).holder == "alice"

    asyncio.run(run())


def test_a_key_whose_command_names_a_person_proves_the_name_whatever_is_claimed(standing_lab: Any, node: Any) -> None:
    async def run() -> None:
        command = f"cd {shlex.quote(str(ROOT))} && exec {sys.executable} -m nodeagent connect --as bob --role operate"
        forced = f'restrict,command="{command} --socket {node.socket}"'
        async with watched(standing_lab, node, standing_lab.sshd(prefix=forced)) as fleet:
            view = await view_of(fleet)
            assert (view.status.actor, view.status.access) == ("bob", "monitor")
            assert await refused(fleet.client(NODE)) == "ACCESS.MONITOR_ONLY"
            async with fleet.operate() as lane:
                told = await lane.client(NODE).status()
                assert (told.actor, told.access) == ("bob", "operate")

    asyncio.run(run())


def test_operate_is_a_login_of_its_own_and_leaving_ends_it_for_good(standing_lab: Any, node: Any) -> None:
    async def run() -> None:
        server = standing_lab.sshd()
        async with watched(standing_lab, node, server) as fleet:
            before, sessions = server.log.count("Accepted publickey"), len(server.sessions())
            lane = fleet.operate()
            assert await lane.prove([NODE]) == NODE
            assert server.log.count("Accepted publickey") == before + 1
            client = lane.client(NODE)
            await lane.leave()
            await gone(lambda: len(server.sessions()) == sessions)
            with pytest.raises(LinkError, match="closed"):
                await client.take_lease("alice")
            with pytest.raises(LinkError, match="closed"):
                await lane.client(NODE).take_lease("alice")
            assert server.log.count("Accepted publickey") == before + 1
            assert (await view_of(fleet)).link is LinkState.UP

    asyncio.run(run())


async def gone(check: Any) -> None:
    for _ in range(500):
        if check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it is still there after 10 s")


@asynccontextmanager
async def operating(fleet: LiveFleet, folder: Path) -> AsyncIterator[LiveOperations]:
    operations = LiveOperations(fleet, folder / "catalog.db", operator="alice")
    try:
        yield operations
    finally:
        await operations.leave_operate()
        operations.close()


class Typing(Nobody):
    """A person who types the next of `answers` when a passphrase is asked for."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), 0

    async def secret(self, node: str, text: str) -> str | None:
        self.asked += 1
        return self.answers.pop(0) if self.answers else None


def test_a_person_with_a_passphrase_is_asked_again_for_operate_and_a_wrong_one_stays_in_monitor(
    standing_lab: Any, node: Any
) -> None:
    async def run() -> None:
        server = standing_lab.sshd()
        locked = standing_lab.folder / "locked"
        locked.write_bytes(standing_lab.identity.read_bytes())
        locked.chmod(0o600)
        command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(locked)]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        person = Typing("secret", "wrong", "secret")
        async with watching_as(standing_lab, server, node, locked, person) as fleet:
            assert person.asked == 1
            async with operating(fleet, standing_lab.folder) as operations:
                with pytest.raises(OperationFailed, match="does not open"):
                    await operations.enter_operate()
                with pytest.raises(OperationFailed, match="MONITOR"):
                    await operations.release(NODE, "")
                await operations.enter_operate()
                assert person.asked == 3
                await operations.hold(NODE, "drill")
                await operations.release(NODE, "drill is over")
                assert person.asked == 3
                await operations.leave_operate()
                with pytest.raises(OperationFailed, match="OPERATE failed"):
                    await operations.enter_operate()
                assert person.asked == 4

    asyncio.run(run())


@asynccontextmanager
async def watching_as(
    lab: Any, server: Any, node: Any, key: Path, person: Nobody, *, socket: str = "agent.sock"
) -> AsyncIterator[LiveFleet]:
    (lab.folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_public}\n")
    address = NodeAddress(
        name=NODE, host="127.0.0.1", port=server.port, user=server.user, socket=str(node.socket.with_name(socket)),
        identity_files=(str(key),), node_id=node.node_id,
    )  # fmt: skip
    pool = Pool(Ssh(HostKeys(lab.folder / "known_hosts"), Secrets(person), agent_path=""))
    fleet = LiveFleet([address], pool, operator="alice")
    task = asyncio.create_task(fleet.run())
    try:
        async with asyncio.timeout(30):
            while fleet.views()[NODE].link is not LinkState.UP:
                await fleet.wait_changed(fleet.version)
        yield fleet
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_a_login_that_may_not_use_the_operate_socket_does_not_get_operate(standing_lab: Any, node: Any) -> None:
    async def run() -> None:
        key, server = standing_lab.identity, standing_lab.sshd()
        async with (
            watching_as(standing_lab, server, node, key, Nobody(), socket="not-for-me.sock") as fleet,
            operating(fleet, standing_lab.folder) as operations,
        ):
            assert (await view_of(fleet)).link_mode == "streamlocal"
            with pytest.raises(OperationFailed, match="agent is not reached"):
                await operations.enter_operate()

    asyncio.run(run())


def test_where_no_node_is_reached_operate_waits_for_the_first_change_to_prove_the_person(
    standing_lab: Any, node: Any
) -> None:
    async def run() -> None:
        server = standing_lab.sshd()
        async with watched(standing_lab, node, server) as fleet, operating(fleet, standing_lab.folder) as operations:
            await asyncio.to_thread(server.stop)
            async with asyncio.timeout(20):
                while fleet.views()[NODE].link is not LinkState.DOWN:
                    await fleet.wait_changed(fleet.version)
            await operations.enter_operate()
            with pytest.raises(OperationFailed, match="nothing listens"):
                await operations.release(NODE, "")

    asyncio.run(run())
