"""What a sink is: takes outcomes without ever making the pipeline wait, and knows what it lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from nodeagent.clock import Clock
from nodeagent.pipeline.outcome import Outcome
from nodeagent.protocol import SinkTelemetry


class RecorderRow(Protocol):
    """Where records go: store.recorder's Recorder."""

    def offer_many(self, rows: Iterable[Any]) -> int:
        """Takes rows in order; how many it took. The others are lost, and counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinkContext:
    """What a sink may use: who we are, the recorder, a folder of its own, and whether outputs are armed."""

    clock: Clock
    node_id: str
    bundle: str
    pipeline: str
    asset: str
    revision: int
    digest: str
    work_dir: Path
    recorder: RecorderRow | None = None
    write_back: Literal["dry_run", "armed"] = "dry_run"


class Sink(Protocol):
    """A sink of outcomes. `start`, then `offer` as often as there is something, then `close`."""

    async def start(self) -> None:
        """Starts its work; returns at once, also where the other end is away."""

    def offer(self, outcome: Outcome) -> None:
        """Takes one outcome; never blocks, never raises; what has no place is counted as dropped."""

    async def safe(self) -> None:
        """Writes the safe value, where this sink writes to a plant. Works with `start` and without.

        Raises SinkFailed when the safe value did not arrive.
        """

    async def close(self) -> None:
        """Ends its work, keeping what can be kept."""

    def telemetry(self) -> SinkTelemetry:
        """Delivered, waiting, lost."""


@runtime_checkable
class TakesMany(Protocol):
    """A sink for which outcomes that came together are cheaper together."""

    def offer_many(self, outcomes: Sequence[Outcome]) -> None:
        """As `offer` for each, in order."""


@runtime_checkable
class WritesBack(Protocol):
    """A sink that writes to a plant, and so is armed or makes a dry run of it."""

    async def arm(self, on: bool) -> None:
        """From here on it writes, or only says what it would. What was decided before is not written any more.

        Disarming leaves the safe value behind it. Raises SinkFailed when that did not arrive; it is disarmed then too.
        """

    def doubt(self, reason: str) -> None:
        """What it decides by is not trusted any more: disarmed at once, whatever `arm` said, until told "".

        The safe value is left behind; that it did not arrive stands in the telemetry.
        """


class SinkFailed(Exception):
    """The other end did not do what was asked; the text says which, what and why."""
