"""A simulated plant: nodes that keep the deployment contract, faults, a virtual clock, and a console that is killed."""

from __future__ import annotations

import asyncio
import random
import selectors
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from console.client.wire import AgentError
from console.delivery.deploy import DeployFailed
from console.fleet.view import LinkState
from console.link.errors import LinkError
from console.rollout.gates import Sample
from console.rollout.plan import BundleFacts, NodeFacts, Running
from nodeagent.protocol import Deployment, DeploymentState, Error, RollbackReason
from store.rollouts import Rollouts

NEW, OLD = "sha256:new", "sha256:old"
S, R = DeploymentState, RollbackReason
SHADOW_S = 20.0


class VirtualSelector(selectors.SelectSelector):
    """Waiting for nobody takes no time: the clock is put forward by it instead."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits and nothing will happen")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time goes on only when nobody has anything left to do, and then at once."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def run_virtual(main: Callable[[], Awaitable[Any]]) -> Any:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


class Killed(BaseException):
    """The console's process is gone."""


@dataclass
class Console:
    """One life of the console: `step` is called at every write and every message, and may be its last."""

    dies_at: int = -1
    steps: int = 0
    dead: bool = False

    def step(self) -> None:
        self.check()
        self.steps += 1
        self.dead = self.steps == self.dies_at
        self.check()

    def check(self) -> None:
        if self.dead:
            raise Killed


@dataclass
class Book:
    """The rows, one call after the other. A write is a step: the console may die as soon as it is durable.

    To die before it is the same as to die behind the step before.
    """

    rows: Rollouts
    console: Console

    async def __call__(self, act: Callable[[Rollouts], Any]) -> Any:
        await asyncio.sleep(0)
        self.console.check()
        written = self.rows._connection.total_changes
        found = act(self.rows)
        if self.rows._connection.total_changes > written:
            self.console.step()
        return found


@dataclass
class SimDeployment:
    id: str
    kind: str = "bundle"
    state: DeploymentState = S.STAGED
    reason: RollbackReason | None = None
    window_s: float = 60.0
    flipped_s: float = 0.0
    ended_s: float = 0.0
    shadow_s: float | None = None


@dataclass
class SimNode:
    """What a node keeps of the contract: one trial, a deadline of its own, reboots that end it, idempotent by id."""

    name: str
    reboots_s: list[float] = field(default_factory=list)
    cuts_s: list[tuple[float, float]] = field(default_factory=list)
    refuses: bool = False
    unfit: bool = False
    fails_after_s: float | None = None
    slow: float = 0.0
    errors: int = 0
    shadow_says: str = "passed"
    shadows: int = 0
    active: str = OLD
    deployments: dict[str, SimDeployment] = field(default_factory=dict)
    flips: list[tuple[float, str]] = field(default_factory=list)
    commits: list[tuple[float, str]] = field(default_factory=list)
    acted: list[str] = field(default_factory=list)

    def is_cut(self, now_s: float) -> bool:
        return any(start <= now_s < end for start, end in self.cuts_s)

    def boot(self, now_s: float) -> tuple[str, float]:
        last = max((at for at in self.reboots_s if at <= now_s), default=-1_000.0)
        return f"boot {last}", now_s - last

    def judge(self, now_s: float) -> None:
        """What the node did by itself until now."""
        for found in self.deployments.values():
            if found.state is not S.TRIAL:
                continue
            ends = [(found.flipped_s + found.window_s, R.UNCONFIRMED)]
            ends += [(at, R.INTERRUPTED) for at in self.reboots_s if at > found.flipped_s]
            if self.fails_after_s is not None and found.kind == "bundle":
                ends.append((found.flipped_s + self.fails_after_s, R.FAILED))
            at, reason = min(ends, key=lambda end: end[0])
            if at <= now_s:
                self.end(found, reason, at)

    def end(self, found: SimDeployment, reason: RollbackReason, at: float) -> None:
        found.state, found.reason, found.ended_s = S.ROLLED_BACK, reason, at
        self.active = OLD if found.kind == "bundle" else NEW

    def flip(self, found: SimDeployment, now_s: float) -> None:
        if any(other.state is S.TRIAL for other in self.deployments.values()):
            raise AgentError(Error(code="DEPLOYMENT.TRIAL_RUNNING", message="another trial runs"), self.name)
        found.state, found.flipped_s = S.TRIAL, now_s
        self.active = NEW if found.kind == "bundle" else OLD
        self.flips.append((now_s, found.id))

    def commit(self, found: SimDeployment, now_s: float) -> None:
        if found.state is S.ROLLED_BACK:
            raise AgentError(Error(code="DEPLOYMENT.ALREADY_ROLLED_BACK", message="it went back"), self.name)
        if found.state is S.TRIAL:
            found.state, found.ended_s = S.COMMITTED, now_s
            self.commits.append((now_s, found.id))

    def view(self, found: SimDeployment, now_s: float) -> Deployment:
        left_s = found.flipped_s + found.window_s - now_s if found.state is S.TRIAL else None
        running = found.shadow_s is not None and now_s < found.shadow_s + SHADOW_S
        shadow = {"verdict": "unknown" if running else self.shadow_says, "running": running, "compared_s": 1.0}
        return Deployment(
            id=found.id,
            bundle="pump",
            version="2",
            digest=NEW,
            preflight={} if found.shadow_s is None else {"shadow": shadow},
            state=S.PREFLIGHT_OK if running and found.state is S.STAGED else found.state,
            reason=found.reason,
            window_s=found.window_s,
            seconds_left=left_s,
        )


@dataclass
class Plant:
    """`Nodes` over simulated ones. `loss`: how often a message, or its answer, does not arrive."""

    nodes: dict[str, SimNode]
    random: random.Random
    console: Console
    loss: float = 0.0
    busy: float = 0.0
    latency_s: tuple[float, float] = (0.01, 0.2)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def _send(self, node: str, act: Callable[[SimNode, float], Any], *, writes: str = "") -> Any:
        """A message that was sent reaches the node whether or not the console lives to see it."""
        self.console.step()
        task = asyncio.ensure_future(self._arrive(self.nodes[node], act, writes))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        failed, found = await asyncio.shield(task)
        self.console.step()
        if failed is not None:
            raise failed
        return found

    async def _arrive(self, node: SimNode, act: Callable[[SimNode, float], Any], writes: str) -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        lost = LinkError(LinkState.DOWN, node.name, "no answer")
        await asyncio.sleep(self.random.uniform(*self.latency_s))
        if node.is_cut(loop.time()) or self.random.random() < self.loss:
            await asyncio.sleep(5.0)
            return lost, None
        node.judge(loop.time())
        if writes and self.random.random() < self.busy:
            return AgentError(Error(code="LEASE.HELD", message="held by maria"), node.name), None
        try:
            found = act(node, loop.time())
        except (AgentError, DeployFailed) as error:
            return error, None
        if writes:
            node.acted.append(writes)
        await asyncio.sleep(self.random.uniform(*self.latency_s))
        if node.is_cut(loop.time()) or self.random.random() < self.loss:
            return lost, None
        return None, found

    async def stage(self, node: str, deployment: str, window_s: float) -> Deployment:
        def act(node: SimNode, now_s: float) -> Deployment:
            if node.unfit:
                raise DeployFailed(node.name, "passport", "memory: needs 2 GB", "a smaller model")
            found = node.deployments.setdefault(deployment, SimDeployment(deployment, window_s=window_s))
            return node.view(found, now_s)

        found: Deployment = await self._send(node, act, writes="stage")
        return found

    async def activate(self, node: str, deployment: str) -> Deployment:
        def act(node: SimNode, now_s: float) -> Deployment:
            found = node.deployments[deployment]
            if node.refuses:
                found.state = S.REFUSED
            if found.state is S.STAGED:
                node.flip(found, now_s)
            return node.view(found, now_s)

        found: Deployment = await self._send(node, act, writes="activate")
        return found

    async def shadow(self, node: str, deployment: str) -> Deployment:
        def act(node: SimNode, now_s: float) -> Deployment:
            found = node.deployments[deployment]
            if found.shadow_s is None:
                found.shadow_s, node.shadows = now_s, node.shadows + 1
            return node.view(found, now_s)

        found: Deployment = await self._send(node, act, writes="shadow")
        return found

    async def look(self, node: str, deployment: str) -> Deployment | None:
        def act(node: SimNode, now_s: float) -> Deployment | None:
            found = node.deployments.get(deployment)
            return None if found is None else node.view(found, now_s)

        found: Deployment | None = await self._send(node, act)
        return found

    async def sample(self, node: str) -> Sample:
        def act(node: SimNode, now_s: float) -> Sample:
            boot_id, up_s = node.boot(now_s)
            new = node.active == NEW
            return Sample(
                digest=node.active,
                version="2" if new else "1",
                boot_id=boot_id,
                boottime_us=int(up_s * 1e6),
                predictions=1_000,
                errors=node.errors if new else 0,
                rate=10.0,
                latency_ms_p95=5.0 + (node.slow if new else 0.0),
                quality_good_share=1.0,
            )

        found: Sample = await self._send(node, act)
        return found

    async def confirm(self, node: str, deployment: str) -> Deployment:
        def act(node: SimNode, now_s: float) -> Deployment:
            found = node.deployments[deployment]
            node.commit(found, now_s)
            return node.view(found, now_s)

        found: Deployment = await self._send(node, act, writes="confirm")
        return found

    async def rollback(self, node: str, deployment: str, reason: str) -> Deployment:
        def act(node: SimNode, now_s: float) -> Deployment:
            found = node.deployments[deployment]
            if found.state is S.TRIAL:
                node.end(found, R.REVERTED, now_s)
            elif found.state is S.STAGED:
                found.state = S.REFUSED
            return node.view(found, now_s)

        found: Deployment = await self._send(node, act, writes="rollback")
        return found

    async def revert(self, node: str, deployment: str, window_s: float, reason: str) -> Deployment:
        def act(node: SimNode, now_s: float) -> Deployment:
            found = node.deployments.get(deployment)
            if found is None:
                found = SimDeployment(deployment, "revert", window_s=window_s)
                node.flip(found, now_s)
                node.deployments[deployment] = found
            return node.view(found, now_s)

        found: Deployment = await self._send(node, act, writes="revert")
        return found


def fact(name: str, **named: Any) -> NodeFacts:
    running = Running(bundle="pump", version="1", digest=OLD, revision=1)
    return NodeFacts(**({"name": name, "runs": (running,)} | named))


BUNDLE = BundleFacts(name="pump", version="2", digest=NEW, size_bytes=1_000)


class Lab:
    """What tests take from here."""

    Book, Console, Killed, Plant, SimDeployment, SimNode = Book, Console, Killed, Plant, SimDeployment, SimNode
    bundle, new, old = BUNDLE, NEW, OLD
    loop, run_virtual, fact = VirtualLoop, staticmethod(run_virtual), staticmethod(fact)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture
def rows() -> Iterator[Rollouts]:
    """In memory where there is such a disk: the simulation writes some 100,000 times, each with its sync."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="rollouts-", dir=memory if memory.is_dir() else None))
    with Rollouts(folder / "catalog.db") as found:
        yield found
    shutil.rmtree(folder)
