"""Finds out, before a model serves, whether rows of several requests may share a run: exact, and paying.

Some models mix rows (a softmax over the batch, statistics over it), and most large ones gain nothing, so both are
measured on the model itself and not taken from its shape.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import numpy as np

from nodeagent.model.inference import Model, RunFailed, zeros
from nodeagent.model.tensors import Array, elements

PROBE_ROWS = 8
BATCH_ROWS_MAX = 64
PAYS_SHARE = 0.7  # a batch of 8 must cost less than this share of 8 single runs
THREAD_RUN_US = 1_000.0
TIMED_RUNS = 5
PROBE_ELEMENTS_MAX = 1 << 22
_TOLERANCE = 1e-5


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What the probe saw. `batch_rows_max` is 1 where rows must not, or need not, share a run; 0 us: not measured."""

    batch_rows_max: int
    run_us: float
    batch_run_us: float
    reason: str

    @property
    def in_thread(self) -> bool:
        """Runs are long enough to be kept off the event loop."""
        return max(self.run_us, self.batch_run_us) >= THREAD_RUN_US


def probe(model: Model, *, deadline_s: float = 5.0) -> Profile:
    """Runs the model a few dozen times on zeros and on pseudo-random rows. Never raises for what the model does."""
    try:
        run_us = _timed_us(model, zeros(model.inputs), deadline_s)
    except RunFailed as error:
        return Profile(batch_rows_max=1, run_us=0.0, batch_run_us=0.0, reason=f"zeros do not run: {error}")
    single = Profile(batch_rows_max=1, run_us=run_us, batch_run_us=0.0, reason="")
    blocked = _blocked(model)
    if blocked:
        return msgspec.structs.replace(single, reason=blocked)
    try:
        if not all(_exact(model, seed, deadline_s) for seed in (1, 2)):
            return msgspec.structs.replace(single, reason="rows influence each other")
        batch_run_us = _timed_us(model, zeros(model.inputs, PROBE_ROWS), deadline_s)
    except RunFailed as error:
        return msgspec.structs.replace(single, reason=f"rows do not run together: {error}")
    if batch_run_us >= PAYS_SHARE * PROBE_ROWS * run_us:
        return msgspec.structs.replace(single, reason="batching does not pay")
    return Profile(batch_rows_max=BATCH_ROWS_MAX, run_us=run_us, batch_run_us=batch_run_us, reason="exact and paying")


def _blocked(model: Model) -> str:
    """Why the shapes alone forbid batching; empty: they do not."""
    firsts = {symbols[0] if symbols else 0 for symbols in model.symbols}
    if not model.inputs or any(isinstance(first, int) for first in firsts):
        return "the first dimension is fixed"
    if len(firsts) > 1:
        return "the inputs do not share their first dimension"
    if any(spec.shape is None or spec.shape[0] >= 0 for spec in model.outputs):
        return "an output does not have a row for each input row"
    if any(spec.datatype == "BYTES" for spec in (*model.inputs, *model.outputs)):
        return "text is not batched"
    sizes = [elements(tuple(abs(size) for size in spec.shape or ())) for spec in model.inputs]
    return "a row is too large to try" if max(sizes) * PROBE_ROWS > PROBE_ELEMENTS_MAX else ""


def _exact(model: Model, seed: int, deadline_s: float) -> bool:
    random = np.random.default_rng(seed)
    rows = [_random_like(array, random, seed) for array in zeros(model.inputs, PROBE_ROWS)]
    together = model.run_list(rows, deadline_s=deadline_s)
    if any(len(output) != PROBE_ROWS for output in together):
        return False
    for row in range(PROBE_ROWS):
        alone = model.run_list([array[row : row + 1] for array in rows], deadline_s=deadline_s)
        if not all(_same(one, many[row : row + 1]) for one, many in zip(alone, together, strict=True)):
            return False
    return True


def _random_like(array: Array, random: np.random.Generator, seed: int) -> Array:
    if array.dtype.kind == "f":
        return (random.standard_normal(array.shape) * 10.0 ** (seed - 1)).astype(array.dtype)
    return random.integers(0, 2, array.shape).astype(array.dtype)


def _same(one: Array, many: Array) -> bool:
    if one.shape != many.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, many))
    scale = float(np.max(np.abs(one[np.isfinite(one)]), initial=0.0))
    return bool(np.allclose(one, many, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True))


def _timed_us(model: Model, feeds: Sequence[Array], deadline_s: float) -> float:
    """The fastest of a few runs, in microseconds; the first, which may set up memory, does not count."""
    model.run_list(feeds, deadline_s=deadline_s)
    best = float("inf")
    for _ in range(TIMED_RUNS):
        start_ns = time.perf_counter_ns()
        model.run_list(feeds, deadline_s=deadline_s)
        best = min(best, (time.perf_counter_ns() - start_ns) / 1e3)
        if best > THREAD_RUN_US * 100:
            break  # a slow model need not be timed to the microsecond
    return best
