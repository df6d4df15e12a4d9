"""What this console is doing for the operator: it goes on whatever screen is shown, and is counted in the header."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from console.seat.operations import OperationFailed, Step

WORKS_MAX: Final = 200

WorkState = Literal["running", "done", "failed", "cancelled"]
Action = Callable[[Callable[[Step], None]], Coroutine[Any, Any, Any]]


@dataclass
class Work:
    """One piece of work. `said` is shown when it is done; `result` is what the action returned."""

    number: int
    kind: str
    title: str
    node: str
    action: Action
    began_s: float
    quiet: bool = False
    state: WorkState = "running"
    ended_s: float | None = None
    step: Step | None = None
    steps: list[Step] = field(default_factory=list)
    result: Any = None
    error: OperationFailed | None = None

    @property
    def running(self) -> bool:
        return self.state == "running"

    def went_on(self, step: Step) -> None:
        """Keeps the newest figure of each step."""
        if self.steps and self.steps[-1].step == step.step:
            self.steps[-1] = step
        else:
            self.steps.append(step)
        self.step = step


class Works:
    """All work of this sitting; what is finished is forgotten past WORKS_MAX."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._number = 0

    def begin(self, kind: str, title: str, node: str, action: Action, now_s: float, *, quiet: bool = False) -> Work:
        """Enters a new piece of work; `quiet` work only fetches something and is not counted."""
        self._number += 1
        work = Work(self._number, kind, title, node, action, now_s, quiet)
        self._works.append(work)
        if len(self._works) > WORKS_MAX:
            done = next((w for w in self._works if not w.running), None)
            if done is not None:
                self._works.remove(done)
        return work

    @property
    def running(self) -> int:
        """How much that would stop with this console is still going on."""
        return sum(1 for w in self._works if w.running and not w.quiet)

    def listed(self) -> list[Work]:
        """Newest first, without what only fetched something."""
        return [w for w in reversed(self._works) if not w.quiet]

    def latest(self, kind: str, node: str) -> Work | None:
        """The newest work of a kind on a node."""
        return next((w for w in reversed(self._works) if w.kind == kind and w.node == node), None)
