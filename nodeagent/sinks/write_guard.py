"""What may be written to a plant: the guard's words, and the count of writes in the last hour. Pure.

The allow-list is the node's word. A guard whose `allow` stands in the bundle and not in the node's binding lets
nothing be written, since a bundle must not widen what it may do.
"""

from __future__ import annotations

import collections
from typing import Annotated, Final

import msgspec

from nodeagent.pipeline.options import Options, Seconds

HOUR_US: Final = 3_600_000_000


class Guard(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`allow` comes from the binding (`allow = "${valve.allow}"`) and holds every place to write, `heartbeat` too.

    `max_per_hour` counts writes that change something; the way to the safe value is always free. `heartbeat` counts up
    every `heartbeat_every` as long as there was a decision within `valid_for`, so that the PLC can help itself when
    there is none. `state` gets the number of what the bundle does (nodeagent/sinks/pulse.py). Nothing is written unless
    `dry_run` is false and the deployment is armed.
    """

    allow: tuple[str, ...] = ()
    low: float
    high: float
    dry_run: bool = True
    max_per_hour: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 60
    verify_readback: bool = True
    heartbeat: str = ""
    state: str = ""
    heartbeat_every: Seconds = Seconds(1.0)
    valid_for: Seconds = Seconds(30.0)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("the guard's 'low' lies above its 'high'")
        if self.heartbeat_every < 0.05:
            raise ValueError("'heartbeat_every' is 50ms or longer")

    def refusal(self, place: str, *, armed: bool, allow_is_bound: bool) -> str:
        """Why nothing is written to `place` and the heartbeat; empty where it may be."""
        if self.dry_run:
            return "dry run: the guard says so"
        if not armed:
            return "dry run: this deployment is not armed"
        if not allow_is_bound:
            return "dry run: the allow-list stands in the bundle and not in this node's binding"
        for written in (place, self.heartbeat, self.state):
            if written and written not in self.allow:
                return f"{written} is not among what the binding allows to write"
        return ""


class Budget:
    """Writes in the last hour of CLOCK_BOOTTIME."""

    def __init__(self, max_per_hour: int) -> None:
        self.max_per_hour = max_per_hour
        self._written_us: collections.deque[int] = collections.deque(maxlen=max_per_hour)

    def take(self, now_us: int) -> bool:
        """Counts a write at `now_us` and says yes, or says no."""
        if len(self._written_us) == self.max_per_hour and now_us - self._written_us[0] < HOUR_US:
            return False
        self._written_us.append(now_us)
        return True
