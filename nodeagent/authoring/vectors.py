"""Golden vectors, made: inputs and what the model says to each, as the golden.npz that nodes check themselves by."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nodeagent.model.tensors import DTYPES, TensorSpec

Array = npt.NDArray[Any]
CASES: Final = 16
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def npz(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> bytes:
    """The content of a golden.npz, first axis the case. The same arrays give the same bytes."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        for prefix, arrays in (("input", inputs), ("output", outputs)):
            for name, array in arrays.items():
                data = io.BytesIO()
                np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
                info = zipfile.ZipInfo(f"{prefix}.{name}.npy", _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data.getvalue())
    return stored.getvalue()


def noise(specs: Sequence[TensorSpec], cases: int = CASES) -> list[dict[str, Array]]:
    """Inputs of which nothing is known: one of zeros, the others normal; a size that is free is 1. Seeded."""
    random = np.random.default_rng(0)
    return [{spec.name: _values(spec, random, zero=case == 0) for spec in specs} for case in range(cases)]


def _values(spec: TensorSpec, random: np.random.Generator, *, zero: bool) -> Array:
    shape = tuple(size if size >= 0 else 1 for size in spec.shape or ())
    dtype = DTYPES[spec.datatype]
    if zero or dtype.kind in "biu":  # a number that counts something is not known to be any other
        return np.zeros(shape, dtype)
    return random.normal(size=shape).astype(dtype)


def answered(cases: Sequence[dict[str, Array]], run: Callable[[dict[str, Array]], Mapping[str, Array]]) -> bytes:
    """The golden.npz of `cases`, each run by itself. Outputs whose shape differs from case to case are left out.

    Raises ValueError where no output is left to compare, and what `run` raises.
    """
    said = [run(case) for case in cases]
    steady = [
        name
        for name, first in said[0].items()
        if first.dtype.kind in "biuf" and all(each[name].shape == first.shape for each in said)
    ]
    if not steady:
        raise ValueError("no output of the model is a number of one shape for every input: nothing can be compared")
    inputs = {name: np.stack([case[name] for case in cases]) for name in cases[0]}
    return npz(inputs, {name: np.stack([each[name] for each in said]) for name in steady})
