"""The fleet against OpenSSH: a node that dies silently behind a jump host that lives."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from console.fleet.fleet import LiveFleet
from console.fleet.view import LinkState, NodeAddress, NodeView
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.link.ssh import KEEPALIVE_MISSED_MAX, KEEPALIVE_S, Ssh
from console.seat.prompts import Nobody
from console.terminal.pace import Pace

PACE = Pace(ping_s=0.5, backoff_first_s=0.05, backoff_max_s=0.1)


async def reach(fleet: LiveFleet, name: str, *states: LinkState) -> NodeView:
    async with asyncio.timeout(20):
        while fleet.views()[name].link not in states:
            await fleet.wait_changed(fleet.version)
    return fleet.views()[name]


def test_a_node_that_freezes_behind_a_live_jump_is_found_within_three_periods_and_comes_back(
    ssh_lab: Any, unix_http: Any, tiny_agent: Any
) -> None:
    async def run() -> None:
        node, jump, folder = ssh_lab.sshd(), ssh_lab.sshd(), Path(ssh_lab.folder)
        pins = [f"[127.0.0.1]:{server.port} {server.host_public}\n" for server in (node, jump)]
        (folder / "known_hosts").write_text("".join(pins))
        plain = {"host": "127.0.0.1", "user": node.user, "identity_files": (str(ssh_lab.identity),)}
        behind = NodeAddress(
            name="behind",
            port=node.port,
            jumps=(f"{jump.user}@127.0.0.1:{jump.port}",),
            socket=str(folder / "a.sock"),
            **plain,
        )
        beside = NodeAddress(name="beside", port=jump.port, socket=str(folder / "b.sock"), **plain)
        ssh = Ssh(HostKeys(folder / "known_hosts"), Secrets(Nobody()), agent_path="")
        fleet = LiveFleet([behind, beside], Pool(ssh), pace=PACE)
        one, two = tiny_agent(node_id="one"), tiny_agent(node_id="two")
        async with unix_http(folder / "a.sock", one.serve), unix_http(folder / "b.sock", two.serve):
            task = asyncio.create_task(fleet.run())
            await reach(fleet, "behind", LinkState.UP)
            await reach(fleet, "beside", LinkState.UP)
            node.signal_all(signal.SIGSTOP)
            frozen_s = time.monotonic()
            view = await reach(fleet, "behind", LinkState.DOWN)
            assert time.monotonic() - frozen_s < 3 * PACE.ping_s + 1.0
            assert "no answer for" in view.link_error
            assert fleet.views()["beside"].link is LinkState.UP
            node.signal_all(signal.SIGCONT)
            await reach(fleet, "behind", LinkState.UP)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_dead_link_is_found_by_pings_before_ssh_keepalive_would() -> None:
    pace = Pace()
    assert pace.ping_s * (1 + pace.missed_max) <= 3 * pace.ping_s
    assert pace.ping_s * (1 + pace.missed_max) < KEEPALIVE_S * (KEEPALIVE_MISSED_MAX + 1)
