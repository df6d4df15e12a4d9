"""`[deploy]`: what a bundle asks of the machine before it takes over from the revision that runs."""

from __future__ import annotations

import tomllib

from nodeagent.pipeline import condition
from nodeagent.pipeline.condition import Condition
from nodeagent.pipeline.options import Options


class DeployOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`when`: the switch waits until this is true of a tag of the revision that runs, "spindle.speed < 5"."""

    when: str

    def __post_init__(self) -> None:
        condition.read(self.when)


def switch_when(pipeline: str) -> Condition | None:
    """The condition of a pipeline that intake has checked; None where it sets none. Raises ValueError."""
    table = tomllib.loads(pipeline).get("deploy")
    return None if table is None else condition.read(str(table.get("when", "")))
