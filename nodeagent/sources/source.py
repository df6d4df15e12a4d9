"""What a source is: one connection's life, that ends by raising."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from nodeagent.clock import Clock
from nodeagent.frame import Frame
from nodeagent.pipeline.options import Options
from nodeagent.sources.doors import Doors

Emit = Callable[[Frame], None]


class SourceLost(Exception):
    """A connection ended; the supervisor makes a new one. The text is the reason shown to the operator."""


class SourceOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a source."""

    def tag_names(self, id: str) -> tuple[str, ...] | None:  # noqa: A002
        """The tags that frames of the source `id` will have; None where only the data knows."""
        return None


def unique(names: Sequence[str], *by_tag: Iterable[str]) -> None:
    """Raises ValueError for tags without names of their own, and for a binding's entry that is no tag's."""
    if len(set(names)) != len(names) or not names:
        raise ValueError("each tag has a name of its own, and there is at least one")
    for name in itertools.chain(*by_tag):
        if name not in names:
            raise ValueError(f"there is no tag {name!r}; there is: {', '.join(names)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceContext:
    """What a source may use: the clock, a folder of its own for cursors, and doors for what is posted to it."""

    clock: Clock
    work_dir: Path
    doors: Doors = dataclasses.field(default_factory=Doors)


class Source(Protocol):
    """A source of frames."""

    @property
    def id(self) -> str: ...

    @property
    def type(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]:
        """The tags of its frames; empty where only the data knows."""

    @property
    def period_s(self) -> float | None:
        """The time between frames while all is well; None for a source that speaks when it has something to say."""

    @property
    def silence_s(self) -> float | None:
        """Without a frame for so long the connection is given up; None: silence is no fault here."""

    @property
    def bad_items(self) -> list[str]:
        """Items that the device does not give, with why; the rest goes on without them."""

    @property
    def renewals(self) -> int:
        """How many connections it gave up and replaced by itself, within `run`."""

    async def run(self, emit: Emit) -> None:
        """One connection's life. Raises SourceLost when it is lost; returns when there will be no more data."""


@runtime_checkable
class KnowsDevice(Protocol):
    """A source that remembers what its device told of itself."""

    @property
    def changed(self) -> str:
        """What of the device is not as a person accepted it; empty: all is."""
