"""Every check there is, in the order in which they are shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from nodeagent.checks import access, disk, machine, node
from nodeagent.checks import time as times
from nodeagent.checks.finding import NOT_TOLD, Finding, ask, name_of, row, unseen
from nodeagent.checks.host import Host
from nodeagent.checks.node import Agent
from nodeagent.protocol import Check
from nodeagent.settings import Settings

HostCheck = Callable[[Host], Finding]
AgentCheck = Callable[[Agent], Awaitable[Finding]]

ON_THE_HOST: Final[tuple[HostCheck, ...]] = (
    times.clock,
    times.time_zone,
    disk.disk,
    disk.inodes,
    disk.writes,
    disk.ballast,
    machine.temperature,
    machine.throttling,
    machine.memory,
    machine.kernel_kills,
    machine.open_files,
    machine.watchdog,
    access.sshd,
    access.sockets,
    access.host_keys,
    access.trust,
)
OF_THE_AGENT: Final[tuple[AgentCheck, ...]] = (
    node.identity_,
    node.database,
    node.ledger_,
    node.blobs,
    node.workers,
    node.golden_vectors,
    node.connectors,
    node.outbox_,
    node.cold_start,
    node.log,
    node.syslog,
)
# With no agent to ask, a person at the node still sees the machine, and this.
NO_AGENT: Final = "agent"
NAMES: Final = (*map(name_of, ON_THE_HOST), *map(name_of, OF_THE_AGENT), NO_AGENT)


async def of_node(agent: Agent, host: Host) -> list[Check]:
    """The machine and the agent that runs on it."""
    found = await asyncio.to_thread(ask, ON_THE_HOST, host)
    for check in OF_THE_AGENT:
        try:
            finding = await check(agent)
        except NOT_TOLD as error:
            finding = unseen(error)
        found.append(row(name_of(check), finding))
    return found


def without_agent(state: Path, settings: Settings, why: str) -> list[Check]:
    """The machine alone, and why the agent said nothing."""
    host = Host(state, settings, time.time())
    advice = "`systemctl status outstation-agent`, or the keeper's log; start it with `outstation-agent run`."
    return [Check(name=NO_AGENT, verdict="bad", text=why, advice=advice), *ask(ON_THE_HOST, host)]
