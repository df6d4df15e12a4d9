"""SIGKILL of supervisor, launcher, worker or all of them, right before and right after each commit of a node's life.

One node goes through all of it, one case after the other. After each kill it recovers by itself; then `check` holds
the promises against its state folder, and `live` against what it answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import itertools
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from store import ledger
from store.node import bindings, deployments, revisions
from store.node.standing import get as order
from tests.faults import invariants, walks

PATIENCE_S = 60.0
VICTIMS = ("supervisor", "launcher", "worker", "all")
MODEL, BOUND = "press", "lathe"


class Case(NamedTuple):
    """One kill."""

    side: str
    event: str
    victim: str

    def __str__(self) -> str:
        return f"{self.side}:{self.event}+{self.victim}"


CASES = [Case(*parts) for parts in itertools.product(("before", "after"), walks.WALKS, VICTIMS)]


def sample() -> list[Case]:
    """What the suite has time for: each victim, both sides, the events that decide."""
    return [
        Case("before", "FLIPPED", "all"),
        Case("after", "FLIPPED", "supervisor"),
        Case("after", "FLIPPED", "launcher"),
        Case("before", "CONFIRMED", "supervisor"),
        Case("after", "CONFIRMED", "worker"),
        Case("before", "REVERTED", "all"),
        Case("after", "BOUND", "all"),
        Case("after", "RELEASED", "supervisor"),
        Case("before", "COLLECTED", "supervisor"),
    ]


@dataclasses.dataclass
class Story:
    """What the node must remember over all kills."""

    agent: Any
    workshop: Any
    file: Path
    number: int = 1
    anchor: ledger.Head = invariants.BEGIN
    heard: str = ""
    told: list[invariants.Told] = dataclasses.field(default_factory=list)
    cut: Callable[[], None] | None = None  # what takes a whole node's power, of the victim "power"

    def revision(self, id_: str) -> int:
        with contextlib.closing(self.agent.database()) as database:
            row = deployments.get(database, id_)
        assert row is not None
        assert row.revision is not None
        return row.revision


def begin(make_agent: Callable[[], Any], workshop: Any, folder: Path) -> Story:
    """A node with two committed bundles, one of them bound to a seed."""
    agent = make_agent()
    file = folder / "at"
    agent.environment["OUTSTATION_CRASH_AT"] = str(file)
    (agent.state / "bindings.toml").write_text("seed = 1\n")
    agent.start()
    agent.eventually(lambda: agent.get("/bindings")["revision"] == 1, "the bindings to be taken in")
    assert agent.commit(workshop.bundle(1, name=BOUND, pipeline=walks.PIPELINE), "b1")["state"] == "COMMITTED"
    assert agent.commit(workshop.bundle(1), "d1")["state"] == "COMMITTED"
    return Story(agent, workshop, file)


def kill(story: Story, case: Case) -> list[str]:
    """Does one case. What does not hold afterwards, in words. Raises AssertionError where the node does not recover."""
    story.number += 1
    id_ = f"d{story.number}"
    story.heard = ""
    story.file.write_text(f"{case.side}:{case.event}")
    console = threading.Thread(target=walks.cut_off, args=(story, case.event, id_))
    console.start()
    try:
        _kill_at(story, case.victim)
    finally:
        console.join()
    if story.agent.process.poll() is not None:
        story.agent.start()
    wrong = recovered(story)
    wrong += _of_the_case(story, case, id_)
    _settle(story, id_)
    return [f"{case}: {text}" for text in wrong]


def _kill_at(story: Story, victim: str) -> None:
    hit = story.file.with_name("at.hit")
    end = time.monotonic() + PATIENCE_S
    while not hit.exists():
        assert time.monotonic() < end, f"the point was not reached: {story.heard}; {story.agent.words()}"
        assert not story.heard, f"the console was refused before the point: {story.heard}; {story.agent.words()}"
        time.sleep(0.01)
    hit.unlink()
    agent = story.agent
    supervisor = agent.supervisor
    if victim == "power":
        assert story.cut is not None
        story.cut()
    elif victim == "all":
        agent.kill_all()
    elif victim == "launcher":
        agent.kill(agent.launcher)
        agent.process.wait()
    elif victim == "supervisor":
        agent.kill(supervisor)
    else:
        agent.kill(*agent.workers)
        supervisor.send_signal(signal.SIGCONT)


def recovered(story: Story) -> list[str]:
    """Waits until the node answers and every active revision serves; then what does not hold."""
    agent = story.agent
    end = time.monotonic() + PATIENCE_S
    wrong = ["it never answered"]
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, agent.refusal):
            agent.get("/status")
            before = _rows(agent)
            if not (wrong := _serving(agent, before) or live(story)) and before == _rows(agent):
                break
        time.sleep(0.05)
    else:
        return [f"after {PATIENCE_S:.0f} s: {text}" for text in wrong]
    wrong = invariants.check(agent.state, story.told, anchor=story.anchor)
    with contextlib.closing(agent.database()) as database:
        story.anchor = ledger.head(database)
    return wrong


def _rows(agent: Any) -> list[tuple[str, int | None]]:
    with contextlib.closing(agent.database()) as database:
        return [(row.bundle, row.revision) for row in revisions.all_active(database)]


def _serving(agent: Any, rows: list[tuple[str, int | None]]) -> list[str]:
    now = {name: agent.bundle(name) for name, _ in rows}
    return [
        f"{name} r{revision} does not serve"
        for name, revision in rows
        if not now[name] or (now[name]["revision"], now[name]["state"]) != (revision, "serving")
    ]


def live(story: Story) -> list[str]:
    """What the node answers against what its rows say, and what it still owes; empty once all of it is done."""
    agent = story.agent
    with contextlib.closing(agent.database()) as database:
        active = revisions.active(database, MODEL)
        row = revisions.revision(database, MODEL, active.revision)
        held = order(database, "hold") is not None
        current = bindings.current(database)
        tries = deployments.of_bindings(database, current.revision)
    wrong = []
    if f"1.{agent.answer():g}" != row.version:
        wrong.append(f"I1: the model answers {agent.answer():g}, {row.version} is active")
    if (agent.get("/status")["telemetry"].get("hold") is not None) != held:
        wrong.append("the hold that is shown is not the one that is kept")
    if tries and not {row.state for row in tries} & {"COMMITTED", "TRIAL"}:
        wrong.append(f"bindings revision {current.revision} is current and was not tried")
    if not (agent.state / "bindings.toml").read_text().startswith(f"# Revision {current.revision}."):
        wrong.append("bindings.toml is not the current revision")
    moves = _delivered(agent, lambda before, now: now > before)
    if moves == held:
        wrong.append(f"the outputs {'move' if moves else 'stand still'}, the hold is {held}")
    return wrong


def _delivered(agent: Any, moved: Callable[[int, int], bool], patience_s: float = 2.5) -> bool:
    """Whether the bound bundle's output acts within the time of two heartbeats."""

    def total() -> int:
        def look() -> Any:
            sinks = (agent.bundle(BOUND) or {}).get("sinks", [])
            return [sink["delivered_total"] for sink in sinks if sink["type"] == "file"]

        return int(agent.eventually(look, f"{BOUND} to tell of its sinks")[0])

    before, end = total(), time.monotonic() + patience_s
    while time.monotonic() < end:
        if moved(before, total()):
            return True
        time.sleep(0.1)
    return False


def _of_the_case(story: Story, case: Case, id_: str) -> list[str]:
    """What this point and no other promises."""
    with contextlib.closing(story.agent.database()) as database:
        row = deployments.get(database, id_)
        held = order(database, "hold") is not None
    state = row.state if row else "none"
    if str(case).startswith("after:CONFIRMED") and state != "COMMITTED":
        return [f"I5: {state} after the commit"]
    if case.event == "REVERTED" and case.side == "after" and state != "ROLLED_BACK":
        return [f"{state} after the way back was written"]
    if case.event in ("HELD", "RELEASED"):
        wanted = (case.event == "HELD") == (case.side == "after")
        # A supervisor that lives through it does what it was asked for.
        if held != wanted and not (case.victim == "worker" and case.side == "before"):
            return [f"held: {held}"]
    return []


def _settle(story: Story, id_: str) -> None:
    """Goes on as a console would: repeats what it asked for with the same ids, and ends what is open."""
    agent = story.agent
    if agent.get("/status")["telemetry"].get("hold") is not None:
        agent.post("/hold/release", {"reason": "settled"})
    with contextlib.closing(agent.database()) as database:
        row = deployments.get(database, id_)
        waiting = deployments.open_ones(database)
    if row is not None and row.state == "COMMITTED":
        assert agent.change(f"/deployments/{id_}/confirm")["state"] == "COMMITTED"
    for left in waiting:
        done = agent.change(f"/deployments/{left.id}/rollback")["state"]
        assert done in ("ROLLED_BACK", "REFUSED"), done
        story.told.append({"id": left.id, "state": done})
