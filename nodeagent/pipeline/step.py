"""What a step is: told the tags once, then given one frame after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from nodeagent.clock import Clock
from nodeagent.frame import BAD, UNCERTAIN, Frame, Mask

OnFail = Literal["bad", "uncertain"]
QUALITY_OF: Mapping[OnFail, int] = {"bad": BAD, "uncertain": UNCERTAIN}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a step may use beside its options. `sample_rate_hz`: of the source's waveforms, None where it says none."""

    clock: Clock
    sample_rate_hz: float | None = None


class Step(Protocol):
    """One step of a pipeline. `state` is plain values and numpy arrays, and `restore` takes what `state` gave."""

    @property
    def warm(self) -> bool:
        """Whether what leaves this step no longer depends on when it was started."""

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Gets ready for frames of these tags; the tags that leave. Raises ValueError for a tag that is not there."""

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        """The frame that leaves (None: nothing yet), and how many values became worse here."""

    def state(self) -> dict[str, Any]:
        """What a successor needs to go on."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state`, after `bind`. Raises ValueError or KeyError if it does not fit."""


class Stateless:
    """The part of a step that keeps nothing from one frame to the next."""

    warm = True

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            raise ValueError("this step keeps no state")


def selected(names: tuple[str, ...], tags: Iterable[str] | None) -> Mask:
    """Which of `names` are among `tags` (None: all). Raises ValueError for a tag that is not there."""
    if tags is None:
        return np.ones(len(names), np.bool_)
    wanted = set(tags)
    missing = sorted(wanted - set(names))
    if missing:
        raise ValueError(f"there is no tag {missing[0]!r} here; there is: {', '.join(names)}")
    return np.array([name in wanted for name in names], np.bool_)


def lead(frame: Frame) -> Mask:
    """The first value alone: the waveform or image, where the frame has one."""
    mask: Mask = np.arange(len(frame.names)) == 0
    return mask


def per_tag(names: tuple[str, ...], values: Mapping[str, float], default: float) -> np.ndarray[Any, np.dtype[Any]]:
    """`values` in the order of `names`. Raises ValueError for a tag that is not there."""
    selected(names, values)
    return np.array([values.get(name, default) for name in names], np.float64)
