"""What comes out of a pipeline: one evaluation of the model, or the reason why there was none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SKIPPED = "skipped"
IDLE = "idle"
ERROR = "error"


class Outcome(NamedTuple):
    """One evaluation. `decision` is a word of `[decide]`, or skipped, idle or error; then there is no score.

    `wall_us` is the node's wall clock when it was decided, `latency_us` from the data's arrival until then. `alarm`:
    the condition that outputs act on stands. `inputs`, `outputs`: what the model saw and said, flat. `context`:
    product, shift and the like, as `[context]` names them.
    """

    wall_us: int
    source_us: int
    latency_us: int
    score: float | None
    label: str
    decision: str
    quality: int
    reason: str
    inputs: npt.NDArray[np.float32] | None
    outputs: npt.NDArray[np.float32] | None
    alarm: bool
    context: str = ""

    @property
    def valid(self) -> bool:
        """Whether the model was asked and answered."""
        return self.score is not None
