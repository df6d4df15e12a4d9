"""The sources of a bundle together, each kept connected by its own supervisor, all opened and closed with the right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from nodeagent.clock import Clock
from nodeagent.pipeline import registry
from nodeagent.pipeline.config import PipelineConfig
from nodeagent.protocol import SourceTelemetry
from nodeagent.sources.source import Emit, KnowsDevice, Source, SourceContext
from nodeagent.sources.supervise import Supervisor


class Intakes:
    """All sources of one pipeline. `failed` is told when one ends by anything but a lost connection: that is a bug."""

    def __init__(
        self, sources: Sequence[Source], emit: Emit, clock: Clock, *, failed: Callable[[BaseException], None]
    ) -> None:
        self._supervisors = [Supervisor(source, emit, clock) for source in sources]
        self._failed = failed
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def create(
        cls, config: PipelineConfig, context: SourceContext, emit: Emit, *, failed: Callable[[BaseException], None]
    ) -> Intakes:
        """The sources of a pipeline, not connected."""
        sources = [registry.source(section.use)[1](section, context) for section in config.sources]
        return cls(sources, emit, context.clock, failed=failed)

    @property
    def changes(self) -> dict[str, str]:
        """By source, how its device differs from what a person accepted; where it does not it is not there."""
        sources = [supervisor.source for supervisor in self._supervisors]
        return {each.id: each.changed for each in sources if isinstance(each, KnowsDevice) and each.changed}

    @property
    def doubt(self) -> str:
        """The same in one line; empty: all devices are as accepted."""
        return "; ".join(f"{source}: {changed}" for source, changed in self.changes.items())

    @property
    def tags(self) -> list[str]:
        """The tags that the sources give, as far as they are known beforehand or have been seen."""
        return [name for supervisor in self._supervisors for name in supervisor.names]

    def open(self) -> None:
        """Starts connecting."""
        for supervisor in self._supervisors:
            task = asyncio.create_task(supervisor.run(), name=f"intake {supervisor.source.id}")
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def close(self) -> None:
        """Ends every connection; returns when all are closed and nothing more is emitted."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def telemetry(self) -> list[SourceTelemetry]:
        return [supervisor.telemetry() for supervisor in self._supervisors]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
