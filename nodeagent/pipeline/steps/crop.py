"""A part of a picture for the next model: where a detector saw something, in the size that the next one takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.options import Options

Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Box = tuple[int, int, int, int]


class CropOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is cut out of `of` (an input of the first model, [1, channels, height, width]) and given as `input`.

    `map`: an output of its height and width, whole or smaller; cut is the box around all of it at `at` and over.
    `boxes`: an output of boxes (left, top, right, bottom in pixels), of which the one with the highest of `scores` at
    `at` and over is cut. `margin` is added on each side, as a share of the box. `size`: height and width of the part.
    """

    input: str
    of: str = ""
    map: str = ""
    boxes: str = ""
    scores: str = ""
    at: float = 0.5
    margin: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    size: tuple[Side, Side]

    def __post_init__(self) -> None:
        if bool(self.map) == bool(self.boxes):
            raise ValueError("a crop has either a 'map' or 'boxes'")
        if bool(self.boxes) != bool(self.scores):
            raise ValueError("'boxes' and 'scores' belong together")


def cropped(
    picture: npt.NDArray[Any], said: Mapping[str, npt.NDArray[Any]], options: CropOptions
) -> npt.NDArray[np.float32] | None:
    """The part [1, channels, *size]; None where nothing was seen. Raises ModelFailed for shapes that do not fit."""
    if picture.ndim != 4 or picture.shape[0] != 1:
        raise ModelFailed(f"a part is cut out of one picture [1, channels, height, width], not of {picture.shape}")
    name = options.map or options.boxes
    if name not in said or (options.scores and options.scores not in said):
        raise ModelFailed(f"the detector has said no {name!r}")
    height, width = picture.shape[2], picture.shape[3]
    if options.map:
        box = _around(said[name], options.at, height, width)
    else:
        box = _best(said[name], said[options.scores], options.at)
    if box is None:
        return None
    left, top, right, bottom = _within(box, options.margin, height, width)
    return resized(picture[:, :, top:bottom, left:right].astype(np.float32), options.size)


def resized(picture: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Bilinear over the last two axes; pixel centres as Pillow and OpenCV have them, without smoothing first."""
    rows, row_share = _places(picture.shape[2], size[0])
    columns, column_share = _places(picture.shape[3], size[1])
    high = picture[:, :, rows] * (1 - row_share[:, None]) + picture[:, :, rows + 1] * row_share[:, None]
    out = high[..., columns] * (1 - column_share) + high[..., columns + 1] * column_share
    return np.ascontiguousarray(out, np.float32)


def _places(count: int, wanted: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each new place the old one before it, and how far it lies towards the next."""
    at = np.clip((np.arange(wanted) + 0.5) * count / wanted - 0.5, 0, max(0, count - 1))
    low = np.minimum(at.astype(np.intp), max(0, count - 2))
    share = (at - low).astype(np.float32)
    return (low, share) if count > 1 else (np.full(wanted, -1, np.intp), np.zeros(wanted, np.float32) + 1)


def _around(seen: npt.NDArray[Any], at: float, height: int, width: int) -> tuple[float, float, float, float] | None:
    if seen.ndim < 2 or seen.size != seen.shape[-2] * seen.shape[-1]:
        raise ModelFailed(f"a map has height and width; this output is {list(seen.shape)}")
    flat = seen.reshape(seen.shape[-2], seen.shape[-1])
    places = np.argwhere(flat >= at)
    if not len(places):
        return None
    rows, columns = places[:, 0], places[:, 1]
    down, across = height / flat.shape[0], width / flat.shape[1]
    return columns.min() * across, rows.min() * down, (columns.max() + 1) * across, (rows.max() + 1) * down


def _best(boxes: npt.NDArray[Any], scores: npt.NDArray[Any], at: float) -> tuple[float, float, float, float] | None:
    flat, found = scores.reshape(-1), boxes.reshape(-1, boxes.shape[-1])
    if found.shape[1] != 4 or len(found) != flat.size:
        raise ModelFailed(f"{list(boxes.shape)} boxes and {list(scores.shape)} scores do not belong together")
    if not flat.size or flat.max() < at or not np.all(np.isfinite(found[flat.argmax()])):
        return None
    left, top, right, bottom = found[flat.argmax()].tolist()
    return left, top, right, bottom


def _within(box: tuple[float, float, float, float], margin: float, height: int, width: int) -> Box:
    """The box with its margin in whole pixels inside the picture, at least one pixel."""
    left, top, right, bottom = box
    across, down = margin * (right - left), margin * (bottom - top)
    x0, y0 = (int(np.clip(np.floor(v), 0, most - 1)) for v, most in ((left - across, width), (top - down, height)))
    x1, y1 = int(np.clip(np.ceil(right + across), x0 + 1, width)), int(np.clip(np.ceil(bottom + down), y0 + 1, height))
    return x0, y0, x1, y1
