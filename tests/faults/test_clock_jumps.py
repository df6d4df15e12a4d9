"""The wall clock jumps by ten years, forward, back and home, in the middle of a trial."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from nodeagent.deployment.transitions import no_fence
from nodeagent.protocol import HostHealth
from store.node import deployments
from store.node.deployments import Deployment
from tests.faults import race

JUMPS_US = (race.TEN_YEARS_US, -race.TEN_YEARS_US, 0, race.TEN_YEARS_US)


async def look(node: race.Node) -> Deployment:
    """The row after one look of the trial at the clock."""
    await node.trial.tick(HostHealth())
    row = await node.database.read(deployments.get, "d1")
    assert row is not None
    return row


async def in_trial(state: Path) -> None:
    async with race.a_node(state, random.Random(1)) as node:
        node.clock.jump_us = 0
        await node.prepare("d1", 1)
        begun = await node.trial.activate("d1", "alice", no_fence)
        assert begun.deadline_us == node.clock.now_us + race.WINDOW_US
        for step, jump_us in enumerate(JUMPS_US, 1):
            node.clock.jump_us = jump_us
            node.clock.now_us = begun.deadline_us - 1_000 * (len(JUMPS_US) - step + 1)
            row = await look(node)
            assert (row.state, row.deadline_us) == ("TRIAL", begun.deadline_us)
            shown = node.trial.view("b")
            assert shown is not None
            assert 0 < shown.seconds_left < 1
        node.clock.now_us = begun.deadline_us
        assert (await look(node)).reason == "UNCONFIRMED"


def test_i3_clock_jumps_of_ten_years_do_not_move_the_deadline_of_a_trial(tmp_path: Path) -> None:
    asyncio.run(in_trial(tmp_path))
