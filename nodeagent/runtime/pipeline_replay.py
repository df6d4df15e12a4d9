"""The running pipeline and an edited one over the same sweeps, in a process under limits: what would be different.

Both begin afresh with the first sweep, so that windows fill and decisions remember alike. No source and no sink is
opened. It takes a PipelineReplayJob on standard input and prints a PipelineReplay.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from nodeagent.clock import SystemClock
from nodeagent.frame import Frame
from nodeagent.model.inference import Model, ModelRefused, RunFailed, RunPolicy
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline.config import PipelineConfig
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.state import StateRefused
from nodeagent.processes.limits import Limits, tie_to_parent_of
from nodeagent.protocol import PipelineReplay, PipelineSide, SweepChange
from nodeagent.runtime.pipeline_replay_job import PipelineReplayJob
from nodeagent.worker import past_sweeps
from nodeagent.worker.loading import engine_of, read_pipeline

RUN_S_MAX: Final = 10.0
CHANGES_SHOWN: Final = 20
TEXT_CHARS_MAX: Final = 500


class _Clock(SystemClock):
    """Time as the sweeps have it."""

    def __init__(self) -> None:
        self.frame: Frame | None = None

    def boottime_us(self) -> int:
        return 0 if self.frame is None else self.frame.received_us

    def wall_us(self) -> int:
        return 0 if self.frame is None else self.frame.source_us


def run(
    config: PipelineConfig, models: tuple[Model, dict[str, Model]], frames: Sequence[Frame]
) -> tuple[PipelineSide, list[Outcome]]:
    """One pipeline over the frames. Raises ConfigError where it does not fit tags or model."""
    clock = _Clock()
    engine = engine_of(config, models[0], models[1], clock)
    outcomes: list[Outcome] = []
    for frame in frames:
        clock.frame = frame
        outcomes += engine.push(frame)
    decisions = Counter(outcome.decision for outcome in outcomes)
    return PipelineSide(stages=engine.stages(), decisions=dict(decisions.most_common())), outcomes


def compare(before: Sequence[Outcome], after: Sequence[Outcome]) -> tuple[int, list[SweepChange]]:
    """How many predictions differ in decision or quality, and the newest of them. They are matched by their time."""
    old = {outcome.source_us: outcome for outcome in before}
    new = {outcome.source_us: outcome for outcome in after}
    changes = [
        _change(at_us, old.get(at_us), new.get(at_us))
        for at_us in sorted(old.keys() | new.keys())
        if _said(old.get(at_us)) != _said(new.get(at_us))
    ]
    return len(changes), changes[-CHANGES_SHOWN:]


def _said(outcome: Outcome | None) -> tuple[str, str, int] | None:
    return None if outcome is None else (outcome.decision, outcome.label, outcome.quality)


def _change(at_us: int, before: Outcome | None, after: Outcome | None) -> SweepChange:
    return SweepChange(
        at_us=at_us,
        decision_before=before.decision if before else "",
        decision_after=after.decision if after else "",
        score_before=before.score if before else None,
        score_after=after.score if after else None,
        reason_before=before.reason if before else "",
        reason_after=after.reason if after else "",
    )


def attempt(job: PipelineReplayJob) -> PipelineReplay:
    """Both over the sweeps. What cannot be read or does not fit is the answer."""
    try:
        edited = pipeline_config.load(job.pipeline, bindings=job.activation.bindings)
        running = read_pipeline(job.activation)
        if running is None:
            return PipelineReplay(problem="the bundle has no pipeline: it only answers over HTTP")
        frames = past_sweeps.read(Path(job.sweeps))
        if not frames:
            return PipelineReplay(problem="no sweep has come since the worker began")
        models = _load(job)
        before, old = run(running, models, frames)
        after, new = run(edited, models, frames)
    except ConfigError as error:
        return PipelineReplay(problem=str(error)[:TEXT_CHARS_MAX], line=error.line)
    except (ModelRefused, RunFailed, StateRefused, msgspec.DecodeError, MemoryError, OSError, ValueError) as error:
        return PipelineReplay(problem=(str(error) or type(error).__name__)[:TEXT_CHARS_MAX])
    differing, changes = compare(old, new)
    return PipelineReplay(
        sweeps=len(frames),
        first_us=frames[0].source_us,
        last_us=frames[-1].source_us,
        before=before,
        after=after,
        differing=differing,
        changes=changes,
    )


def _load(job: PipelineReplayJob) -> tuple[Model, dict[str, Model]]:
    policy, activation = RunPolicy(deadline_s=RUN_S_MAX), job.activation
    more = {name: Model.load(path, name=name, policy=policy) for name, path in activation.more_models.items()}
    return Model.load(activation.model_path, name=activation.model, policy=policy), more


def main() -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="nodeagent.runtime.pipeline_replay", description=__doc__)
    parser.add_argument("--memory-bytes", type=int, required=True, help="address space")
    parser.add_argument("--cpu-s", type=int, required=True, help="processor time")
    parser.add_argument("--parent", type=int, required=True, help="ends with this process")
    asked = parser.parse_args()
    tie_to_parent_of(asked.parent)
    Limits(memory_bytes=asked.memory_bytes, cpu_s=asked.cpu_s).apply()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=PipelineReplayJob)
    os.write(1, msgspec.json.encode(attempt(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
