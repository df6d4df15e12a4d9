"""Golden vectors: inputs and the outputs that a node must reproduce before a bundle may run (`golden.npz`).

For each model input an array `input.<name>`, for each output that is compared `output.<name>`; the first axis of all is
the case, the rest is what the model takes and gives at one run. Floats agree within RTOL and ATOL_SHARE of the largest
value of the output, since processors round differently; everything else agrees exactly.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CASES_MAX: Final = 10_000
RTOL: Final = 1e-3
ATOL_SHARE: Final = 1e-4


class GoldenMismatch(Exception):
    """The model does not give the outputs that its bundle promises, or the vectors cannot be read."""


class Golden:
    """The vectors of one bundle."""

    def __init__(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        self._inputs = inputs
        self._outputs = outputs
        lengths = {len(array) for array in (*inputs.values(), *outputs.values())}
        if not inputs or not outputs or len(lengths) != 1:
            raise GoldenMismatch("golden vectors need input.<name> and output.<name>, one case a row, equally many")
        self.cases = lengths.pop()
        if not 0 < self.cases <= CASES_MAX:
            raise GoldenMismatch(f"{self.cases} golden cases; between 1 and {CASES_MAX} may be there")

    @classmethod
    def read(cls, path: Path) -> Golden:
        """Reads a golden.npz; nothing in it can run. Raises GoldenMismatch."""
        parts: dict[str, dict[str, Array]] = {"input": {}, "output": {}}
        try:
            with np.load(path, allow_pickle=False) as archive:
                for key in archive.files:
                    kind, _, name = key.partition(".")
                    if kind not in parts or not name:
                        raise GoldenMismatch(f"golden vectors hold {key!r}, which is neither input.* nor output.*")
                    parts[kind][name] = archive[key]
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise GoldenMismatch(f"golden vectors cannot be read: {error}") from error
        return cls(parts["input"], parts["output"])

    def check(self, run: Callable[[dict[str, Array]], Mapping[str, Array]], input_names: list[str]) -> int:
        """Runs every case; how many there were. Raises GoldenMismatch with the worst value where it differs."""
        if set(self._inputs) != set(input_names):
            raise GoldenMismatch(f"golden vectors are for the inputs {sorted(self._inputs)}, not {sorted(input_names)}")
        for case in range(self.cases):
            got = run({name: array[case] for name, array in self._inputs.items()})
            for name, wanted in self._outputs.items():
                if name not in got:
                    raise GoldenMismatch(f"the model has no output {name!r}")
                _compare(case, name, wanted[case], np.asarray(got[name]))
        return self.cases


def _compare(case: int, name: str, wanted: Array, got: Array) -> None:
    if wanted.shape != got.shape:
        raise GoldenMismatch(f"case {case}: {name} has shape {list(got.shape)} and not {list(wanted.shape)}")
    if wanted.dtype.kind != "f":
        same = np.array_equal(wanted, got)
    else:
        scale = float(np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0.0))
        same = bool(np.allclose(got, wanted, rtol=RTOL, atol=ATOL_SHARE * scale, equal_nan=True))
    if not same:
        at = int(np.argmax(np.abs(np.nan_to_num(got.astype(np.float64) - wanted)))) if wanted.dtype.kind in "fiu" else 0
        raise GoldenMismatch(f"case {case}: {name} gave {got.reshape(-1)[at]} and not {wanted.reshape(-1)[at]}")
