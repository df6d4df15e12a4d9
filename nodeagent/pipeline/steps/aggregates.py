"""Aggregates of OPC UA Part 13 over a window, column by column, NaN where a value does not count."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def time_average(values: Floats, times_s: Floats) -> Floats:
    """Part 13 TimeAverage, sloped: straight lines between values that count, over the time from first to last."""
    result = np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        known = np.isfinite(values[:, column])
        at, value = times_s[known], values[known, column]
        if len(at) == 1:
            result[column] = value[0]
        elif len(at) > 1 and at[-1] > at[0]:
            result[column] = np.sum((value[1:] + value[:-1]) / 2 * np.diff(at)) / (at[-1] - at[0])
    return result


def _start(values: Floats) -> Floats:
    return _first(values)


def _end(values: Floats) -> Floats:
    return _first(values[::-1])


def _first(values: Floats) -> Floats:
    at = np.argmax(np.isfinite(values), axis=0)
    return np.asarray(values[at, np.arange(values.shape[1])], np.float64)


def _deviation(values: Floats) -> Floats:
    return np.asarray(np.nanstd(values, axis=0, ddof=1), np.float64)


def _maximum(values: Floats) -> Floats:
    return np.asarray(np.nanmax(values, axis=0), np.float64)


def _minimum(values: Floats) -> Floats:
    return np.asarray(np.nanmin(values, axis=0), np.float64)


PLAIN: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "Average": lambda values: np.asarray(np.nanmean(values, axis=0), np.float64),
    "Minimum": _minimum,
    "Maximum": _maximum,
    "Range": lambda values: _maximum(values) - _minimum(values),
    "StandardDeviationSample": _deviation,
    "VarianceSample": lambda values: _deviation(values) ** 2,
    "Start": _start,
    "End": _end,
    "Delta": lambda values: _end(values) - _start(values),
}
# Where every value counts: bit for bit the same, at a third of the cost.
WHOLE: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "Average": lambda values: np.asarray(values.mean(axis=0), np.float64),
    "Minimum": lambda values: np.asarray(values.min(axis=0), np.float64),
    "Maximum": lambda values: np.asarray(values.max(axis=0), np.float64),
    "Range": lambda values: np.asarray(values.max(axis=0) - values.min(axis=0), np.float64),
    "StandardDeviationSample": lambda values: np.asarray(values.std(axis=0, ddof=1), np.float64),
    "VarianceSample": lambda values: np.asarray(values.std(axis=0, ddof=1) ** 2, np.float64),
}
OF_TIME: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {"TimeAverage": time_average}
SLIDING_VALUES_MAX: Final = 1_000_000
OF_QUALITY: Final = ("Count", "PercentGood", "PercentBad")
NAMES: Final = (*PLAIN, *OF_TIME, *OF_QUALITY)


def aggregate(
    name: str, values: Floats, times_s: Floats, quality: npt.NDArray[np.uint8], *, whole: bool = False
) -> Floats:
    """One aggregate of each column; NaN where nothing counts. `quality` is that of the raw values.

    `whole`: the caller knows that every value counts and is finite.
    """
    if whole and name in WHOLE and len(values) > 1:
        return WHOLE[name](values)
    if name == "Count":
        return np.asarray(np.isfinite(values).sum(axis=0), np.float64)
    if name == "PercentGood":
        return np.asarray((quality == 0).mean(axis=0) * 100, np.float64)
    if name == "PercentBad":
        return np.asarray((quality == 2).mean(axis=0) * 100, np.float64)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # an empty column is NaN, and Bad by the window's own rule
        if name in OF_TIME:
            return OF_TIME[name](values, times_s)
        return PLAIN[name](values)


def sliding(values: Floats, size: int, rows: npt.NDArray[np.intp], names: Sequence[str]) -> Floats:
    """For each of `rows` the aggregates of `values[row : row + size]`, of those in WHOLE, where every value counts.

    Bit for bit what each window gives alone: one behind another the windows are added up in the same order.
    """
    width = values.shape[1]
    at_once = max(1, SLIDING_VALUES_MAX // max(1, size * width))
    found = np.empty((len(rows), len(names) * width))
    for at in range(0, len(rows), at_once):
        windows = values[rows[at : at + at_once] + np.arange(size)[:, None]]
        if width == 1:  # numpy adds one column alone pairwise, as it does what lies together
            windows = np.asfortranarray(windows)
        found[at : at + at_once] = np.concatenate([WHOLE[name](windows) for name in names], axis=1)
    return found
