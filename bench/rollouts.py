"""A console that was killed in the middle of a rollout over 200 nodes: how long until it knows again where all stand.

The nodes answer in this process after a delay as long as a radio link's; the rows, the decisions and the requests are
the console's own. What is measured ends when every node that owed an answer was asked and its answer is on the disk.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.row import Row, alternate
from console.rollout import orders
from console.rollout.book import ThreadBook
from console.rollout.executor import Executor
from console.rollout.gates import Sample
from console.rollout.plan import BundleFacts, NodeFacts, Running
from console.rollout.planner import plan
from console.rollout.policy import parse_policy
from nodeagent.protocol import Deployment, DeploymentState
from store.rollouts import Rollouts

NODES = 200
DELAY_S = 0.4
BUDGET_S = 5.0
PASSES = 3
POLICY = '[waves]\ncanary = 0\nconcurrency = 200\nsoak = "10m"\n[trial]\nwindow = "10m"\nsoak = "5m"\n'
NEW, OLD = "sha256:new", "sha256:old"


class Answering:
    """`Nodes` whose every deployment is in its trial. `known` is done when all were looked at."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.known = asyncio.Event()

    async def look(self, node: str, deployment: str) -> Deployment:
        await asyncio.sleep(DELAY_S)
        self._left -= 1
        if self._left == 0:
            self.known.set()
        return Deployment(
            id=deployment,
            bundle="pump",
            version="2",
            digest=NEW,
            state=DeploymentState.TRIAL,
            window_s=600.0,
            seconds_left=500.0,
        )

    stage = activate = shadow = confirm = rollback = revert = look  # type: ignore[assignment]

    async def sample(self, node: str) -> Sample:
        await asyncio.sleep(DELAY_S)
        return Sample(digest=NEW, predictions=100)


def run() -> list[Row]:
    """Seconds from the start of the console's core until all is known."""
    (took,) = alternate([lambda: asyncio.run(_resumed())], passes=PASSES)
    note = f"requests answered after {DELAY_S * 1e3:.0f} ms"
    name = f"resume of a rollout over {NODES} nodes"
    return [Row(name, took.median, "s", "budget", BUDGET_S, 1.0, note, less=True, headline=True).of(took)]


async def _resumed() -> float:
    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        path = Path(folder) / "catalog.db"
        with Rollouts(path) as rows:
            id_ = _killed(rows)
        began_s = time.monotonic()
        book, nodes = ThreadBook(path), Answering(NODES)
        try:
            executor = Executor(id_, book=book, nodes=nodes, operator="ada", wall_s=time.time)
            task = asyncio.ensure_future(executor.run())
            await nodes.known.wait()
            while await book(lambda rows: any(target.asked for target in rows.targets(id_))):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            took_s = time.monotonic() - began_s
            task.cancel()
            await asyncio.wait([task])
        finally:
            book.close()
        return took_s


def _killed(rows: Rollouts) -> str:
    """A rollout whose console was killed when every node was asked to switch and none had answered."""
    running = (Running(bundle="pump", version="1", digest=OLD, revision=1),)
    facts = [NodeFacts(name=f"press-{number:03}", runs=running) for number in range(NODES)]
    bundle = BundleFacts(name="pump", version="2", digest=NEW, size_bytes=1_000)
    id_ = orders.keep_plan(rows, plan(parse_policy(POLICY), facts, bundle), archive="", operator="ada", wall_s=1.0)
    orders.start(rows, id_, wall_s=1.0)
    waves = [replace(wave, state="running") for wave in rows.waves(id_)]
    targets = [replace(target, state="staged", asked="activate", flips=1) for target in rows.targets(id_)]
    rows.change(id_, wall_s=2.0, waves=waves, targets=targets)
    return id_
