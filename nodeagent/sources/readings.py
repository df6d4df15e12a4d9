"""Files that hold plant data: .csv of sweeps, .npy of sweeps or waves, pictures; bounded, no pickles."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from nodeagent.frame import Floats

FILE_BYTES_MAX: Final = 256 << 20
PIXELS_MAX: Final = 64 << 20
PICTURES: Final = (".png", ".jpg", ".jpeg", ".pgm", ".ppm")
SUFFIXES: Final = (".csv", ".npy", *PICTURES)
_FORMATS: Final = ("PNG", "JPEG", "PPM")


class Unreadable(Exception):
    """A file that is not what its name says, or too large; the text says why."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """One frame's worth: sweep values, or a waveform or picture. `time_s`: Unix seconds where the file tells them."""

    values: Floats
    blob: npt.NDArray[Any] | None = None
    time_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Readings:
    """What a file holds, in order. `names`: its tags; for waveforms and pictures the one name they were asked for."""

    names: tuple[str, ...]
    readings: Sequence[Reading]

    def __iter__(self) -> Iterator[Reading]:
        return iter(self.readings)


def read(path: Path, *, id: str, tags: Sequence[str] | None = None, time: str = "") -> Readings:  # noqa: A002
    """Reads `path`. `tags`: columns to take (of a .npy: what its columns are). `time`: the column of Unix seconds.

    A .npy without `tags` is one blob. Raises Unreadable.
    """
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise Unreadable(f"{size} bytes are more than {FILE_BYTES_MAX}")
        match path.suffix.lower():
            case ".csv":
                return _csv(path, tags, time)
            case ".npy":
                return _array(path, id, tags)
            case suffix if suffix in PICTURES:
                return Readings((id,), [Reading(np.zeros(1), picture(path))])
    except (OSError, ValueError, EOFError) as error:
        raise Unreadable(str(error) or type(error).__name__) from error
    raise Unreadable(f"no {', '.join(SUFFIXES)}")


def each_along_first_axis(readings: Readings) -> Readings:
    """Blobs that lie one behind another in one array, as readings of their own."""
    if len(readings.readings) != 1 or readings.readings[0].blob is None:
        return readings
    return Readings(readings.names, [Reading(np.zeros(1), blob) for blob in readings.readings[0].blob])


def _csv(path: Path, tags: Sequence[str] | None, time: str) -> Readings:
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        semicolons = ";" in first and "," not in first  # a spreadsheet where the comma is in the numbers
        file.seek(0)
        rows = csv.reader(file, delimiter=";" if semicolons else ",")
        header = next(rows, [])
        names = tuple(tags) if tags is not None else tuple(name for name in header if name != time)
        missing = [name for name in (*names, *([time] if time else [])) if name not in header]
        if missing or not names:
            raise Unreadable(f"no column {missing[0]!r}" if missing else "no header")
        places = [header.index(name) for name in names]
        at_time = header.index(time) if time else None
        readings = []
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise Unreadable(f"line {rows.line_num} has {len(row)} columns and the header {len(header)}")
            if semicolons:
                row = [text.replace(",", ".") for text in row]
            values = np.array([_number(row[place]) for place in places])
            readings.append(Reading(values, time_s=None if at_time is None else _number(row[at_time])))
    return Readings(names, readings)


def _number(text: str) -> float:
    """Empty is missing; what is no number is missing too, since plants export `Bad` and `#N/A`."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _array(path: Path, id: str, tags: Sequence[str] | None) -> Readings:  # noqa: A002
    array = np.load(path, allow_pickle=False)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_) or array.ndim == 0:
        raise Unreadable(f"an array of {array.dtype}")
    if tags is None:
        return Readings((id,), [Reading(np.zeros(1), array)])
    if array.ndim != 2 or array.shape[1] != len(tags):
        raise Unreadable(f"an array of {array.shape} for {len(tags)} tags")
    return Readings(tuple(tags), [Reading(row) for row in array.astype(np.float64)])


def picture(file: Path | BinaryIO) -> npt.NDArray[Any]:
    """The pixels of a PNG, JPEG, PGM or PPM. Raises Unreadable, OSError, ValueError or EOFError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=_FORMATS) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                raise Unreadable(f"{opened.width}x{opened.height} pixels are more than {PIXELS_MAX}")
            return np.asarray(opened if opened.mode in ("L", "RGB") else opened.convert("RGB"))
    except UnidentifiedImageError:  # its text is where the bytes lie in memory
        raise Unreadable(f"no {', '.join(_FORMATS)}") from None
    except (SyntaxError, Image.DecompressionBombError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise Unreadable(str(error)) from error
