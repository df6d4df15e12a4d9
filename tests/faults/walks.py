"""What a console does so that a node passes a commit: one walk for each event of a node's life.

A walk is given the story of the node and a new deployment id. It may be cut off at any request.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nodeagent.protocol import TRIAL_WINDOW_S_MIN

WINDOW_S = 60.0
PIPELINE = """
schema = 1
name = "lathe"
asset = "hall/lathe"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
seed = "${seed}"
poll = "100ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1000.0
[[sink]]
type = "record"
[[sink]]
type = "file"
flush = "100ms"
"""

Walk = Callable[[Any, str], None]


def _bundle(story: Any, **options: Any) -> Path:
    made: Path = story.workshop.bundle(story.number, **options)
    return made


def stage(story: Any, id_: str) -> None:
    story.agent.stage(_bundle(story), id_, WINDOW_S)


def prepare(story: Any, id_: str) -> None:
    stage(story, id_)
    story.agent.change(f"/deployments/{id_}/preflight")


def activate(story: Any, id_: str) -> None:
    story.agent.deploy(_bundle(story), id_, WINDOW_S)


def confirm(story: Any, id_: str) -> None:
    activate(story, id_)
    story.told.append({"id": id_, "state": story.agent.change(f"/deployments/{id_}/confirm")["state"]})


def revert(story: Any, id_: str) -> None:
    activate(story, id_)
    story.told.append({"id": id_, "state": story.agent.change(f"/deployments/{id_}/rollback")["state"]})


def extend(story: Any, id_: str) -> None:
    activate(story, id_)
    story.agent.change(f"/deployments/{id_}/extend", {"window_s": WINDOW_S + 30})


def expire(story: Any, id_: str) -> None:
    story.agent.deploy(_bundle(story), id_, float(TRIAL_WINDOW_S_MIN))


def withdraw(story: Any, id_: str) -> None:
    prepare(story, id_)
    story.told.append({"id": id_, "state": story.agent.change(f"/deployments/{id_}/rollback")["state"]})


def fail_preflight(story: Any, id_: str) -> None:
    story.agent.stage(_bundle(story, golden=story.number + 0.5), id_, WINDOW_S)
    story.agent.change(f"/deployments/{id_}/preflight")


def fail_in_trial(story: Any, id_: str) -> None:
    """Workers that die until the guard has had enough."""
    activate(story, id_)
    for _ in range(2):
        story.agent.serving(story.revision(id_))
        story.agent.kill(*story.agent.workers)


def restart_prepared(story: Any, id_: str) -> None:
    prepare(story, id_)
    story.agent.kill(story.agent.supervisor)


def restart_in_trial(story: Any, id_: str) -> None:
    activate(story, id_)
    story.agent.kill(story.agent.supervisor)


def bind(story: Any, id_: str) -> None:
    base = story.agent.get("/bindings")
    body = {"base_revision": base["revision"], "set": {"seed": story.number}, "window_s": WINDOW_S}
    story.agent.change("/bindings", body, "PUT")


def hold(story: Any, id_: str) -> None:
    story.agent.post("/hold", {"reason": id_})


def release(story: Any, id_: str) -> None:
    hold(story, id_)
    story.agent.post("/hold/release", {"reason": id_})


WALKS: dict[str, Walk] = {
    "VERIFIED": stage,
    "PREFLIGHT_PASSED": prepare,
    "PREFLIGHT_FAILED": fail_preflight,
    "CANDIDATE_LOST": restart_prepared,
    "WITHDRAWN": withdraw,
    "FLIPPED": activate,
    "EXTENDED": extend,
    "RESUMED": restart_in_trial,
    "CONFIRMED": confirm,
    "REVERTED": revert,
    "DEADLINE_PASSED": expire,
    "GUARD_TRIPPED": fail_in_trial,
    "BOUND": bind,
    "HELD": hold,
    "RELEASED": release,
    "COLLECTED": withdraw,
}


def cut_off(story: Any, event: str, id_: str) -> None:
    """Walks; a kill ends it somewhere, or makes the node refuse. What was heard last is in `story.heard`."""
    agent = story.agent
    try:
        WALKS[event](story, id_)
    except (OSError, http.client.HTTPException, agent.refusal, AssertionError) as error:
        story.heard = f"{type(error).__name__}: {error}"
