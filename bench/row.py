"""One line of the benchmark's table: a figure of ours beside its peer or its limit, taken in the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from bench.quiet import Watch

WAIT_S_MAX = 20.0  # for an idle machine, over all cells of one comparison


class Sample(NamedTuple):
    """What one measure gave over its passes. `others` is the share of a core that other processes took meanwhile."""

    values: tuple[float, ...]
    others: float = 0.0

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return min(self.values), max(self.values)


class Row(NamedTuple):
    """`peer` is what `ours` is measured against, named in `against`; None: there is none to compare with.

    `goal` is the ratio ours / peer that the budget asks for, at least, or with `less` at most; None: the row only
    shows. `spread` is of ours. Rows of a `series` are drawn as one line over `at`; `headline` rows go to README.
    """

    name: str
    ours: float
    unit: str
    against: str = ""
    peer: float | None = None
    goal: float | None = None
    note: str = ""
    less: bool = False
    spread: tuple[float, float] | None = None
    others: float = 0.0
    headline: bool = False
    series: str = ""
    at: float = 0.0

    @property
    def ratio(self) -> float | None:
        """ours / peer."""
        return None if not self.peer else self.ours / self.peer

    @property
    def missed(self) -> bool:
        """Whether the budget is not met."""
        if self.ratio is None or self.goal is None:
            return False
        return self.ratio > self.goal if self.less else self.ratio < self.goal

    def of(self, sample: Sample) -> Row:
        """The row with the spread and the disturbance of the sample that `ours` is the median of."""
        return self._replace(spread=sample.spread, others=sample.others)


def alternate(measures: Sequence[Callable[[], float]], *, passes: int = 5) -> list[Sample]:
    """Each measure over `passes` rounds in which they take turns, so that noise meets all alike.

    A cell during which other processes took more than a share of a core is repeated (bench/quiet.py).
    """
    seen: list[list[float]] = [[] for _ in measures]
    others = [0.0] * len(measures)
    watch = Watch(WAIT_S_MAX)
    for _ in range(passes):
        for at, measure in enumerate(measures):
            value, taken = watch.undisturbed(measure)
            seen[at].append(value)
            others[at] = max(others[at], taken)
    return [Sample(tuple(values), taken) for values, taken in zip(seen, others, strict=True)]
