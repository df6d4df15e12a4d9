"""A node that thinks it is 1970 runs, keeps its order, and has its records re-timed once somebody knows the time."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nodeagent.api import Call
from nodeagent.clock import may_set_wall
from nodeagent.handlers.clock import ClockHandlers
from nodeagent.http.message import Head, Peer, Request
from nodeagent.protocol import ClockRequest
from nodeagent.state.database import NodeDatabase, migrate
from nodeagent.state.standing import Standing
from store import durable, ledger
from store.node import identity

PIPELINE = """
schema = 1
name = "press"
asset = "hall/press"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
seed = 7
poll = "50ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1000.0
[[sink]]
type = "record"
"""


def now_us() -> int:
    return round(time.time() * 1e6)


def records(agent: Any) -> Any:
    page = agent.get("/records?bundle=press&limit=20")
    return page["records"] if len(page["records"]) >= 5 else None


def test_a_noted_time_is_in_the_ledger_and_moves_the_records(agent: Any, workshop: Any) -> None:
    assert agent.commit(workshop.bundle(2, pipeline=PIPELINE), "base")["state"] == "COMMITTED"
    before = agent.eventually(lambda: records(agent), "some records")
    reading = agent.get("/clock")
    assert reading["boot_id"] == agent.get("/status")["telemetry"]["boot_id"]
    ahead_us = 3_600_000_000
    done = agent.change("/clock", {"wall_us": now_us() + ahead_us, "error_us": 500, "set": False})
    assert abs(done["moved_us"] - ahead_us) < 5_000_000
    assert not done["was_set"]
    after = agent.get(f"/records?bundle=press&after={before[0]['key'] - 1}&limit=5")["records"]
    assert [row["wall_us"] for row in after] == [row["wall_us"] for row in before[:5]]
    assert all(abs(row["at_us"] - row["wall_us"] - ahead_us) < 5_000_000 for row in after)
    times = [row["at_us"] for row in after]
    assert times == sorted(times)
    entry = agent.get("/ledger?after=0&limit=1000")["entries"][-1]
    while entry["action"] != "clock.note":
        entry = agent.get(f"/ledger?after={entry['seq'] - 2}&limit=1")["entries"][0]
    assert entry["detail"]["before_us"] == done["before_us"]


def test_a_time_that_cannot_be_right_is_refused(agent: Any) -> None:
    with pytest.raises(agent.refusal) as raised:
        agent.change("/clock", {"wall_us": 1_000, "error_us": 500, "set": False})
    assert raised.value.code == "CLOCK.IMPLAUSIBLE"


@pytest.mark.parametrize(("status", "may"), [("CapEff:\t0000000002000000\n", True), ("CapEff:\t0000\n", False)])
def test_the_right_to_set_the_clock_is_read_from_the_kernel(tmp_path: Any, status: str, may: bool) -> None:
    (tmp_path / "status").write_text(f"Name:\tpython\n{status}")
    assert may_set_wall(tmp_path / "status") is may


def test_without_the_right_setting_is_refused_with_what_works_instead(make_agent: Any, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f"""#!/bin/sh\nexec setpriv --bounding-set -sys_time {sys.executable} "$@"\n""")
    bare.chmod(0o755)
    agent = make_agent()
    agent.program = [str(bare)]
    agent.start()
    assert not agent.get("/clock")["may_set"]
    with pytest.raises(agent.refusal) as raised:
        agent.change("/clock", {"wall_us": now_us(), "error_us": 500})
    assert raised.value.code == "CLOCK.NOT_PERMITTED"
    assert "clock note" in str(raised.value)


class Set:
    """A machine's clock that stands in 1970 until it is set."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def boottime_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000

    def wall_us(self) -> int:
        return self.boottime_us() % 1_000_000 + self.ahead_us

    def boot_id(self) -> str:
        return "a"

    def set_wall(self, wall_us: int) -> None:
        self.ahead_us += wall_us - self.wall_us()


def test_setting_is_written_down_before_it_is_done(tmp_path: Path) -> None:
    async def run() -> None:
        migrate(tmp_path / "node.db")
        database = NodeDatabase(tmp_path / "node.db", ballast=durable.Ballast(tmp_path / "ballast", 0))
        clock, peer = Set(), Peer(actor="alice", role="operate")
        await database.open()
        boot = await database.write(identity.enter_boot, "a", boottime_us=1, wall_us=1)
        handlers = ClockHandlers(clock, database, Standing(database, clock), boot.number, lambda: True, clock.set_wall)
        lease = await handlers.standing.take_lease("alice", "alice", break_held=False)
        body = ClockRequest(node_id="n", lease=lease.token, wall_us=now_us(), error_us=9)
        head = Head(
            raw=b"", method="POST", path="/agent/v1/clock", query={}, headers={}, content_length=0, chunked=False,
            keep_alive=True, http_1_0=False, expects_continue=False, encoding="",
        )  # fmt: skip
        done = await handlers.take(Call(Request(head, b"", peer), {}, body))
        assert done.was_set
        assert abs(clock.wall_us() - now_us()) < 5_000_000
        entries = await database.read(ledger.page)
        assert entries[-1].action == "clock.set"
        assert entries[-1].wall_us < 10_000_000
        pairs = await database.read(lambda connection: connection.execute("SELECT max(wall_us) FROM clock").fetchone())
        assert abs(pairs[0] - now_us()) < 5_000_000
        await database.close()

    asyncio.run(run())
