"""The console against the real agent through real sshd: deploy, confirm by a new login, roll back, resume, restart."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.delivery.deploy import Progress, confirm, deploy, rollback
from console.delivery.inspect import facts_from_model
from console.delivery.lane import OperateLane
from console.delivery.lease import held_lease
from console.delivery.upload import Meter, upload
from console.fleet.fleet import LiveFleet
from console.fleet.view import LinkState, NodeAddress
from console.ledgers.visits import HereBook, visit
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import Nobody
from console.terminal.pace import Pace
from nodeagent.protocol import DeploymentState, RollbackReason, Telemetry
from store.archive import Archive, read_archive, sign_archive
from store.builder import build
from store.histories import Histories
from store.signing import sign_with_key_file

ROOT = Path(__file__).resolve().parents[2]
PACE = Pace(ping_s=5.0, backoff_first_s=0.1, backoff_max_s=0.3)
START_S = 60.0


class Agent:
    """A real agent in a folder of its own."""

    def __init__(self, folder: Path, signers: Path) -> None:
        self.folder, self.state = folder, folder / "n"
        made = [sys.executable, "-m", "nodeagent", "init", "--state", str(self.state), "--name", "press-07"]
        done = subprocess.run(
            [*made, "--allow-signer", str(signers)], capture_output=True, text=True, check=True, cwd=ROOT
        )
        self.node_id = done.stdout.strip()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.state / "run" / "agent.sock"

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            command = [sys.executable, "-m", "nodeagent", "run", "--state", str(self.state)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            if self._process.returncode is None:
                self._process.kill()
                self._process.wait(5)
            self._process = None


@contextlib.contextmanager
def an_agent(lab: Any) -> Iterator[Agent]:
    key = lab.folder / "release"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    signers = lab.folder / "signers"
    signers.write_text(f'release namespaces="outstation-bundle" {public}\n')
    made = Agent(lab.folder, signers)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def agent(ssh_lab: Any) -> Iterator[Agent]:
    """A node that no test has touched."""
    with an_agent(ssh_lab) as made:
        yield made


@pytest.fixture(scope="module")
def standing(standing_lab: Any) -> Iterator[Agent]:
    """A node for tests that leave no deployment behind."""
    with an_agent(standing_lab) as made:
        yield made


@pytest.fixture
def archive(ssh_lab: Any) -> Iterator[Archive]:
    path = ssh_lab.folder / "bearing.ostn"
    build(ROOT / "examples" / "bearing", path, facts_from_model, pipeline="pipeline.simulate.toml")
    sign_archive(path, path, lambda manifest: sign_with_key_file(ssh_lab.folder / "release", manifest))
    with read_archive(path) as opened:
        yield opened


def bridge(lab: Any) -> str:
    script = lab.folder / "outstation-agent"
    script.write_text(
        f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.quote(sys.executable)} -m nodeagent "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


@asynccontextmanager
async def watched(lab: Any, node: Agent, server: Any, *, jump: Any = None, **extra: Any) -> AsyncIterator[LiveFleet]:
    """The node over `server`, up. Host keys are pinned beforehand."""
    servers = [server] if jump is None else [server, jump]
    pins = [f"[127.0.0.1]:{one.port} {one.host_public}\n" for one in servers]
    (lab.folder / "known_hosts").write_text("".join(pins))
    address = NodeAddress(
        name="press-07",
        host="127.0.0.1",
        port=server.port,
        user=server.user,
        jumps=() if jump is None else (f"{jump.user}@127.0.0.1:{jump.port}",),
        socket=str(node.socket),
        identity_files=(str(lab.identity),),
        node_id=node.node_id,
        **extra,
    )
    ssh = Ssh(HostKeys(lab.folder / "known_hosts"), Secrets(Nobody()), agent_path="")
    fleet = LiveFleet([address], Pool(ssh), operator="alice", pace=PACE)
    task = asyncio.create_task(fleet.run())
    try:
        await reach(fleet, LinkState.UP)
        yield fleet
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reach(fleet: LiveFleet, *states: LinkState) -> None:
    async with asyncio.timeout(START_S):
        while fleet.views()["press-07"].link not in states:
            await fleet.wait_changed(fleet.version)


async def bound(lane: OperateLane) -> None:
    client = lane.client("press-07")
    async with held_lease(client, "alice") as lease:
        await client.bind({"seed": 7}, base_revision=0, lease=lease.token)


async def put(lane: OperateLane, archive: Archive, window_s: float = 60.0) -> Any:
    seen: list[Progress] = []
    found = await deploy(lane, "press-07", archive, window_s=window_s, operator="alice", on_progress=seen.append)
    assert [progress.step for progress in seen][-1] == "trial"
    return found


def test_a_bundle_goes_through_a_jump_host_to_its_trial_and_is_confirmed_by_a_new_login(
    ssh_lab: Any, agent: Agent, archive: Archive
) -> None:
    async def run() -> None:
        server, jump = ssh_lab.sshd(), ssh_lab.sshd()
        async with watched(ssh_lab, agent, server, jump=jump) as fleet, fleet.operate() as lane:
            await bound(lane)
            found = await put(lane, archive)
            assert found.state is DeploymentState.TRIAL
            assert found.actor == f"alice (claimed, {server.user})"
            logins = server.log.count("Accepted publickey")
            done = await confirm(lane, "press-07", found.id, operator="alice")
            assert (done.state, done.reachability) == (DeploymentState.COMMITTED, "proved")
            assert server.log.count("Accepted publickey") == logins + 1
            client = fleet.client("press-07")
            for _ in range(200):
                page = await client.records("bearing", newest_first=True)
                if page.records:
                    break
                await asyncio.sleep(0.1)
            assert page.records
            await ledger_holds(ssh_lab.folder, client, agent.node_id)

    asyncio.run(run())


async def ledger_holds(folder: Path, client: Any, node_id: str) -> None:
    (folder / "home").mkdir()
    with Histories(folder / "home" / "catalog.db") as kept:
        assert (await visit(client, HereBook(kept))).broken is None
        assert "deployment.committed" in {entry.action for entry in kept.entries(node_id)}


def test_the_same_goes_over_the_stdio_bridge_where_sshd_forbids_forwarding_and_more_than_one_session(
    ssh_lab: Any, agent: Agent, archive: Archive
) -> None:
    async def run() -> None:
        server = ssh_lab.sshd("DisableForwarding yes", "MaxSessions 1")
        async with watched(ssh_lab, agent, server, agent=bridge(ssh_lab)) as fleet, fleet.operate() as lane:
            assert fleet.views()["press-07"].link_mode == "bridge"
            await bound(lane)
            found = await put(lane, archive)
            done = await confirm(lane, "press-07", found.id, operator="alice")
            assert (done.state, done.reachability) == (DeploymentState.COMMITTED, "proved")

    asyncio.run(run())


def test_a_trial_that_is_rolled_back_ends_at_once_and_a_first_bundle_then_runs_no_more(
    ssh_lab: Any, agent: Agent, archive: Archive
) -> None:
    async def run() -> None:
        async with watched(ssh_lab, agent, ssh_lab.sshd()) as fleet, fleet.operate() as lane:
            await bound(lane)
            found = await put(lane, archive)
            done = await rollback(lane, "press-07", found.id, operator="alice", reason="noise")
            assert (done.state, done.reason) == (DeploymentState.ROLLED_BACK, RollbackReason.REVERTED)
            active = [one for one in await fleet.client("press-07").revisions() if one.active]
            assert active == []

    asyncio.run(run())


def test_an_upload_goes_on_at_the_byte_after_every_login_was_killed(standing_lab: Any, standing: Agent) -> None:
    data = random.Random(1).randbytes(24 << 20)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"

    async def run() -> None:
        server = standing_lab.sshd()
        killed_at: list[int] = []
        async with (
            watched(standing_lab, standing, server) as fleet,
            fleet.operate() as lane,
            lane.bulk_client("press-07") as bulk,
        ):
            meter = Meter(len(data))

            async def piece() -> None:
                if not killed_at and meter.done_bytes > len(data) // 4:
                    killed_at.append(meter.done_bytes)
                    server.signal_all(signal.SIGKILL)

            state = await upload(bulk, digest, io.BytesIO(data), len(data), meter=meter, on_piece=piece)
            assert state.complete
            assert meter.done_bytes == len(data)
            assert killed_at
            assert 0 < killed_at[0] < len(data)

    asyncio.run(run())


def test_an_agent_that_is_started_again_is_followed_again_over_the_same_login(
    standing_lab: Any, standing: Agent
) -> None:
    async def run() -> None:
        server = standing_lab.sshd()
        async with watched(standing_lab, standing, server) as fleet:
            before = fleet.views()["press-07"].telemetry
            assert before is not None
            await asyncio.to_thread(standing.stop)
            await reach(fleet, LinkState.NO_AGENT, LinkState.DOWN)
            view = fleet.views()["press-07"]
            assert not view.is_known(time.monotonic())
            standing.start()
            await reach(fleet, LinkState.UP)
            after = fleet.views()["press-07"].telemetry
            assert after is not None
            assert after.started_us != before.started_us
            assert server.log.count("Accepted publickey") == 1

    asyncio.run(run())


def test_a_link_that_was_down_for_some_lines_gets_them_and_leaves_no_gap_in_the_trend(
    standing_lab: Any, standing: Agent
) -> None:
    async def run() -> None:
        server = standing_lab.sshd()
        async with watched(standing_lab, standing, server) as fleet:
            first = fleet.views()["press-07"].telemetry
            assert first is not None
            await asyncio.to_thread(server.stop)
            await reach(fleet, LinkState.DOWN)
            down = fleet.views()["press-07"]
            assert down.rate_trend[-1] is None
            assert down.telemetry is not None
            await until_past(standing, down.telemetry.cursor + 3)
            await asyncio.to_thread(server.start)
            await reach(fleet, LinkState.UP)
            async with asyncio.timeout(START_S):
                while (last := fleet.views()["press-07"].telemetry) is None or last.cursor < down.telemetry.cursor + 3:
                    await fleet.wait_changed(fleet.version)
            trend = fleet.views()["press-07"].rate_trend
            assert None not in trend
            assert len(trend) == last.cursor - first.cursor + 1

    asyncio.run(run())


async def until_past(node: Agent, cursor: int) -> None:
    """Returns when the agent's telemetry, asked beside the link, has come to `cursor`."""
    reader, writer = await asyncio.open_unix_connection(str(node.socket), limit=1 << 20)
    writer.write(b"GET /agent/v1/telemetry HTTP/1.1\r\nHost: node\r\n\r\n")
    try:
        async with asyncio.timeout(START_S):
            async for line in reader:
                if line.startswith(b"{") and msgspec.json.decode(line, type=Telemetry).cursor >= cursor:
                    return
    finally:
        writer.close()


def test_logs_are_followed_and_a_hold_reaches_the_node_without_a_lease(standing_lab: Any, standing: Agent) -> None:
    async def run() -> None:
        async with watched(standing_lab, standing, standing_lab.sshd()) as fleet:
            client = fleet.client("press-07")
            page = await client.logs(limit=10)
            assert any(standing.node_id in line.text for line in page.lines)
            held = await client.hold("smoke")
            assert held.reason == "smoke"
            async with fleet.operate() as lane:
                assert (await lane.client("press-07").release()).telemetry.hold is None
            assert os.path.exists(standing.socket)

    asyncio.run(run())
