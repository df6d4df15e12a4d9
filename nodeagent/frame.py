"""A sweep frame: what one source read at one time, as arrays, with a quality for every value."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

GOOD, UNCERTAIN, BAD = 0, 1, 2
QUALITY_WORDS = ("Good", "Uncertain", "Bad")

Floats = npt.NDArray[np.float64]
Qualities = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(slots=True, eq=False)
class Frame:
    """One sweep: `values[i]` belongs to `names[i]`; a Bad value may be NaN. Steps change the engine's copy in place.

    `source_us`: wall time by the device, or by the node where the device tells none. `received_us`: CLOCK_BOOTTIME of
    the node when the data came; the only one that decides anything. `reasons` is sparse: index of a value -> why it
    is not Good. `blob`: a waveform or an image, whose quality is that of `values[0]`.
    """

    names: tuple[str, ...]
    values: Floats
    quality: Qualities
    reasons: dict[int, str]
    source_us: int
    received_us: int
    blob: npt.NDArray[np.generic] | None = None
    source: str = ""

    def mark(self, mask: Mask, quality: int, reason: str) -> int:
        """Lowers the values under `mask` to `quality` because of `reason`; returns how many became worse."""
        worse = mask & (self.quality < quality)
        count = int(np.count_nonzero(worse))
        if count:
            self.quality[worse] = quality
            for index in worse.nonzero()[0].tolist():
                self.reasons[index] = reason
        return count

    def mark_all(self, quality: int, reason: str) -> int:
        """As `mark`, for every value."""
        return self.mark(np.ones(len(self.names), np.bool_), quality, reason)

    def copy(self) -> Frame:
        """A frame whose values, qualities and reasons may be changed; the blob is shared, since steps replace it."""
        return Frame(
            self.names,
            self.values.copy(),
            self.quality.copy(),
            dict(self.reasons),
            self.source_us,
            self.received_us,
            self.blob,
            self.source,
        )


def good(
    names: Sequence[str],
    values: npt.ArrayLike,
    *,
    source_us: int,
    received_us: int,
    blob: npt.NDArray[np.generic] | None = None,
    source: str = "",
) -> Frame:
    """A frame of Good values; a value that is not finite is Bad `missing`."""
    array = np.array(values, np.float64)
    frame = Frame(tuple(names), array, np.zeros(len(array), np.uint8), {}, source_us, received_us, blob, source)
    finite = np.isfinite(array)
    if not finite.all():
        frame.mark(~finite, BAD, "missing")
    return frame


def absent(names: Sequence[str], reason: str, *, source_us: int, received_us: int, source: str = "") -> Frame:
    """A sweep that did not come: every value NaN and Bad because of `reason`."""
    count = len(names)
    return Frame(
        tuple(names),
        np.full(count, np.nan),
        np.full(count, BAD, np.uint8),
        dict.fromkeys(range(count), reason),
        source_us,
        received_us,
        None,
        source,
    )
