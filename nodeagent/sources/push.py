"""`type = "push"`: sweeps that a program of the plant posts to the model's own socket or to the node's.

POST /v2/models/MODEL/sources/ID with {"values": {"power": 1.5, "flow": null}, "time": 1767225600.5} or a list of those.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

import msgspec

from nodeagent.frame import BAD, QUALITY_WORDS, Frame, good
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sources.doors import NotTaken
from nodeagent.sources.json_path import Missing, number, time_us
from nodeagent.sources.source import Emit, SourceContext, SourceOptions, unique

SWEEPS_MAX: Final = 10_000


class PushOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tags` of each sweep. What a post leaves out is Bad `not sent`; a name that is no tag is refused.

    `every`: how often the sender posts, so that the time without it can be shown; `silence`: when it is a fault.
    """

    tags: tuple[str, ...]
    every: Seconds | None = None
    silence: Seconds | None = None

    def __post_init__(self) -> None:
        unique(self.tags)

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return self.tags


OPTIONS = PushOptions


class Sweep(msgspec.Struct, forbid_unknown_fields=True):
    """One sweep as it is posted. `time`: as the JSON path's; `quality`: Good, Uncertain or Bad, by tag."""

    values: dict[str, Any]
    time: float | str | None = None
    quality: dict[str, str] = {}


_ONE: Final = msgspec.json.Decoder(Sweep)
_MANY: Final = msgspec.json.Decoder(list[Sweep])


class Push:
    """The source."""

    type = "push"
    renewals = 0

    def __init__(self, id: str, options: PushOptions, context: SourceContext) -> None:  # noqa: A002
        self.id = id
        self.names = options.tags
        self.period_s = None if options.every is None else float(options.every)
        self.silence_s = None if options.silence is None else float(options.silence)
        self.bad_items: list[str] = []
        self._places = {name: at for at, name in enumerate(options.tags)}
        self._clock = context.clock
        self._doors = context.doors

    async def run(self, emit: Emit) -> None:
        def take(body: bytes) -> int:
            frames = self.frames(body)
            for frame in frames:
                emit(frame)
            return len(frames)

        with self._doors.open(self.id, take):
            await asyncio.Event().wait()

    def frames(self, body: bytes) -> list[Frame]:
        """The sweeps of a request. Raises NotTaken, naming what is wrong."""
        try:
            sweeps = _MANY.decode(body) if body.lstrip()[:1] == b"[" else [_ONE.decode(body)]
        except (msgspec.DecodeError, RecursionError) as error:
            raise NotTaken(str(error)) from error
        if len(sweeps) > SWEEPS_MAX:
            raise NotTaken(f"more than {SWEEPS_MAX} sweeps in one request")
        return [self._frame(sweep) for sweep in sweeps]

    def _frame(self, sweep: Sweep) -> Frame:
        for name in (*sweep.values, *sweep.quality):
            if name not in self._places:
                raise NotTaken(f"there is no tag {name[:80]!r}; there is: {', '.join(self.names)}")
        values = [math.nan] * len(self.names)
        reasons = {at: "not sent" for name, at in self._places.items() if name not in sweep.values}
        for name, value in sweep.values.items():
            try:
                values[self._places[name]] = number(value)
            except Missing as missing:
                reasons[self._places[name]] = str(missing)
        frame = good(
            self.names,
            values,
            source_us=self._time_us(sweep),
            received_us=self._clock.boottime_us(),
            source=self.id,
        )
        frame.reasons.update({at: reason for at, reason in reasons.items() if frame.quality[at] == BAD})
        for name, word in sweep.quality.items():
            if word not in QUALITY_WORDS:
                raise NotTaken(f"a quality is {', '.join(QUALITY_WORDS)}, and not {word[:40]!r}")
            at = self._places[name]
            if QUALITY_WORDS.index(word) > frame.quality[at]:
                frame.quality[at] = QUALITY_WORDS.index(word)
                frame.reasons[at] = f"{word} by the sender"
        return frame

    def _time_us(self, sweep: Sweep) -> int:
        if sweep.time is None:
            return self._clock.wall_us()
        try:
            return time_us(sweep.time)
        except Missing as missing:
            raise NotTaken(str(missing)) from missing


def create(section: Section, context: SourceContext) -> Push:
    """The source of a section."""
    assert isinstance(section.options, PushOptions)
    return Push(section.id, section.options, context)
