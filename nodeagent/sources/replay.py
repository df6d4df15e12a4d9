"""`type = "replay"`: a recording at the pace that the section says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from nodeagent.frame import good
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sources.readings import Reading, Readings, Unreadable, each_along_first_axis, read
from nodeagent.sources.source import Emit, SourceContext, SourceLost, SourceOptions


class ReplayOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`path` of a .csv or .npy, relative to the bundle's work folder. One frame each `rate`; `loop`: for ever.

    `tags`: columns to take; a .npy without them holds one waveform or picture a row. `time`: a column of Unix seconds.
    """

    path: str
    rate: Seconds = Seconds(1.0)
    loop: bool = False
    tags: tuple[str, ...] | None = None
    time: str = ""
    sample_rate: float | None = None

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError("'rate' is longer than nothing")

    def tag_names(self, id: str) -> tuple[str, ...] | None:  # noqa: A002
        if self.tags is not None:
            return self.tags
        return (id,) if self.path.endswith(".npy") else None


OPTIONS = ReplayOptions


class Replay:
    """The source. It goes on where it stood when it is run again."""

    silence_s: float | None = None
    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        options: ReplayOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.type = "replay"
        self.names = options.tag_names(id) or ()
        self.period_s: float | None = float(options.rate)
        self.bad_items: list[str] = []
        self._options = options
        self._path = context.work_dir / Path(options.path)
        self._clock = context.clock
        self._sleep = sleep
        self._readings: Readings | None = None
        self._at = 0

    async def run(self, emit: Emit) -> None:
        if self._readings is None:
            self._readings = await asyncio.to_thread(self._read)
        readings = self._readings.readings
        due_us = self._clock.boottime_us()
        while readings and (self._at < len(readings) or self._options.loop):
            self._emit(emit, readings[self._at % len(readings)])
            self._at += 1
            due_us = max(due_us + round(self._options.rate * 1e6), self._clock.boottime_us())
            await self._sleep((due_us - self._clock.boottime_us()) / 1e6)

    def _read(self) -> Readings:
        o = self._options
        try:
            return each_along_first_axis(read(self._path, id=self.id, tags=o.tags, time=o.time))
        except Unreadable as error:
            raise SourceLost(f"{o.path}: {error}") from error

    def _emit(self, emit: Emit, reading: Reading) -> None:
        assert self._readings is not None
        told = reading.time_s is not None and not self._options.loop
        source_us = round((reading.time_s or 0.0) * 1e6) if told else self._clock.wall_us()
        emit(
            good(
                self._readings.names,
                reading.values,
                source_us=source_us,
                received_us=self._clock.boottime_us(),
                blob=reading.blob,
                source=self.id,
            )
        )


def create(section: Section, context: SourceContext) -> Replay:
    """The source of a section."""
    assert isinstance(section.options, ReplayOptions)
    return Replay(section.id, section.options, context)
