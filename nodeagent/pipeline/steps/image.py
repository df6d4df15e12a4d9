"""`image.prepare`: a picture as a model wants it. Pillow is loaded only where a picture has to change its size."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.frame import BAD, Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import Stateless, StepContext, lead

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


class PrepareOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`size` [height, width]; then pixel * scale, minus `mean`, over `deviation` by channel; float32 in `layout`."""

    size: tuple[Annotated[int, msgspec.Meta(ge=1, le=4096)], Annotated[int, msgspec.Meta(ge=1, le=4096)]]
    color: Literal["gray", "rgb"] = "gray"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __post_init__(self) -> None:
        channels = 1 if self.color == "gray" else 3
        for name in ("mean", "deviation"):
            if len(getattr(self, name)) not in (1, channels):
                raise ValueError(f"{name!r} has one number, or {channels}")
        if 0 in self.deviation:
            raise ValueError("a 'deviation' is 0")


class Prepare(Stateless):
    """A Bad picture passes untouched, since nothing will look at it."""

    def __init__(self, options: PrepareOptions, context: StepContext) -> None:
        self._options = options

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        if frame.blob is None or frame.blob.ndim not in (2, 3):
            return frame, frame.mark(lead(frame), BAD, "not an image")
        if frame.quality[0] < BAD:
            frame.blob = prepared(frame.blob, self._options)
        return frame, 0


def prepared(image: npt.NDArray[Any], options: PrepareOptions) -> npt.NDArray[np.float32]:
    """`image`, [height, width] or [height, width, channels] of 8 bits, as a batch of one. Also what training uses."""
    pixels: npt.NDArray[Any] = _coloured(image, options.color)
    if pixels.shape[:2] != options.size:
        pixels = _resized(pixels, options.size)
    ready: npt.NDArray[np.float32] = pixels.astype(np.float32) * np.float32(options.scale)
    ready = ready.reshape(*ready.shape[:2], -1)
    ready = ((ready - np.array(options.mean)) / np.array(options.deviation)).astype(np.float32)
    if options.layout == "NCHW":
        ready = np.moveaxis(ready, 2, 0)
    return np.ascontiguousarray(ready[None], np.float32)


def _coloured(image: npt.NDArray[Any], color: str) -> npt.NDArray[Any]:
    if color == "gray":
        if image.ndim == 2:
            return image
        return image[:, :, 0] if image.shape[2] == 1 else np.rint(image[:, :, :3] @ _GREY).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return image[:, :, :3]


def _resized(pixels: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    from PIL import Image

    picture = Image.fromarray(pixels.astype(np.uint8))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


STEPS: dict[str, tuple[type[Options], Any]] = {"image.prepare": (PrepareOptions, Prepare)}
