"""What the training data looked like: fixed-bin histograms whose edges travel, and thresholds from its own windows.

PSI = sum((q - p) ln(q / p)) over bins, counts smoothed by one half. The usual 0.1 and 0.25 fire on every clean window
of autocorrelated plant data, so each threshold is 1.1 times the 99th percentile of the PSI between the training data
and its own windows of that length, and at least 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nodeagent.pipeline.drift import histogram, psi

SCHEMA = 1
BINS = 10
PSI_MIN = 0.1
SHARE_QUANTILE = 0.995
_QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
Floats = npt.NDArray[np.floating[Any]]


def baseline(
    inputs: Mapping[str, Floats],
    scores: Floats,
    *,
    output: str,
    windows: Sequence[int],
    limit: float,
    stride: int = 1,
    contexts: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The content of baseline.json. Rows are in order of time, one of `stride` predictions.

    `windows` are lengths in predictions. `limit` is the score over which a prediction counts for `share_max`, the
    largest share of a clean window. `contexts`: of each row, as the node will say it (`product=A4`): then each context
    gets a baseline of its own, and the node compares like with like. ValueError: too few rows for a window.
    """
    score = _column(scores, windows, stride) | {"output": output, "limit": _round(limit)}
    score["share_max"] = {str(length): _share_max(scores > limit, length // stride) for length in windows}
    own = {}
    for context in sorted(set(contexts or ())):
        rows = np.array([each == context for each in contexts or ()])
        try:
            own[context] = baseline(
                {name: values[rows] for name, values in inputs.items()},
                scores[rows],
                output=output,
                windows=windows,
                limit=limit,
                stride=stride,
            )
        except ValueError as error:
            raise ValueError(f"{context}: {error}") from error
    return {
        "schema": SCHEMA,
        **({"contexts": own} if own else {}),
        "rows": len(scores),
        "windows": list(windows),
        "inputs": {name: _column(values, windows, stride) for name, values in inputs.items()},
        "score": score,
    }


def _column(values: Floats, windows: Sequence[int], stride: int) -> dict[str, Any]:
    edges = np.unique([_round(v) for v in np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])])
    counts = histogram(values, edges.tolist())
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "mean": _round(values.mean()),
        "std": _round(values.std()),
        "min": _round(values.min()),
        "max": _round(values.max()),
        "quantiles": {str(q): _round(np.quantile(values, q)) for q in _QUANTILES},
        "psi_max": {str(length): _psi_max(values, edges.tolist(), counts, length // stride) for length in windows},
    }


def _psi_max(values: Floats, edges: list[float], counts: npt.NDArray[np.int64], length: int) -> float:
    found = [psi(histogram(part, edges), counts) for part in _parts(values, length)]
    return _round(max(PSI_MIN, 1.1 * float(np.quantile(found, 0.99))))


def _share_max(over: npt.NDArray[np.bool_], length: int) -> float:
    shares = [float(part.mean()) for part in _parts(over, length)]
    return _round(max(4 * (1 - SHARE_QUANTILE), 1.5 * max(shares)))


def _parts(values: npt.NDArray[Any], length: int) -> list[npt.NDArray[Any]]:
    if length > len(values):
        raise ValueError(f"a window of {length} predictions, and only {len(values)} to calibrate it on")
    step = max(1, length // 2)
    return [values[at : at + length] for at in range(0, len(values) - length + 1, step)]


def _round(value: Any) -> float:
    return float(f"{float(value):.6g}")
