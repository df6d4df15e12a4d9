"""One line of the benchmark's table: a figure of ours beside its peer or its limit, taken in the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple


class Row(NamedTuple):
    """`peer` is what `ours` is measured against, named in `against`; None: there is none to compare with.

    `goal` is the ratio ours / peer that the budget asks for; None: the row only shows.
    """

    name: str
    ours: float
    unit: str
    against: str = ""
    peer: float | None = None
    goal: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """ours / peer."""
        return None if not self.peer else self.ours / self.peer


def alternate(measures: Sequence[Callable[[], float]], *, passes: int = 5) -> list[float]:
    """The median of each measure over `passes` rounds in which they take turns, so that noise meets all alike."""
    seen: list[list[float]] = [[] for _ in measures]
    for _ in range(passes):
        for values, measure in zip(seen, measures, strict=True):
            values.append(measure())
    return [median(values) for values in seen]
