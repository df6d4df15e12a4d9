"""The newest sample of each tag, where values come one by one: what a sweep of them looks like at a given time.

The first tag may be a waveform or an image: its sample then has a blob.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame

NOTHING_YET: Final = "nothing yet"


class Latest:
    """Keeps one sample a tag. A value older than `max_age_s` by the node's own clock is Bad `stale`."""

    def __init__(self, names: Sequence[str], source: str, *, max_age_s: float) -> None:
        count = len(names)
        self.names = tuple(names)
        self._source = source
        self._max_age_us = round(max_age_s * 1e6)
        self._values = np.full(count, np.nan)
        self._quality = np.full(count, BAD, np.uint8)
        self._received_us = np.full(count, -1, np.int64)
        self._source_us = 0
        self._blob: npt.NDArray[Any] | None = None
        self._reasons: dict[int, str] = dict.fromkeys(range(count), NOTHING_YET)

    def put(
        self,
        at: int,
        value: float,
        *,
        received_us: int,
        source_us: int,
        quality: int = GOOD,
        reason: str = "",
        blob: npt.NDArray[Any] | None = None,
    ) -> None:
        """The sample of tag `at`. A value that is not finite is Bad; `reason` says why it is not Good."""
        if quality == GOOD and not np.isfinite(value):
            quality, reason = BAD, reason or "missing"
        if at == 0:
            self._blob = blob
        self._values[at] = value
        self._quality[at] = quality
        self._received_us[at] = received_us
        self._source_us = max(self._source_us, source_us)
        if quality == GOOD:
            self._reasons.pop(at, None)
        else:
            self._reasons[at] = reason

    def usable(self, at: int) -> bool:
        """Whether the sample of tag `at` is better than Bad."""
        return bool(self._quality[at] < BAD)

    def spoil(self, at: int, reason: str, *, quality: int = BAD) -> None:
        """The sample that tag `at` has is no longer Good; it keeps its value and its times."""
        if self._quality[at] < quality:
            self._quality[at] = quality
            self._reasons[at] = reason

    def forget(self) -> None:
        """All that is known came over a connection that is gone: it is Uncertain until it comes again."""
        for at in range(len(self.names)):
            self.spoil(at, "from before the connection", quality=UNCERTAIN)

    @property
    def bad_items(self) -> list[str]:
        """Tags without a usable value, and why."""
        return [
            f"{self.names[at]}: {reason}" for at, reason in sorted(self._reasons.items()) if self._quality[at] == BAD
        ]

    def frame(self, *, now_us: int) -> Frame:
        """The sweep at `now_us` (CLOCK_BOOTTIME); its source time is the newest that a sample told."""
        frame = Frame(
            self.names,
            self._values.copy(),
            self._quality.copy(),
            dict(self._reasons),
            self._source_us,
            now_us,
            self._blob,
            self._source,
        )
        frame.mark((self._received_us >= 0) & (now_us - self._received_us > self._max_age_us), BAD, "stale")
        return frame
