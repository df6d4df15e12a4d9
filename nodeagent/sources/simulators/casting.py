"""A machined face of a casting seen by a camera: turning marks, a dark rim, and sometimes a scratch or a pit."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

SIZE: Final = 64
FAULTS: Final = ("scratch", "pit")
_RADIUS, _RIM_GREY = 28, 40.0


def face(rng: np.random.Generator, *, defect: str | None = None, severity: float = 1.0) -> npt.NDArray[np.uint8]:
    """A grey image, SIZE x SIZE. `defect` is one of FAULTS; `severity` from 0 (hardly there) to 1 (plain)."""
    marks = 20 * np.sin(np.arange(SIZE) / rng.uniform(2, 4) + rng.uniform(0, 6)) * rng.uniform(0.3, 1)
    image = rng.normal(128, 6, (SIZE, SIZE)) + marks[None]
    y, x = np.mgrid[:SIZE, :SIZE]
    centre = SIZE // 2
    on_face = (y - centre) ** 2 + (x - centre) ** 2 < _RADIUS**2
    image = np.where(on_face, image, _RIM_GREY + rng.normal(0, 4, (SIZE, SIZE)))
    if defect == "scratch":
        _scratch(rng, image, severity)
    elif defect == "pit":
        at_x, at_y = rng.uniform(18, SIZE - 18, 2)
        depth, width = rng.uniform(50, 90) * severity, rng.uniform(1.5, 3)
        image -= depth * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * width**2))
    return np.clip(image * rng.uniform(0.9, 1.1), 0, 255).astype(np.uint8)


def _scratch(rng: np.random.Generator, image: npt.NDArray[np.float64], severity: float) -> None:
    angle = rng.uniform(0, np.pi)
    centre_x, centre_y = rng.uniform(20, SIZE - 20, 2)
    along = np.linspace(-1, 1, 200) * rng.uniform(8, 20)
    xs = np.clip((centre_x + along * np.cos(angle)).astype(np.int64), 0, SIZE - 1)
    ys = np.clip((centre_y + along * np.sin(angle)).astype(np.int64), 0, SIZE - 1)
    image[ys, xs] -= rng.uniform(40, 90) * severity
