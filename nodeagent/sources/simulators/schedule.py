"""How a fault grows: severity over the machine's own time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Schedule:
    """Severity 0 to 1 over seconds since the start: one number for ever, or points with straight lines between.

    Raises ValueError for points that do not rise in time or severities outside 0 to 1.
    """

    def __init__(self, severity: float | Sequence[Sequence[float]]) -> None:
        points = [[0.0, severity]] if isinstance(severity, int | float) else severity
        if not points or any(len(point) != 2 for point in points):
            raise ValueError("'severity' is a number, or a list of [seconds, severity]")
        self._times_s = np.array([point[0] for point in points], np.float64)
        self._severities = np.array([point[1] for point in points], np.float64)
        if np.any(np.diff(self._times_s) <= 0):
            raise ValueError("the seconds of 'severity' do not rise")
        if np.any((self._severities < 0) | (self._severities > 1)):
            raise ValueError("a severity lies outside 0 to 1")

    def at(self, time_s: float) -> float:
        """The severity at `time_s`; before the first point and after the last one it is theirs."""
        return float(np.interp(time_s, self._times_s, self._severities))
