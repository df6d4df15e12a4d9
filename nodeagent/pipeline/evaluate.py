"""What follows the steps: the model is asked, the decision made, the outcome said; one sweep or many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from nodeagent.clock import Clock
from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame
from nodeagent.pipeline.block import Block
from nodeagent.pipeline.config import ModelOptions
from nodeagent.pipeline.decide import ByScore, Decide, Decision, scores_of
from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.inputs import Feeds, Inputs, split, stack
from nodeagent.pipeline.models import Models, Row
from nodeagent.pipeline.outcome import ERROR, IDLE, SKIPPED, Outcome
from nodeagent.pipeline.stage import Seen
from nodeagent.pipeline.steps.gate import IDLE_REASONS

OUTPUT_VALUES_MAX: Final = 4096


class Asked(NamedTuple):
    """One sweep at the model: what it was given (None: nothing), what it said, or why it said nothing."""

    feeds: Feeds | None = None
    answer: Row | None = None
    failure: str | None = None


class Evaluation:
    """The last third of an engine. `shown`, where set, gets each decision as a frame."""

    def __init__(
        self, options: ModelOptions, inputs: Inputs, models: Models, decide: Decide, score: str, use: str, clock: Clock
    ) -> None:
        self.errors_total = 0
        self.model_seen = Seen("model")
        self.decide_seen = Seen(f"decide {use}")
        self.shown: Callable[[Frame, str], None] | None = None
        self._options = options
        self._inputs = inputs
        self._models = models
        self._decide = decide
        self._by_score = decide if isinstance(decide, ByScore) else None
        self._score = score
        self._clock = clock
        self._last: Decision | None = None

    @property
    def batch_max(self) -> int:
        """How many sweeps the model may see at once."""
        return self._options.batch_max if self._inputs.batchable and self._models.plain else 1

    def frames(self, ready: Sequence[tuple[Frame, str]]) -> list[Outcome]:
        """The outcomes of sweeps with their contexts, `batch_max` of them at most."""
        judged = [(frame, about, *self._inputs.quality(frame)) for frame, about in ready]
        rows: dict[int, Feeds] = {}
        asked: dict[int, Asked] = {}
        for at, (frame, _, quality, _) in enumerate(judged):
            if quality < BAD or self._options.on_bad_input == "run":
                try:
                    rows[at] = self._inputs.row(frame)
                except ModelFailed as error:
                    asked[at] = Asked(failure=str(error))
        asked |= self._answers(rows, {at: judged[at][0].received_us for at in rows})
        return [
            self._outcome(frame, quality, reason, asked.get(at, Asked()), about)
            for at, (frame, about, quality, reason) in enumerate(judged)
        ]

    def block(self, block: Block, about: Sequence[str]) -> list[Outcome]:
        """As `frames` for a block of `batch_max` sweeps at most; the same to the last bit."""
        worst = self._inputs.worst(block.quality).tolist()
        given = [at for at, quality in enumerate(worst) if quality < BAD or self._options.on_bad_input == "run"]
        feeds, said, failure = self._ask_block(block, given)
        scores = None if failure or self.shown is not None else self._scores(said, len(given))
        if scores is not None:
            return self._scored(block, about, worst, dict(zip(given, scores, strict=True)), feeds, said)
        asked = self._rows_of(given, feeds, said, failure)
        return [self._from_block(block, at, asked.get(at, Asked()), about[at]) for at in range(len(block))]

    def _ask_block(self, block: Block, given: list[int]) -> tuple[Feeds, Row, str]:
        """What the model was given, what it said, and why it said nothing."""
        feeds: Feeds = {}
        if not given:
            return feeds, {}, ""
        try:
            feeds = self._inputs.rows(block.values if len(given) == len(block) else block.values[given])
            return feeds, {name: np.asarray(each) for name, each in self._models.run(feeds).items()}, ""
        except ModelFailed as error:
            return feeds, {}, str(error)

    def _scores(self, said: Row, rows: int) -> list[float] | None:
        """The score of each row, where every one has one and nothing more is needed."""
        if self._by_score is None:
            return None
        if not rows:
            return []
        if any(array.ndim == 0 or array.shape[0] != rows for array in said.values()):
            return None
        return scores_of(said, self._score, rows)

    def _rows_of(self, given: list[int], feeds: Feeds, said: Row, failure: str) -> dict[int, Asked]:
        answers: Sequence[Row | None] = [None] * len(given)
        if not failure:
            try:
                answers = split(said, len(given)) if given else []
            except ModelFailed as error:
                failure = str(error)
        return {
            at: Asked({name: each[n : n + 1] for name, each in feeds.items()} or None, answers[n], failure or None)
            for n, at in enumerate(given)
        }

    def _scored(
        self,
        block: Block,
        about: Sequence[str],
        worst: list[int],
        scores: Mapping[int, float],
        feeds: Feeds,
        said: Row,
    ) -> list[Outcome]:
        """The outcomes in order; those that the model was not asked about are made one by one."""
        assert self._by_score is not None
        wall_us, now_us = self._clock.wall_us(), self._clock.boottime_us()
        inputs, outputs = iter(_flat_rows(feeds, None)), iter(_flat_rows(said, OUTPUT_VALUES_MAX))
        decide, source_us, received_us = self._by_score.scored, block.source_us, block.received_us
        outcomes = []
        for at, quality in enumerate(worst):
            if at not in scores:
                outcomes.append(self._from_block(block, at, Asked(), about[at]))
                continue
            reason = "" if quality == GOOD else self._inputs.quality(block.frame(at))[1]
            score, label, word, alarm = self._last = decide(scores[at], received_us[at])
            late_us = max(0, now_us - received_us[at])
            outcomes.append(
                Outcome(
                    wall_us, source_us[at], late_us, score, label, word, quality, reason,
                    next(inputs), next(outputs), alarm, about[at],
                )
            )  # fmt: skip
        self._saw(block, worst, scores, outcomes[-1])
        return outcomes

    def _saw(self, block: Block, worst: list[int], scores: Mapping[int, float], last: Outcome) -> None:
        """As Seen.saw for each that was scored; what is shown of a sweep is taken of the last one alone."""
        self.model_seen.frames_total += len(scores)
        self.decide_seen.frames_total += len(scores)
        self.model_seen.marked_total += sum([worst[at] != GOOD for at in scores])
        at = len(block) - 1
        if at in scores and self._last is not None:
            frame = block.frame(at)
            self.model_seen.show(frame)
            self.decide_seen.show(_as_frame(frame, self._last, worst[at], last.reason))

    def _from_block(self, block: Block, at: int, asked: Asked, about: str) -> Outcome:
        frame = block.frame(at)
        return self._outcome(frame, *self._inputs.quality(frame), asked, about)

    def _answers(self, rows: dict[int, Feeds], at_us: Mapping[int, int]) -> dict[int, Asked]:
        """What the model said to each row, or why it said nothing."""
        if not rows:
            return {}
        if not self._models.plain:
            return {at: self._ask(feeds, at_us[at]) for at, feeds in rows.items()}
        try:
            answers = split(self._models.run(stack(list(rows.values()))), len(rows))
        except ModelFailed as error:
            return {at: Asked(feeds, None, str(error)) for at, feeds in rows.items()}
        return {at: Asked(feeds, answer) for (at, feeds), answer in zip(rows.items(), answers, strict=True)}

    def _ask(self, feeds: Feeds, at_us: int) -> Asked:
        """One row, where a model carries state or others are asked after it."""
        try:
            return Asked(feeds, self._models.ask(feeds, at_us))
        except ModelFailed as error:
            return Asked(feeds, None, str(error))

    def _outcome(self, frame: Frame, quality: int, reason: str, asked: Asked, about: str) -> Outcome:
        feeds, answer, failure = asked
        if answer is not None:
            try:
                decision = self._last = self._decide.decide(answer, frame.received_us)
            except ModelFailed as error:
                answer, failure = None, str(error)
        if failure is not None:
            self.errors_total += 1
            decision, quality, reason = self._decide.bad(ERROR), BAD, failure
        elif answer is None:
            decision, quality, reason = self._without_model(frame, reason)
        self.model_seen.saw(frame, int(quality != GOOD))
        said = _as_frame(frame, decision, quality, reason)
        self.decide_seen.saw(said, int(decision.score is None))
        if self.shown is not None:
            self.shown(said, about)
        return Outcome(
            wall_us=self._clock.wall_us(),
            source_us=frame.source_us,
            latency_us=max(0, self._clock.boottime_us() - frame.received_us),
            score=decision.score,
            label=decision.label,
            decision=decision.decision,
            quality=quality,
            reason=reason,
            inputs=None if feeds is None else _flat(feeds, None),
            outputs=None if answer is None else _flat(answer, OUTPUT_VALUES_MAX),
            alarm=decision.alarm,
            context=about,
        )

    def _without_model(self, frame: Frame, reason: str) -> tuple[Decision, int, str]:
        """What stands when the inputs are Bad: the last decision where the pipeline says hold, otherwise none."""
        idle = self._inputs.reasons(frame) <= IDLE_REASONS
        if self._options.on_bad_input == "hold" and self._last is not None and not idle:
            return self._last, UNCERTAIN, f"held: {reason}"
        return self._decide.bad(IDLE if idle else SKIPPED), BAD, reason


def _flat(arrays: Mapping[str, npt.NDArray[Any]], values_max: int | None) -> npt.NDArray[np.float32]:
    parts = [array.reshape(-1) for array in arrays.values() if np.issubdtype(array.dtype, np.number)]
    flat = np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)
    return flat if values_max is None else flat[:values_max]


def _flat_rows(arrays: Mapping[str, npt.NDArray[Any]], values_max: int | None) -> list[npt.NDArray[np.float32]]:
    """As `_flat` for each row of a batch."""
    parts = [each.reshape(len(each), -1) for each in arrays.values() if np.issubdtype(each.dtype, np.number)]
    if not parts:
        return [np.zeros(0, np.float32) for each in list(arrays.values())[:1] for _ in range(len(each))]
    return list(np.concatenate(parts, axis=1).astype(np.float32)[:, :values_max])


def _as_frame(frame: Frame, decision: Decision, quality: int, reason: str) -> Frame:
    score = np.nan if decision.score is None else decision.score
    reasons = {0: reason} if reason else {}
    return Frame(
        (decision.decision,),
        np.array([score]),
        np.array([quality], np.uint8),
        reasons,
        frame.source_us,
        frame.received_us,
    )
