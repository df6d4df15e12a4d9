"""What a fine-tuned model costs on the wire: bytes of the difference beside the bytes that changed, 5 % of the file.

The limit is the changed bytes: to say where they are costs nothing there. At most 1.2 of it is the budget.
"""

from __future__ import annotations

import io
import mmap
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.row import Row
from store import delta, differ
from store.bundle import digest_of

WEIGHTS = 195_312 * 64
SHARE = 0.05
GOAL = 1.2
Floats = npt.NDArray[np.float32]


def run() -> list[Row]:
    """50 MB of float32 weights, tuned in four ways; and what making and applying a difference takes."""
    rng = np.random.default_rng(1)
    old = (rng.standard_normal(WEIGHTS) * 0.05).astype("<f4")
    rows = []
    for name, tune in TUNINGS.items():
        new = tune(old, rng)
        changed = int((old.view("u1") != new.view("u1")).sum())
        made, make_s, apply_s = _measured(old.tobytes(), new.tobytes())
        note = f"{changed / old.nbytes:.1%} of the bytes, made in {make_s:.1f} s, applied in {apply_s:.1f} s"
        rows.append(Row(f"difference, {name}", made / 1e6, "MB", "MB changed", changed / 1e6, GOAL, note, less=True))
    return rows


def _scattered(old: Floats, rng: np.random.Generator) -> Floats:
    """Weights here and there, by about one percent of themselves."""
    new, moved = old.copy(), rng.random(len(old)) < SHARE * 1.44
    new[moved] *= 1 + rng.standard_normal(int(moved.sum())).astype("<f4") * np.float32(0.01)
    return new


def _layers(old: Floats, rng: np.random.Generator) -> Floats:
    """The last layers, all of their weights."""
    new, first = old.copy(), int(len(old) * (1 - SHARE * 1.4))
    new[first:] += (rng.standard_normal(len(old) - first) * 0.001).astype("<f4")
    return new


def _rows(old: Floats, rng: np.random.Generator) -> Floats:
    """Rows of 64 weights, as an embedding is tuned."""
    new = old.reshape(-1, 64).copy()
    chosen = rng.random(len(new)) < SHARE * 1.4
    new[chosen] += (rng.standard_normal((int(chosen.sum()), 64)) * 0.001).astype("<f4")
    return new.reshape(-1)


def _random(old: Floats, rng: np.random.Generator) -> Floats:
    """Weights here and there, replaced by noise in their lower three bytes: nothing can be under 1.227."""
    new, moved = old.copy(), rng.random(len(old)) < SHARE * 4 / 3
    noise = rng.integers(0, 1 << 24, int(moved.sum()), dtype="u4")
    new.view("u4")[moved] = (new.view("u4")[moved] & np.uint32(0xFF000000)) | noise
    return new


TUNINGS: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "scattered weights": _scattered,
    "last layers": _layers,
    "rows of an embedding": _rows,
    "scattered noise": _random,
}


def _measured(old: bytes, new: bytes) -> tuple[int, float, float]:
    """Bytes, seconds to make, seconds to apply. Raises AssertionError where it does not make the new one."""
    out, began_s = io.BytesIO(), time.perf_counter()
    made = differ.write_difference(_mapped(new), _mapped(old), (digest_of(new), digest_of(old)), out, len(new))
    made_s = time.perf_counter()
    out.seek(0)
    header = delta.read_header(out)
    pieces = b"".join(delta.patched(io.BytesIO(old), out, header.size))
    assert pieces == new
    return made, made_s - began_s, time.perf_counter() - made_s


def _mapped(data: bytes) -> differ.Region:
    mapped = mmap.mmap(-1, len(data))
    mapped.write(data)
    return differ.Region(mapped, 0, len(data))
