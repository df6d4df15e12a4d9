"""The launcher's own watch over a trial's deadline, for when no supervisor is there to keep it. Standard library only.

The launcher never decides a deployment. It reads the row, and what it does the next supervisor finds and records.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from nodeagent.processes.children import SpawnSpec

# A supervisor that lives is given this long past the deadline; I3 allows 2 s in all, a start takes up to 0.5 s.
GRACE_US = 1_000_000
STUCK_US = 6_000_000


@dataclass(frozen=True)
class Armed:
    """One trial under watch: `spawn` is what runs after going back (None: nothing can be started).

    `deadline_us` is on CLOCK_BOOTTIME. Workers of the bundle other than revision `keep_revision` are stopped.
    """

    bundle: str
    deployment: str
    deadline_us: int
    spawn: SpawnSpec | None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Armed:
        spawn = values["spawn"]
        return cls(
            bundle=str(values["bundle"]),
            deployment=str(values["deployment"]),
            deadline_us=int(values["deadline_us"]),
            spawn=None if spawn is None else SpawnSpec.from_json(spawn),
        )


@dataclass(frozen=True)
class Row:
    """What node.db says of a deployment."""

    state: str
    deadline_us: int | None


class Verdict(enum.Enum):
    """What the launcher does about one armed trial now."""

    WAIT = "wait"
    GO_BACK = "go back"
    FORGET = "forget"


def judge(armed: Armed, row: Row | None, *, now_us: int, supervised: bool) -> Verdict:
    """Decides. `supervised`: a supervisor spoke within its period. A row that cannot be read (None) is unconfirmed.

    With a supervisor alive the launcher waits, but not for ever: past STUCK_US a row still in TRIAL means it hangs.
    """
    deadline_us = armed.deadline_us
    if row is not None and row.state == "COMMITTED":
        return Verdict.FORGET
    if row is not None and row.state == "TRIAL" and row.deadline_us is not None:
        deadline_us = max(deadline_us, row.deadline_us)
    if not supervised:
        return Verdict.GO_BACK if now_us >= deadline_us + GRACE_US else Verdict.WAIT
    stuck = now_us >= deadline_us + STUCK_US and (row is None or row.state == "TRIAL")
    return Verdict.GO_BACK if stuck else Verdict.WAIT
