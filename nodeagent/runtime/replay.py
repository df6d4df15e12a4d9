"""A revision over recorded inputs, in a process of its own under limits: what would it have said. It never writes.

The recorded inputs are what the model saw, so steps before the model are not run again; a candidate whose steps differ
is judged on its model and its decision alone, and the answer says so. Records are read newest first and replayed in
their order, since a decision may remember.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.clock import SystemClock
from nodeagent.model.golden import GoldenMismatch
from nodeagent.model.inference import ModelRefused, RunFailed, RunPolicy
from nodeagent.model.tensors import DTYPES
from nodeagent.pipeline import registry
from nodeagent.pipeline.config import ModelOptions
from nodeagent.pipeline.drift import BaselineRefused
from nodeagent.pipeline.errors import ConfigError, ModelFailed
from nodeagent.pipeline.models import Models
from nodeagent.processes.limits import Limits, tie_to_parent_of
from nodeagent.protocol import GateRow
from nodeagent.runtime.agreements import Agreements
from nodeagent.runtime.replay_job import RECORDS_BYTES_MAX, WORST_ROWS, Replayed, ReplayJob
from nodeagent.serving.model_service import HTTP_DECISION
from nodeagent.worker.loading import Loaded, asked, load
from store import records
from store.segment import BOOT_SHIFT

RUN_S_MAX: Final = 10.0
LOOKED_AT_MAX: Final = 200_000
PAGE_ROWS: Final = 1_000
ERROR: Final = "error"
Feeds = dict[str, npt.NDArray[Any]]


class NotComparable(Exception):
    """The recorded inputs are not what this model takes."""


@dataclasses.dataclass(frozen=True)
class Past:
    """One recorded prediction; `inputs` as the model saw them, flat float32."""

    key: int
    wall_us: int
    score: float | None
    label: str
    decision: str
    config: str
    inputs: npt.NDArray[np.float32]
    context: str = ""


def newest(folder: Path, count: int) -> list[Past]:
    """Up to `count` valid predictions that kept their inputs, oldest first. Raises StoreError kinds."""
    found: list[Past] = []
    before: int | None = None
    looked_at = size = 0
    while len(found) < count and looked_at < LOOKED_AT_MAX and size < RECORDS_BYTES_MAX:
        page = records.query(folder, before=before, limit=PAGE_ROWS, newest_first=True, deadline_s=RUN_S_MAX)
        looked_at += len(page.records)
        for row in page.records:
            if row.inputs is None or row.score is None or row.quality > 1 or len(found) >= count:
                continue
            inputs = np.frombuffer(row.inputs, "<f4")
            size += inputs.nbytes
            found.append(
                Past(row.key, row.wall_us, row.score, row.label, row.decision, row.config, inputs, row.context)
            )
        before = page.next
        if before is None:
            break
    return found[::-1]


class Replay:
    """A loaded revision, asked again."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self._specs = list(loaded.model.inputs)
        self._decide: Any = None
        self._models: Models | None = None
        if loaded.config is not None:
            more = {name: asked(model) for name, model in loaded.more.items()}
            self._models = Models(loaded.config.model, loaded.config.then, asked(loaded.model), more)
            of_tags = {tensor.name for tensor in self._models.tensors}
            self._specs = [spec for spec in self._specs if spec.name in of_tags]
            options = loaded.config.model.options
            assert isinstance(options, ModelOptions)
            if isinstance(options.inputs, dict):
                by_name = {spec.name: spec for spec in self._specs}
                self._specs = [by_name[name] for name in options.inputs]
            _, decide = registry.decision(loaded.config.decide.use)
            self._decide = decide(loaded.config.decide.options)

    def feeds(self, flat: npt.NDArray[np.float32]) -> Feeds:
        """The model's inputs of one recorded row. Raises NotComparable."""
        shapes = [tuple(spec.shape or ())[1:] for spec in self._specs]
        known = sum(math.prod(shape) for shape in shapes if min(shape, default=0) >= 0)
        free = [shape for shape in shapes if min(shape, default=0) < 0]
        if len(free) > 1 or any(shape.count(-1) > 1 for shape in free) or (not free and known != flat.size):
            raise NotComparable(f"the records keep {flat.size} values a prediction, this model takes {known}")
        feeds, at = {}, 0
        for spec, shape in zip(self._specs, shapes, strict=True):
            count = math.prod(shape) if min(shape, default=0) >= 0 else flat.size - known
            try:
                feeds[spec.name] = flat[at : at + count].reshape(shape)[None].astype(DTYPES[spec.datatype])
            except ValueError as error:
                raise NotComparable(f"{flat.size} recorded values do not fill {spec.name} {list(shape)}") from error
            at += count
        return feeds

    def ask(self, feeds: Feeds, key: int) -> tuple[float | None, str, str]:
        """Score, label and decision of one row; the decision is ERROR where the model fails."""
        try:
            at_us = key & ((1 << BOOT_SHIFT) - 1)
            if self._decide is None or self._models is None:
                return _score(self._model.run(feeds)), "", HTTP_DECISION
            decided = self._decide.decide(self._models.ask(feeds, at_us), at_us)
            return decided.score, decided.label, decided.decision
        except (RunFailed, ModelFailed):
            return None, "", ERROR


def _score(outputs: Mapping[str, npt.NDArray[Any]]) -> float | None:
    """As the records of HTTP inference have it: the first floating output, where it is one value."""
    for value in outputs.values():
        if value.dtype.kind == "f":
            return float(value.reshape(-1)[0]) if value.size == 1 else None
    return None


def compare(loaded: Loaded, past: Sequence[Past], now_s: Callable[[], float] = time.perf_counter) -> Replayed:
    """What the revision makes of `past`, against what was decided then."""
    if not past:
        return Replayed(problem="no recorded prediction of this bundle kept its inputs")
    again, flips, rows, times = Replay(loaded), Counter[str](), list[GateRow](), list[float]()
    agreed = decided = errors = 0
    agreements = Agreements()
    try:
        feeds = [again.feeds(row.inputs) for row in past]
    except NotComparable as error:
        return Replayed(problem=str(error))
    Replay(loaded).ask(feeds[0], past[0].key)  # the first run of a model pays for what later ones find ready
    for row, fed in zip(past, feeds, strict=True):
        began_s = now_s()
        score, label, decision = again.ask(fed, row.key)
        times.append((now_s() - began_s) * 1e3)
        errors += decision == ERROR
        if row.decision != HTTP_DECISION or decision == ERROR:
            decided += 1
            same = decision == row.decision and (not label or not row.label or label == row.label)
            agreed += same
            agreements.add(row.context, same=same)
            if not same:
                flips[_flip(row, label, decision)] += 1
        rows.append(
            GateRow(
                key=row.key,
                wall_us=row.wall_us,
                score_before=row.score,
                score_after=score,
                decision_before=row.decision,
                decision_after=decision,
            )
        )
    found = _summary(rows, times, flips, agreed=agreed, decided=decided, errors=errors, past=past)
    return msgspec.structs.replace(found, contexts=agreements.told())


def _flip(row: Past, label: str, decision: str) -> str:
    if decision != row.decision:
        return f"{row.decision} -> {decision}"
    return f"{row.label} -> {label}"


def _summary(
    rows: list[GateRow],
    times: list[float],
    flips: Counter[str],
    *,
    agreed: int,
    decided: int,
    errors: int,
    past: Sequence[Past],
) -> Replayed:
    shifts = np.array([shift for row in rows if (shift := _shift(row)) is not None])
    ordered = sorted(rows, key=_badness, reverse=True)
    p50, p95 = np.percentile(times, (50, 95)).tolist()
    walls = [row.wall_us for row in past]
    return Replayed(
        rows=len(rows),
        errors=errors,
        decided=decided,
        agreed=agreed,
        first_wall_us=min(walls),
        last_wall_us=max(walls),
        flips=dict(flips.most_common(20)),
        score_shift_mean=float(shifts.mean()) if shifts.size else None,
        score_shift_p95=float(np.percentile(np.abs(shifts), 95)) if shifts.size else None,
        score_shift_max=float(np.abs(shifts).max()) if shifts.size else None,
        latency_ms_p50=p50,
        latency_ms_p95=p95,
        worst=[row for row in ordered[:WORST_ROWS] if _badness(row) > (0, 0.0)],
        configs=sorted({row.config for row in past}),
    )


def _shift(row: GateRow) -> float | None:
    return None if row.score_after is None or row.score_before is None else row.score_after - row.score_before


def _badness(row: GateRow) -> tuple[int, float]:
    shift = _shift(row)
    return int(row.decision_before != row.decision_after), math.inf if shift is None else abs(shift)


def attempt(job: ReplayJob, past: Callable[[], Iterable[Past]] | None = None) -> Replayed:
    """Loads and replays. What cannot be loaded or read is the answer."""
    activation = job.activation
    try:
        loaded = load(activation, SystemClock(), RunPolicy(deadline_s=RUN_S_MAX))
        rows = list(past()) if past is not None else newest(Path(activation.records_dir), job.rows)
        return compare(loaded, rows)
    except (ModelRefused, ConfigError, BaselineRefused, GoldenMismatch, RunFailed, MemoryError, OSError) as error:
        return Replayed(problem=f"{error}"[:500] or type(error).__name__)


def main() -> int:
    """The command line: a ReplayJob on standard input, a Replayed on standard output."""
    parser = argparse.ArgumentParser(prog="nodeagent.runtime.replay", description=__doc__)
    parser.add_argument("--memory-bytes", type=int, required=True, help="address space")
    parser.add_argument("--cpu-s", type=int, required=True, help="processor time")
    parser.add_argument("--parent", type=int, required=True, help="ends with this process")
    asked = parser.parse_args()
    tie_to_parent_of(asked.parent)
    Limits(memory_bytes=asked.memory_bytes, cpu_s=asked.cpu_s).apply()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=ReplayJob)
    os.write(1, msgspec.json.encode(attempt(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
