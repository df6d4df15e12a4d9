"""A waveform or a picture out of what a protocol carried: bounded, and of numbers alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from nodeagent.pipeline import registry
from nodeagent.sources.json_path import Missing
from nodeagent.sources.readings import Unreadable, picture

Kind = Literal["number", "waveform", "image"]
SAMPLES_MAX: Final = 1 << 20
IMAGE_BYTES_MAX: Final = 16 << 20
WAITING_MAX: Final = 32


class HasKind(Protocol):
    """A tag that says what it holds."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...


def leads(tags: Sequence[HasKind]) -> bool:
    """Whether the first tag is a waveform or an image, which sets the pace. Raises ValueError where another one is."""
    for tag in tags[1:]:
        if tag.kind != "number":
            raise ValueError(f"the tag {tag.name!r} is no number: one waveform or image a source, as its first tag")
    if tags[0].kind == "image":
        try:
            registry.require("PIL")
        except registry.NotInstalled as error:
            raise ValueError(f"an image {error}") from error
    return tags[0].kind != "number"


def waveform(value: object, *, scale: float = 1.0, offset: float = 0.0) -> npt.NDArray[np.float32]:
    """The samples of a list of numbers, as float32. Raises Missing, saying what came instead."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise Missing(f"not a waveform but {_what(value)}")
    if not 0 < len(value) <= SAMPLES_MAX:
        raise Missing(f"a waveform of {len(value)} samples; it has 1 to {SAMPLES_MAX}")
    try:
        array: npt.NDArray[Any] = np.asarray(value)
    except ValueError:
        raise Missing("not a waveform: rows of different length") from None
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise Missing("not a waveform: it holds more than numbers")
    with np.errstate(over="ignore"):
        return (array * scale + offset).astype(np.float32)


def image(value: object) -> npt.NDArray[Any]:
    """The pixels of a PNG, JPEG, PGM or PPM. Raises Missing, saying what came instead."""
    if not isinstance(value, bytes):
        raise Missing(f"not an image but {_what(value)}")
    if len(value) > IMAGE_BYTES_MAX:
        raise Missing(f"an image of {len(value)} bytes; at most {IMAGE_BYTES_MAX}")
    try:
        return picture(io.BytesIO(value))
    except (Unreadable, OSError, ValueError, EOFError) as error:
        raise Missing(f"not an image: {str(error) or type(error).__name__}") from error


def _what(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool | int | float):
        return "a number"
    if isinstance(value, str | bytes):
        return "text" if isinstance(value, str) else f"{len(value)} bytes"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
