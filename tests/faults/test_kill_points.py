"""SIGKILL of supervisor, launcher, worker or all of them, right before and right after each commit of a deployment.

One node goes through all of it, one deployment after the other; after each kill it recovers by itself, and `check`
holds what DESIGN calls I1, I2, I3, I5, I6, I15 and I16 against its database and against what it answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import itertools
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from store import ledger
from store.node import deployments, revisions

WINDOW_S = 60.0
POINTS = ("before:FLIPPED", "after:FLIPPED", "before:CONFIRMED", "after:CONFIRMED")
EARLY = ("before:VERIFIED", "after:VERIFIED", "after:PREFLIGHT_PASSED", "before:REVERTED", "after:REVERTED")
CASES = [
    *itertools.product(POINTS, ("supervisor", "all")),
    ("after:FLIPPED", "launcher"),
    ("after:FLIPPED", "worker"),
    ("after:CONFIRMED", "launcher"),
    ("before:FLIPPED", "worker"),
    *((point, "supervisor" if number % 2 else "all") for number, point in enumerate(EARLY)),
]
BEGIN = ledger.Head(0, ledger.GENESIS)


@dataclasses.dataclass
class Story:
    """What the node must remember over all kills: its history so far, its floor, what is committed."""

    agent: Any
    workshop: Any
    file: Path
    number: int = 1
    anchor: ledger.Head = BEGIN
    floor: tuple[int, int] = (1, 1)
    heard: str = ""
    committed: int = 1  # the number of the bundle that is permanent, which is what its model answers


@pytest.fixture(scope="module")
def story(make_agents: Any, workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A node with one committed bundle, one for all cases of this file."""
    file = tmp_path_factory.mktemp("crash") / "at"
    agent = make_agents()
    agent.environment["OUTSTATION_CRASH_AT"] = str(file)
    agent.start()
    assert agent.commit(workshop.bundle(1), "d1")["state"] == "COMMITTED"
    return Story(agent, workshop, file)


@pytest.mark.parametrize(("point", "victim"), CASES)
def test_i1_i2_i3_i5_i6_i15_i16_a_kill_around_a_commit_leaves_old_or_new_and_loses_nothing(
    story: Story, point: str, victim: str
) -> None:
    story.number += 1
    id_ = f"d{story.number}"
    walk = threading.Thread(target=_walk, args=(story, id_, "REVERTED" in point))
    story.file.write_text(point)
    story.heard = ""
    walk.start()
    _kill_at(story, victim)
    walk.join()
    if story.agent.process.poll() is not None:
        story.agent.start()
    row = _recovered(story, id_)
    check(story, row, point)
    _settle(story, row)


def _walk(story: Story, id_: str, revert: bool) -> None:
    """A console that deploys; the kill cuts it off somewhere, or a worker's death makes the node refuse."""
    agent = story.agent
    bundle = story.workshop.bundle(story.number)
    try:
        agent.deploy(bundle, id_, WINDOW_S)
        agent.change(f"/deployments/{id_}/{'rollback' if revert else 'confirm'}")
    except (OSError, http.client.HTTPException, agent.refusal, AssertionError) as error:
        story.heard = f"{type(error).__name__}: {error}"


def _kill_at(story: Story, victim: str) -> None:
    hit = story.file.with_name("at.hit")
    end = time.monotonic() + 60
    while not hit.exists():
        assert time.monotonic() < end, f"the point was not reached: {story.heard}; {story.agent.words()}"
        assert not story.heard, f"the console was refused before the point: {story.heard}; {story.agent.words()}"
        time.sleep(0.01)
    hit.unlink()
    agent = story.agent
    supervisor = agent.supervisor
    if victim == "all":
        agent.kill_all()
    elif victim == "launcher":
        agent.kill(agent.launcher)
        agent.process.wait()
    elif victim == "supervisor":
        agent.kill(supervisor)
    else:
        agent.kill(*agent.workers)
        supervisor.send_signal(signal.SIGCONT)


def _recovered(story: Story, id_: str) -> Any:
    """The deployment's row once the node answers again and the active revision serves; None: it never had one."""
    agent = story.agent
    end = time.monotonic() + 40
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, agent.refusal):
            agent.get("/status")
            with contextlib.closing(agent.database()) as database:
                active = revisions.active(database, "press")
                row = deployments.get(database, id_)
            now = agent.bundle()
            if now and now["revision"] == active.revision and now["state"] == "serving":
                return row
        time.sleep(0.05)
    raise AssertionError(f"no recovery: {agent.words()}")


def check(story: Story, row: Any, point: str) -> None:
    agent = story.agent
    with contextlib.closing(agent.database()) as database:
        active = revisions.active(database, "press")
        floor = revisions.floor(database, "press")
        entries = ledger.page(database, story.anchor.seq)
        serving = revisions.revision(database, "press", active.revision)
    # I15: the chain extends the anchor of the last look.
    assert ledger.first_break(story.anchor, entries) is None
    story.anchor = ledger.Head(entries[-1].seq, entries[-1].hash)
    # I16, I5: the floor moves with a commit and only with it; a commit that was durable stays.
    committed = row is not None and row.state == "COMMITTED"
    assert tuple(floor) == ((1, story.number) if committed else story.floor)
    assert committed or point != "after:CONFIRMED"
    # I1, I2: exactly one of old and new is active, it is what answers, and each blob is its digest.
    new = row is not None and row.state in ("TRIAL", "COMMITTED")
    assert serving.version == f"1.{story.number if new else story.committed}"
    assert agent.answer() == float(story.number if new else story.committed)
    for blob in (agent.state / "blobs" / "sha256").glob("*/*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    # I3: a trial that goes on has the deadline that it began with.
    if row is not None and row.state == "TRIAL":
        began = next(entry for entry in entries if entry.action == "deployment.trial" and entry.subject == row.id)
        assert row.deadline_us == began.detail["deadline_us"]
    # I6: nothing half-made is left.
    agent.eventually(lambda: not _half_made(agent.state), f"{_half_made(agent.state)} to be gone")
    assert agent.supervisor.is_running()


def _half_made(state: Path) -> list[Path]:
    return [path for path in state.rglob("*") if path.name.endswith(".tmp")]


def _settle(story: Story, row: Any) -> None:
    """Goes on as a console would: repeats what it asked for, with the same ids."""
    agent = story.agent
    if row is not None and row.state == "COMMITTED":
        story.committed, story.floor = story.number, (1, story.number)
        assert agent.change(f"/deployments/{row.id}/confirm")["state"] == "COMMITTED"
    elif row is not None and row.state not in ("ROLLED_BACK", "REFUSED"):
        assert agent.change(f"/deployments/{row.id}/rollback")["state"] in ("ROLLED_BACK", "REFUSED")
        agent.serving(_active(agent))


def _active(agent: Any) -> int:
    with contextlib.closing(agent.database()) as database:
        active = revisions.active(database, "press")
    assert active is not None
    assert active.revision is not None
    return active.revision
