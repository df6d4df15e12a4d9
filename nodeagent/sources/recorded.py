"""`type = "records"`: the model inputs that this node recorded, played again. They are what came out of the steps, so
that a pipeline that replays them has none before its model, or only such that may be taken twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np

from nodeagent.frame import QUALITY_WORDS, Frame, good
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sources.source import Emit, SourceContext, SourceLost, SourceOptions, unique
from store import records
from store.errors import StoreError
from store.records import Record

PAGE_ROWS: Final = 1_000
DEADLINE_S: Final = 10.0


class RecordsOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`path`: a folder of segments, relative to the bundle's work folder. `tags`: the recorded inputs, in order.

    `after`: the key behind which to begin. Records without inputs, or with another number of them, are counted and
    left out.
    """

    path: str
    tags: tuple[str, ...]
    after: int = 0
    rate: Seconds = Seconds(0.1)
    loop: bool = False

    def __post_init__(self) -> None:
        unique(self.tags)
        if self.rate <= 0:
            raise ValueError("'rate' is longer than nothing")

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return self.tags


OPTIONS = RecordsOptions


class Recorded:
    """The source. It goes on where it stood when it is run again."""

    type = "records"
    silence_s: float | None = None
    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        options: RecordsOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.names = options.tags
        self.period_s: float | None = float(options.rate)
        self.left_out_total = 0
        self._options = options
        self._path = context.work_dir / options.path
        self._clock = context.clock
        self._sleep = sleep
        self._after = options.after

    @property
    def bad_items(self) -> list[str]:
        count = self.left_out_total
        return [f"{count} records without these inputs were left out"] if count else []

    async def run(self, emit: Emit) -> None:
        due_us = self._clock.boottime_us()
        while True:
            page = await asyncio.to_thread(self._page)
            for record in page:
                frame = self._frame(record)
                self._after = record.key
                if frame is None:
                    self.left_out_total += 1
                    continue
                emit(frame)
                due_us = max(due_us + round(self._options.rate * 1e6), self._clock.boottime_us())
                await self._sleep((due_us - self._clock.boottime_us()) / 1e6)
            if not page and (not self._options.loop or self._after == self._options.after):
                return
            if not page:
                self._after = self._options.after

    def _page(self) -> list[Record]:
        try:
            page = records.query(self._path, after=self._after, limit=PAGE_ROWS, deadline_s=DEADLINE_S)
        except (StoreError, OSError) as error:
            raise SourceLost(f"{self._options.path}: {error}") from error
        return list(page.records)

    def _frame(self, record: Record) -> Frame | None:
        if record.inputs is None or len(record.inputs) != 4 * len(self.names):
            return None
        frame = good(
            self.names,
            np.frombuffer(record.inputs, "<f4"),
            source_us=record.source_us or record.wall_us,
            received_us=self._clock.boottime_us(),
            source=self.id,
        )
        if record.quality:
            frame.mark_all(record.quality, record.reason or f"recorded as {QUALITY_WORDS[record.quality]}")
        return frame


def create(section: Section, context: SourceContext) -> Recorded:
    """The source of a section."""
    assert isinstance(section.options, RecordsOptions)
    return Recorded(section.id, section.options, context)
