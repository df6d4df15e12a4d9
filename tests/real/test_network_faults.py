"""A network that loses everything without a word, real OpenSSH, and a real agent behind it.

Plant and office are network namespaces of their own with a pair of veth between them: nothing else of the machine is
touched. A thread lives in each, since a namespace is a thread's: what it starts, and what it connects to, is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import io
import os
import random
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery.deploy import Progress, confirm, deploy
from console.delivery.upload import Meter, upload
from console.fleet.fleet import LiveFleet
from console.fleet.view import LinkState, NodeAddress
from console.link import ssh
from console.link.errors import LinkError
from console.link.hostkeys import HostKeys
from console.link.node import NodeLink
from console.link.pool import BULK, Pool
from console.link.secrets import Secrets
from console.seat.prompts import Nobody
from console.terminal.pace import Pace
from nodeagent.protocol import DeploymentState
from store.archive import read_archive
from store.blobs import Blobs
from tests.faults import real_agent

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
PLANT, OFFICE = "10.55.0.1", "10.55.0.2"
PACE = Pace(ping_s=0.5, missed_max=2, backoff_first_s=0.1, backoff_max_s=0.4)
PATIENCE_S = 60.0
LOGIN_S = 2.0
LINE_RATE = "5mbit"
UPLOAD_BYTES = 2_000_000
UP_S, DOWN_S, FLAPS = 2.0, 3.0, 2

workshop = real_agent.workshop
make_agents = real_agent.make_agents


class Namespace:
    """A network of its own, and the one thread in it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.id = self.run(_enter)
        self.sh("ip link set lo mtu 1500 up")

    def run(self, call: Callable[..., T], *words: Any) -> T:
        return self._thread.submit(call, *words).result()

    def sh(self, *lines: str) -> None:
        for line in lines:
            self.run(lambda words: subprocess.run(words, check=True), line.split())

    def close(self) -> None:
        self._thread.shutdown()


def _enter() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return threading.get_native_id()


class Line:
    """The cable between office and plant, the sshd at its far end, and the node there."""

    def __init__(self, plant: Namespace, office: Namespace, lab: Any, node: Any) -> None:
        self.plant, self.office, self.lab, self.node = plant, office, lab, node
        office.sh(
            f"ip link add c0 type veth peer name n0 netns {plant.id}",
            f"ip addr add {OFFICE}/24 dev c0",
            "ip link set c0 mtu 1500 up",
            f"tc qdisc add dev c0 root tbf rate {LINE_RATE} burst 16k latency 50ms",
        )
        plant.sh(f"ip addr add {PLANT}/24 dev n0", "ip link set n0 mtu 1500 up")
        self.server = plant.run(lab.sshd, f"ListenAddress {PLANT}")
        self.known = lab.folder / "known_hosts"
        self.known.write_text(f"[{PLANT}]:{self.server.port} {self.server.host_public}\n")
        self.address = NodeAddress(
            "press-07",
            PLANT,
            self.server.port,
            self.server.user,
            socket=str(node.socket),
            identity_files=(str(lab.identity),),
            node_id=node.node_id,
        )

    def cut(self) -> None:
        """From now on every packet is lost, both ways; nobody is told."""
        self.plant.sh("iptables -A INPUT -i n0 -j DROP", "iptables -A OUTPUT -o n0 -j DROP")

    def mend(self) -> None:
        self.plant.sh("iptables -F")

    @contextlib.contextmanager
    def black_hole(self) -> Iterator[None]:
        self.cut()
        try:
            yield
        finally:
            self.mend()

    @property
    def connections(self) -> int:
        """How many times the office has come to the sshd so far."""
        return self.server.log.count(f"Connection from {OFFICE} ")

    def pool(self) -> Pool:
        return Pool(ssh.Ssh(HostKeys(self.known), Secrets(Nobody()), agent_path=""))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[LiveFleet]:
        """The node as a console sees it, up."""
        fleet = LiveFleet([self.address], self.pool(), operator="alice", pace=PACE)
        task = asyncio.create_task(fleet.run())
        try:
            await reach(fleet, LinkState.UP)
            yield fleet
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def client(self, lane: str = BULK) -> AsyncIterator[AgentClient]:
        """A client with a login of its own."""
        link = NodeLink(self.address, self.pool(), lane=lane)
        try:
            yield AgentClient(link, "press-07", node_id=self.address.node_id)
        finally:
            await link.retire()

    def from_office(self, story: Coroutine[Any, Any, None]) -> None:
        self.office.run(asyncio.run, story)


def sent_bytes() -> int:
    """What went out by the cable's end in this thread's namespace, all of it."""
    table = Path("/proc/thread-self/net/dev").read_text()
    line = next(line for line in table.splitlines() if line.strip().startswith("c0:"))
    return int(line.split(":")[1].split()[8])


async def reach(fleet: LiveFleet, *states: LinkState) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while fleet.views()["press-07"].link not in states:
            await fleet.wait_changed(fleet.version)


@pytest.fixture(scope="module")
def line(standing_lab: Any, make_agents: Any) -> Iterator[Line]:
    try:
        plant, office = Namespace(), Namespace()
    except PermissionError:
        pytest.fail("NOT RUN: this needs the right to make a network namespace; as root it works in a container too")
    made = Line(plant, office, standing_lab, make_agents().start())
    yield made
    made.node.kill_all()
    plant.close()
    office.close()


@pytest.fixture(autouse=True)
def short_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that gets no answer is given up after 2 s instead of 10."""
    monkeypatch.setattr(ssh, "LOGIN_S", LOGIN_S)


def test_a_node_in_a_black_hole_is_unknown_in_the_stated_time_and_comes_back_by_itself(line: Line) -> None:
    async def run() -> None:
        async with line.watched() as fleet:
            before, cut_s = line.connections, time.monotonic()
            with line.black_hole():
                await reach(fleet, LinkState.DOWN)
                took_s, view = time.monotonic() - cut_s, fleet.views()["press-07"]
                # Not by a FIN, a RST or an ICMP: by pings without an answer, ping_s * missed_max after the last one.
                assert view.link_error == "no answer for 1 s"
                assert not view.is_known(time.monotonic())
                await an_operator_is_told(line)
                assert fleet.views()["press-07"].link is LinkState.DOWN
                assert line.connections == before
            await reach(fleet, LinkState.UP)
            assert fleet.views()["press-07"].is_known(time.monotonic())
            came = line.connections - before
            print(f"unknown {took_s:.1f} s after the cut; {came} connection(s) when it was mended")
            assert came == 1, line.server.log

    line.from_office(run())


async def an_operator_is_told(line: Line) -> None:
    """A command to a node in a black hole ends in words, after the time that a login may take."""
    async with line.client("operate") as client:
        began_s = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(LinkError) as raised:
                await client.hold("alice checks the line")
        print(f"told after {time.monotonic() - began_s:.1f} s: {raised.value}; {raised.value.hint}")
    error = raised.value
    assert error.state is LinkState.DOWN
    assert str(error) == f"{line.server.user}@[{PLANT}]:{line.server.port}: no answer in {LOGIN_S:g} s"
    assert error.hint


def test_a_line_that_flaps_ends_up_and_an_upload_over_it_ends_whole(line: Line) -> None:
    data = random.Random(7).randbytes(UPLOAD_BYTES)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"

    async def flap() -> None:
        for _ in range(FLAPS):
            await asyncio.sleep(UP_S)
            await asyncio.to_thread(line.cut)
            await asyncio.sleep(DOWN_S)
            await asyncio.to_thread(line.mend)

    async def piece() -> None:
        return

    async def run() -> None:
        async with line.watched() as fleet, line.client() as client:
            before, sent = line.connections, sent_bytes()
            meter = Meter(len(data))
            flaps = asyncio.create_task(flap())
            state = await upload(client, digest, io.BytesIO(data), len(data), meter=meter, on_piece=piece)
            assert state.complete
            assert meter.done_bytes == len(data)
            again = sent_bytes() - sent - len(data)
            await flaps
            await reach(fleet, LinkState.UP)
            print(f"{again / len(data):.1%} more than the blob on the wire; {line.connections - before} connections")
            assert again < len(data) / 2
            # One of the upload, and at most one of each lane after each flap.
            assert line.connections - before <= 1 + 2 * FLAPS

    line.from_office(run())
    assert Blobs(line.node.state).path(digest).read_bytes() == data


def test_a_trial_whose_confirmer_is_cut_off_goes_back_by_itself(line: Line, workshop: Any) -> None:
    async def run() -> None:
        seen: list[Progress] = []
        async with line.watched() as fleet, fleet.operate() as lane:
            with read_archive(workshop.bundle(1)) as opened:
                found = await deploy(lane, "press-07", opened, window_s=5.0, operator="alice", on_progress=seen.append)
            assert found.state is DeploymentState.TRIAL
            with line.black_hole():
                await asyncio.to_thread(line.node.eventually, lambda: ended(line, found.id), "the trial ends")
                told = line.node.show(found.id)
                assert (told["state"], told["reason"]) == ("ROLLED_BACK", "UNCONFIRMED")
                await reach(fleet, LinkState.DOWN)
            await reach(fleet, LinkState.UP)
        async with line.watched() as fleet, fleet.operate() as lane:
            with pytest.raises(AgentError) as raised:
                await confirm(lane, "press-07", found.id, operator="alice")
            assert raised.value.error.code == "DEPLOYMENT.ALREADY_ROLLED_BACK"

    line.from_office(run())


def ended(line: Line, id_: str) -> bool:
    return line.node.show(id_)["state"] != "TRIAL"
