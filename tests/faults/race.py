"""A confirm races the deadline, again and again: one outcome, told to the console and done to the plant alike.

The agent's own trial over a real database; the clock is ours. It stands before the deadline, and moves past it at some
reading. The wall clock jumps by up to ten years at every reading, and nothing follows it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from nodeagent.deployment.deployment import Action, Transition
from nodeagent.deployment.rows import Rows
from nodeagent.deployment.transitions import no_fence
from nodeagent.deployment.trial import Trial
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import HostHealth
from nodeagent.runtime.runtime import SwitchReport
from nodeagent.settings import Settings
from nodeagent.state.database import NodeDatabase
from nodeagent.state.standing import Standing
from store import durable
from store.blobs import Blobs
from store.ledger import Stamp
from store.node import deployments
from store.node.deployments import Deployment
from tests.faults.disk import MEMORY

WINDOW_US = 600_000_000
TEN_YEARS_US = 10 * 365 * 86_400 * 1_000_000
NEAR_US = 50_000
TURNS_MAX = 40
READINGS_MAX = 6
TERMINAL = ("deployment.committed", "deployment.rolled_back")


class RaceClock:
    """`now_us` is where the test put it; wall time is anywhere within ten years, or off by `jump_us`."""

    jump_us: int | None = None

    def __init__(self, source: random.Random) -> None:
        self.now_us = 1_000_000
        self._source = source
        self._readings, self._later_us = 0, 0

    @classmethod
    def at(cls, now_us: int) -> RaceClock:
        """A clock that stands."""
        clock = cls(random.Random(1))
        clock.now_us = now_us
        return clock

    def move(self, later_us: int, *, after: int) -> None:
        """So many readings from now it is `later_us`; 0: it stays."""
        self._readings, self._later_us = after, later_us

    def boottime_us(self) -> int:
        if self._later_us:
            if self._readings == 0:
                self.now_us, self._later_us = self._later_us, 0
            self._readings -= 1
        return self.now_us

    def wall_us(self) -> int:
        jump_us = self._source.randint(-TEN_YEARS_US, TEN_YEARS_US) if self.jump_us is None else self.jump_us
        return 1_800_000_000_000_000 + jump_us

    def boot_id(self) -> str:
        return "boot"


class RecordedPlant:
    """Stands for the workers: what the trial has them do, in order."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.done: list[Action] = []

    def telemetry(self) -> list[Any]:
        return []

    async def arm(self, _row: Deployment) -> None:
        self.done.append(Action.ARM)

    async def switch(self, _bundle: str) -> SwitchReport:
        return SwitchReport(gap_ms=0.0, connections_passed=0, from_revision=None, to_revision=1)

    async def act(self, _row: Deployment, transition: Transition) -> None:
        async with self.lock:
            self.done += transition.actions


class Unlocked:
    """A lock that lets everybody in: the bug that the race has to find."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


class Node:
    """One node's rows, standing orders and trial."""

    def __init__(self, state: Path, database: NodeDatabase, clock: RaceClock, *, locked: bool) -> None:
        self.database, self.clock, self.plant = database, clock, RecordedPlant()
        standing = Standing(database, clock)
        rows = Rows(database, standing)
        if not locked:
            rows.lock = cast(asyncio.Lock, Unlocked())
        unused = cast(Any, None)
        plant = cast(Any, self.plant)
        self.trial = Trial(
            Parts(
                state=state, settings=Settings(), clock=clock, database=database, rows=rows, staging=unused,
                switcher=plant, runtimes=plant, activations=unused, bindings=unused, standing=standing,
                log=lambda _level, _source, _text: None,
            )
        )  # fmt: skip
        self.trial.on_alert = self.trial.on_final = self.trial.check_writes = self._heard

    async def _heard(self, _what: object) -> None:
        return None

    async def prepare(self, id_: str, number: int) -> None:
        """Up to PREFLIGHT_OK, as a console would have left it."""
        stamp = Stamp("boot", self.clock.now_us, 0, "alice")

        def write(connection: Any) -> None:
            deployments.stage(
                connection, stamp, id_=id_, bundle="b", version="1", digest=f"sha256:{number:064x}", epoch=1,
                sequence=number, window_us=WINDOW_US,
            )  # fmt: skip
            deployments.set_staged(connection, stamp, id_, signer="s")
            deployments.set_preflight_ok(connection, stamp, id_, {}, binding_revision=0)

        await self.database.write(write)


@contextlib.asynccontextmanager
async def a_node(state: Path, source: random.Random, *, locked: bool = True) -> AsyncIterator[Node]:
    """A node with an empty database, its boot's clock standing."""
    Blobs(state).create()
    database = NodeDatabase(state / "node.db", ballast=durable.Ballast(state / "ballast", 1))
    await database.open()
    try:
        yield Node(state, database, RaceClock(source), locked=locked)
    finally:
        await database.close()


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _confirm(node: Node, id_: str, turns: int) -> str:
    """What the console hears."""
    await _turns(turns)
    try:
        return (await node.trial.confirm(id_, "alice", no_fence, peer_pid=0)).state
    except HttpError as error:
        return error.code


async def _tick(node: Node, turns: int) -> None:
    await _turns(turns)
    await node.trial.tick(HostHealth())


async def _race(node: Node, id_: str, source: random.Random) -> tuple[str, list[str]]:
    """The outcome of one trial and what was wrong with it."""
    node.plant.done.clear()
    node.clock.move(0, after=0)
    row = await node.trial.activate(id_, "alice", no_fence)
    assert row.deadline_us is not None
    wrong = [] if row.deadline_us == node.clock.now_us + WINDOW_US else ["I3: the deadline followed another clock"]
    node.clock.now_us = row.deadline_us - source.randint(1, NEAR_US)
    node.clock.move(row.deadline_us + source.randint(0, NEAR_US), after=source.randint(0, READINGS_MAX))
    heard, _ = await asyncio.gather(
        _confirm(node, id_, source.randint(0, TURNS_MAX)), _tick(node, source.randint(0, TURNS_MAX))
    )
    node.clock.now_us = max(node.clock.now_us, row.deadline_us)
    await node.trial.tick(HostHealth())
    return heard, wrong + await _judge(node, id_, heard)


async def _judge(node: Node, id_: str, heard: str) -> list[str]:
    row = await node.database.read(deployments.get, id_)
    assert row is not None
    ends = await node.database.read(
        lambda connection: connection.execute(
            "SELECT count(*) FROM ledger WHERE subject = ? AND action IN (?, ?)", (id_, *TERMINAL)
        ).fetchone()[0]
    )
    again = await _confirm(node, id_, 0)
    kept, back = node.plant.done.count(Action.RETIRE), node.plant.done.count(Action.SWITCH_BACK)
    wrong = []
    expected = {"COMMITTED": "COMMITTED", "ROLLED_BACK": "DEPLOYMENT.ALREADY_ROLLED_BACK"}.get(row.state, "an end")
    if heard != expected:
        wrong.append(f"I5: the console heard {heard}, the row says {row.state}")
    if again != heard:
        wrong.append(f"I10: the console heard {heard} and then {again}")
    if ends != 1:
        wrong.append(f"I5: the ledger holds {ends} ends")
    if (kept, back) != ((1, 0) if row.state == "COMMITTED" else (0, 1)):
        wrong.append(f"I1: the plant was kept {kept} times and taken back {back} times, the row says {row.state}")
    return wrong


async def _run(state: Path, trials: int, seed: int, locked: bool) -> tuple[collections.Counter[str], list[str]]:
    source = random.Random(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    async with a_node(state, source, locked=locked) as node:
        for number in range(1, trials + 1):
            id_ = f"d{number}"
            await node.prepare(id_, number)
            try:
                heard, found = await _race(node, id_, source)
            except Exception as error:  # noqa: BLE001 whatever a race raises is a finding
                return outcomes, [*wrong, f"{id_}: {error!r}"]
            outcomes[heard] += 1
            wrong += [f"{id_}: {text}" for text in found]
            node.clock.now_us += 1_000_000
    return outcomes, wrong


def run(trials: int, *, seed: int = 1, locked: bool = True) -> tuple[collections.Counter[str], list[str]]:
    """How often each outcome came, and what did not hold. Without `locked` it is the bug to be found."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        return asyncio.run(_run(Path(folder), trials, seed, locked))
