"""Pictures of simulated machined faces, half of them with a scratch or a pit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nodeagent.sources.simulators import casting

SIZE = casting.SIZE


def faces(count: int, *, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pictures [count, SIZE, SIZE] and truth: 1 has a defect, of either kind and of a severity from 0.6 to 1."""
    rng = np.random.default_rng(seed)
    pictures, truth = [], []
    for _ in range(count):
        defect = casting.FAULTS[int(rng.integers(len(casting.FAULTS)))] if rng.random() < 0.5 else None
        pictures.append(casting.face(rng, defect=defect, severity=float(rng.uniform(0.6, 1.0))))
        truth.append(int(defect is not None))
    return np.stack(pictures), np.array(truth)


def scaled(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """As the step `image.prepare` of pipeline.toml makes them: [count, 1, SIZE, SIZE], 0 to 1."""
    return (pictures[:, None].astype(np.float32) * np.float32(1 / 255)).astype(np.float32)
