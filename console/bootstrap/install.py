"""The steps that put an agent on a node, in order. Each finds what an earlier run did, so that any may be the last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from console.bootstrap.node import BootstrapFailed, BootstrapNode, is_full
from console.bootstrap.plan import Plan
from console.client.client import AgentClient
from console.kit.file import Kit
from console.link.errors import LinkError
from nodeagent.protocol import Status

PROVE_S = 60.0
POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done; `done_bytes` of `total_bytes` where it copies."""

    name: str
    text: str
    done_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """What the new node is told of itself. `signers`: lines of an allowed_signers file."""

    name: str
    site: str = ""
    signers: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """What came of it. `before`: the version that ran until now."""

    node_id: str
    before: str
    notes: tuple[str, ...]


Tell = Callable[[Step], None]


async def install(node: BootstrapNode, plan: Plan, kit: Kit, identity: Identity, tell: Tell) -> Installed:
    """Copies, unpacks, makes the node, starts it. A full disk is given back what was copied. BootstrapFailed."""
    assert plan.target is not None
    assert not plan.refusals
    python = await bring(node, plan, kit, tell)
    places = {"prefix": plan.prefix, "state": plan.state, "version": plan.version, "start": plan.start}
    tell(Step("init", f"making the node in {plan.state}"))
    made = await node.ask(
        python,
        "init",
        verb="init",
        **places,
        name=identity.name,
        site=identity.site,
        signers=identity.signers,
        run=plan.run,
    )
    tell(Step("start", f"starting it by {plan.start}"))
    started = await node.ask(python, "start", verb="start", **places, restart=bool(made["before"]))
    return Installed(str(made["node_id"]), str(made["before"]), tuple(map(str, started["notes"])))


async def bring(node: BootstrapNode, plan: Plan, kit: Kit, tell: Tell) -> str:
    """Everything up to the unpacked version, beside any other; returns its interpreter. Raises BootstrapFailed."""
    try:
        return await _bring(node, plan, kit, tell)
    except BootstrapFailed as error:
        if is_full(error):
            await _give_back(node, plan)
        raise


async def _bring(node: BootstrapNode, plan: Plan, kit: Kit, tell: Tell) -> str:
    assert plan.target is not None
    python = plan.python
    copied = _Copied(plan.bytes_to_copy, tell)
    if plan.runtime is not None:
        staged = await node.stage_by_shell(plan.prefix)
        await node.copy(
            kit,
            plan.runtime,
            f"{plan.prefix}/staging",
            staged.get(plan.runtime.sha256, 0),
            copied.of(plan.runtime.file),
        )
        tell(Step("python", f"unpacking Python {plan.runtime.python}"))
        python = await node.unpack_runtime(plan.prefix, plan.runtime)
    places = {"prefix": plan.prefix, "state": plan.state, "version": plan.version}
    begun = await node.ask(python, "begin", verb="begin", **places)
    wheels = kit.manifest.wheels_for(plan.target)
    if not begun["placed"]:
        for wheel in wheels:
            has = int(begun["staged"].get(wheel.sha256, 0))
            await node.copy(kit, wheel, f"{plan.prefix}/staging", has, copied.of(wheel.file))
        tell(Step("unpack", f"unpacking {len(wheels)} wheels into {plan.prefix}/versions/{plan.version}"))
    table = [{"file": wheel.file, "sha256": wheel.sha256} for wheel in wheels]
    await node.ask(python, "unpack", verb="place", **places, wheels=table, interpreter=python)
    return python


async def _give_back(node: BootstrapNode, plan: Plan) -> None:
    """A node with a full disk needs every byte of it more than we need what was copied."""
    await node.clear_staging(plan.prefix)


class _Copied:
    """Counts bytes over all files, and tells at most a few times a second."""

    def __init__(self, total_bytes: int, tell: Tell) -> None:
        self._total, self._tell = total_bytes, tell
        self._done = 0
        self._told_s = 0.0

    def of(self, file: str) -> Callable[[int], None]:
        def told(size: int) -> None:
            self._done += size
            if time.monotonic() - self._told_s >= POLL_S or self._done >= self._total:
                self._told_s = time.monotonic()
                self._tell(Step("copy", file, self._done, self._total))

        return told


async def prove(client: AgentClient, node_id: str, version: str, *, wait_s: float = PROVE_S) -> Status:
    """The agent's own answer over the link. Raises BootstrapFailed when another answers, LinkError when none does."""
    until_s = time.monotonic() + wait_s
    while True:
        try:
            status = await client.status()
            break
        except LinkError:
            if time.monotonic() > until_s:
                raise
        await asyncio.sleep(POLL_S)
    if status.node_id != node_id:
        raise BootstrapFailed(
            client.node,
            "prove",
            f"the agent there is {status.node_id}, and the node that was made is {node_id}",
            "another agent listens on the same socket: stop it, or use another --state",
        )
    if not version.startswith(f"{status.agent_version}-"):
        raise BootstrapFailed(
            client.node, "prove", f"the agent there is version {status.agent_version}", "is an older one still running?"
        )
    return status
