"""The plant under soak: the demo with a console that watches it, small disks and a wall clock of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from console.delivery.inspect import facts_from_model
from console.demo.plan import DEVICES, NODES, UNPLUGGED_NODE, NodePlan
from console.demo.provision import EXAMPLES
from console.demo.running import Demo, running_demo
from store import archive, builder, ledger, records, signing
from tests.faults import invariants
from tests.soak import gauges, smalldisk
from tests.soak.smalldisk import SmallDisk
from tests.soak.wallclock import WallClock

POLL_S = 0.25
RECORDS_BYTES_MAX = 1 << 20
ON_SMALL_DISKS = ("pump-01", "cast-01")
SEQUENCE = 1_000
Say = Callable[[str], None]


@dataclass
class Memory:
    """What one node must not forget: what it told, records that were read, where its ledger was."""

    state: Path
    records: Path
    told: list[invariants.Told] = field(default_factory=list)
    keys: list[tuple[int, int]] = field(default_factory=list)
    """Keys of records with their revisions."""
    anchor: ledger.Head = invariants.BEGIN


@dataclass
class Site:
    """The plant, what its nodes must not forget, and what it can be broken with."""

    demo: Demo
    memories: dict[str, Memory]
    random: random.Random
    clock: WallClock
    disks: dict[str, SmallDisk] = field(default_factory=dict)
    made: int = 0

    @property
    def plans(self) -> dict[str, NodePlan]:
        return {plan.name: plan for plan in NODES}

    @property
    def states(self) -> dict[str, Path]:
        return {name: memory.state for name, memory in self.memories.items()}

    @property
    def host(self) -> int:
        return self.demo.plant.process.pid

    def launcher(self, node: str) -> psutil.Process:
        return gauges.agents(self.host)[str(self.states[node])]

    def members(self, node: str, module: str) -> list[psutil.Process]:
        return gauges.members(self.launcher(node), module)

    def plc(self, node: str) -> psutil.Process:
        plan = next(plan for plan in DEVICES if plan.name == self.plans[node].device)
        for child in psutil.Process(self.host).children():
            words = child.cmdline()
            if "nodeagent.sources.simulators.plc" in words and words[words.index("--seed") + 1] == str(plan.seed):
                return child
        raise LookupError(f"{plan.name} does not run")

    def newest(self, node: str) -> int:
        """The key of the newest record in the node's own files; 0: none, or not to be read just now."""
        with contextlib.suppress(Exception):
            found = records.query(self.memories[node].records, limit=1, newest_first=True).records
            return found[0].key if found else 0
        return 0

    async def until(self, look: Callable[[], bool], within_s: float) -> float | None:
        """Seconds until `look` was true; None: not within the time. `look` reads files and runs in a thread."""
        began_s = time.monotonic()
        while (took_s := time.monotonic() - began_s) <= within_s:
            if await asyncio.to_thread(look):
                return took_s
            await asyncio.sleep(POLL_S)
        return None

    async def predicts(self, node: str, after: int, within_s: float) -> float | None:
        return await self.until(lambda: self.newest(node) > after, within_s)

    def bundle(self, folder: str) -> Path:
        """A signed bundle as of an example's folder, newer than all before it."""
        self.made += 1
        source = self.demo.plant.folder / "made" / str(self.made)
        shutil.copytree(EXAMPLES / folder, source)
        text = (source / "bundle.toml").read_text()
        text = re.sub(r"(?m)^version = .*$", f'version = "9.{self.made}"', text)
        text = re.sub(r"(?m)^sequence = .*$", f"sequence = {SEQUENCE + self.made}", text)
        (source / "bundle.toml").write_text(text)
        builder.build(source, source, facts_from_model)
        (path,) = source.glob("*.ostn")
        key = self.demo.plant.folder / "keys" / "release"
        archive.sign_archive(path, path, lambda manifest: signing.sign_with_key_file(key, manifest))
        return path


@contextmanager
def _preloaded(environment: dict[str, str]) -> Iterator[None]:
    """What this process starts meanwhile is subject to the plant's wall clock."""
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            os.environ.pop(name, None)


@asynccontextmanager
async def running_site(folder: Path, seed: int, say: Say, *, disks: bool) -> AsyncIterator[Site]:
    """Starts the demo in `folder`/d with every node plugged in, caps on records, and small disks where allowed."""
    clock = WallClock.build(folder)
    demo = running_demo(folder / "d", say)
    with _preloaded(clock.environment):
        entered = await demo.__aenter__()
    states = {line["name"]: Path(line["state"]) for line in entered.plant.nodes}
    memories = {plan.name: Memory(states[plan.name], states[plan.name] / "records" / plan.example) for plan in NODES}
    site = Site(entered, memories, random.Random(seed), clock)
    try:
        await entered.plant.command(do="plug", node=UNPLUGGED_NODE)
        for node in site.plans:
            await _prepare(site, node, folder, disks=disks and node in ON_SMALL_DISKS)
        watching = asyncio.ensure_future(entered.fleet.run())
        try:
            yield site
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    finally:
        try:
            await demo.__aexit__(None, None, None)
        finally:
            for disk in site.disks.values():
                smalldisk.unmount(disk)


async def _prepare(site: Site, node: str, folder: Path, *, disks: bool) -> None:
    state, plant = site.states[node], site.demo.plant
    await plant.command(do="stop-agent", node=node)
    with (state / "node.toml").open("a") as file:
        file.write(f"\n[records]\nbytes_max = {RECORDS_BYTES_MAX}\n")
    if disks:
        site.disks[node] = await asyncio.to_thread(smalldisk.move, state, folder / f"{node}.ext4")
    await plant.command(do="start-agent", node=node)
