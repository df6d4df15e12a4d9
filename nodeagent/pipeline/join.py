"""Several sources, one sweep: the first source sets the pace, the others add the newest they have."""

from __future__ import annotations

import numpy as np

from nodeagent.frame import BAD, Frame, absent


class Join:
    """Adds the tags of the following sources to each frame of the first. What is older than `max_age_us` is Bad."""

    def __init__(self, sources: tuple[str, ...], names: dict[str, tuple[str, ...]], max_age_us: int) -> None:
        self.lead = sources[0]
        self.others = sources[1:]
        self.max_age_us = max_age_us
        self._names = names
        self._newest: dict[str, Frame] = {}

    def join(self, frame: Frame) -> Frame | None:
        """The joined frame, or None for a frame that only waits for the next one of the first source."""
        if not self.others:
            return frame
        if frame.source != self.lead:
            self._newest[frame.source] = frame
            self._names[frame.source] = frame.names
            return None
        return self._appended(frame)

    def _appended(self, frame: Frame) -> Frame:
        parts = [frame]
        for source in self.others:
            part = self._newest.get(source)
            if part is None:
                part = absent(
                    self._names.get(source, ()),
                    "nothing yet",
                    source_us=0,
                    received_us=frame.received_us,
                    source=source,
                )
            elif frame.received_us - part.received_us > self.max_age_us:
                part = part.copy()
                part.mark_all(BAD, "stale")
            parts.append(part)
        reasons: dict[int, str] = {}
        offset = 0
        for part in parts:
            reasons.update({offset + at: reason for at, reason in part.reasons.items()})
            offset += len(part.names)
        return Frame(
            tuple(name for part in parts for name in part.names),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.quality for part in parts]),
            reasons,
            frame.source_us,
            frame.received_us,
            frame.blob,
            frame.source,
        )
