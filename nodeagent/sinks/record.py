"""`type = "record"`: every outcome becomes a row of the node's records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.pipeline.options import Options
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.sink import RecorderRow, SinkContext
from store.segment import Row

_ALWAYS: Final = ("all", "none")


class RecordOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keep_inputs`: all, none, or a list of decisions and `sample:SHARE` ("alarm", "reject,review,sample:0.02").

    Inputs longer than `input_bytes_max` are left out and counted. `skipped`: outcomes without a prediction are
    recorded always, when the decision or its reason changes, or never; those left out are counted in the telemetry.
    """

    keep_inputs: str = "all"
    input_bytes_max: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 64 << 10
    skipped: Literal["all", "changes", "none"] = "changes"

    def __post_init__(self) -> None:
        Keep(self.keep_inputs)


OPTIONS = RecordOptions


class Keep:
    """Which outcomes keep their inputs. A sampled share is spread evenly, not drawn. Raises ValueError."""

    def __init__(self, text: str) -> None:
        self.words = {word.strip() for word in text.split(",")}
        self.share = 0.0
        self._owed = 0.0
        for word in sorted(self.words):
            if word.startswith("sample:"):
                self.share = _share(word.removeprefix("sample:"))
            elif not word or (word in _ALWAYS and len(self.words) > 1):
                raise ValueError("'keep_inputs' is all, none, or a list like \"alarm,review,sample:0.01\"")

    def keeps(self, outcome: Outcome) -> bool:
        """Whether this one does."""
        if "all" in self.words or outcome.decision in self.words or ("alarm" in self.words and outcome.alarm):
            return True
        self._owed += self.share
        if self._owed >= 1.0:
            self._owed -= 1.0
            return True
        return False


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"sample:{text} is not a share between 0 and 1")
    return share


class Record:
    """The sink. It never blocks: the recorder's queue is bounded and counts what it loses."""

    def __init__(self, options: RecordOptions, recorder: RecorderRow) -> None:
        self.options = options
        self.delivered_total = 0
        self.dropped_total = 0
        self.left_out_total = 0
        self.inputs_too_long_total = 0
        self._keep = Keep(options.keep_inputs)
        self._recorder = recorder
        self._running = False
        self._last_bad: tuple[str, str] | None = None

    async def start(self) -> None:
        self._running = True

    def offer(self, outcome: Outcome) -> None:
        self.offer_many((outcome,))

    def offer_many(self, outcomes: Sequence[Outcome]) -> None:
        """As `offer` for outcomes that came together; the recorder takes them at once."""
        rows = [self._row(outcome) for outcome in outcomes if not self._is_left_out(outcome)]
        self.left_out_total += len(outcomes) - len(rows)
        taken = self._recorder.offer_many(rows) if rows else 0
        self.delivered_total += taken
        self.dropped_total += len(rows) - taken

    async def safe(self) -> None:
        """Nothing: a record moves no machine."""

    async def close(self) -> None:
        self._running = False

    def telemetry(self) -> SinkTelemetry:
        notes = []
        if self.left_out_total:
            notes.append(f"{self.left_out_total} unchanged without a prediction left out")
        if self.inputs_too_long_total:
            notes.append(f"inputs of {self.inputs_too_long_total} too long to keep")
        return SinkTelemetry(
            type="record",
            state="up" if self._running else "stopped",
            delivered_total=self.delivered_total,
            dropped_total=self.dropped_total,
            reason=", ".join(notes),
        )

    def _row(self, outcome: Outcome) -> Row:
        return Row(
            outcome.wall_us,
            outcome.source_us,
            outcome.latency_us,
            outcome.score,
            outcome.label,
            outcome.decision,
            outcome.quality,
            outcome.reason,
            self._inputs(outcome),
            _bytes(outcome.outputs),
            outcome.context,
        )

    def _is_left_out(self, outcome: Outcome) -> bool:
        if outcome.valid:
            self._last_bad = None
            return False
        now = (outcome.decision, outcome.reason)
        repeated = now == self._last_bad
        self._last_bad = now
        return self.options.skipped == "none" or (self.options.skipped == "changes" and repeated)

    def _inputs(self, outcome: Outcome) -> bytes | None:
        if outcome.inputs is None or not self._keep.keeps(outcome):
            return None
        if outcome.inputs.nbytes > self.options.input_bytes_max:
            self.inputs_too_long_total += 1
            return None
        return _bytes(outcome.inputs)


def _bytes(values: npt.NDArray[np.float32] | None) -> bytes | None:
    return None if values is None else values.astype("<f4", copy=False).tobytes()


def create(section: Section, context: SinkContext) -> Record:
    """The sink of a section."""
    assert isinstance(section.options, RecordOptions)
    if context.recorder is None:
        raise ValueError("a record sink needs the recorder")
    return Record(section.options, context.recorder)
