"""The datatypes of the Open Inference Protocol and their bytes: numpy arrays from JSON or binary and back.

FP16 has no JSON form in the protocol, so it is binary only. BYTES are UTF-8 strings, since ONNX strings are text.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DIMENSIONS_MAX = 16
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
_ELEMENTS: dict[str, Any] = {"b": bool, "u": int, "i": int, "f": float, "O": str}
_LENGTH = struct.Struct("<I")


class TensorError(Exception):
    """Data that do not make a tensor of the datatype and shape that they claim."""


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output. `shape` has -1 where any size goes; None: any shape."""

    name: str
    datatype: str
    shape: tuple[int, ...] | None


def elements(shape: tuple[int, ...]) -> int:
    """How many values a shape holds."""
    count = 1
    for size in shape:
        count *= size
    return count


@functools.lru_cache(maxsize=128)
def _decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    type_: Any = _ELEMENTS[kind]
    for _ in range(depth):
        type_ = list[type_]
    return msgspec.json.Decoder(type_)


def flat_decoder(dtype: np.dtype[Any]) -> msgspec.json.Decoder[Any]:
    """The decoder of a flat JSON list of values of a type."""
    return _decoder(dtype.kind, 1)


def from_json(data: msgspec.Raw, datatype: str, shape: tuple[int, ...]) -> Array:
    """An array from JSON data, flat or nested as the shape, without any conversion that loses a value."""
    dtype = DTYPES[datatype]
    if datatype == "FP16":
        raise TensorError("FP16 has no JSON form: send it as binary data")
    values: Any
    try:
        values = _decoder(dtype.kind, 1).decode(data)
    except msgspec.ValidationError as flat_error:
        if len(shape) < 2:
            raise TensorError(f"data is not {datatype}: {flat_error}") from flat_error
        try:
            values = _decoder(dtype.kind, len(shape)).decode(data)
        except msgspec.ValidationError as error:
            raise TensorError(f"data is neither a flat nor a nested list of {datatype}: {error}") from error
    try:
        with np.errstate(over="raise"):
            array = np.array(values, dtype=dtype)
    except (OverflowError, FloatingPointError) as error:
        raise TensorError(f"a value is out of range for {datatype}") from error
    except ValueError as error:
        raise TensorError("nested lists of unequal length") from error
    if array.size != elements(shape) or (array.ndim > 1 and array.shape != shape):
        raise TensorError(f"{array.size} elements do not make shape {list(shape)}")
    return array.reshape(shape)


def strings_from_binary(raw: bytes, shape: tuple[int, ...]) -> Array:
    """BYTES elements: each a length (4 bytes, little-endian) and that many bytes of UTF-8."""
    count = elements(shape)
    out: list[str] = []
    at = 0
    while len(out) < count and at + 4 <= len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 4
        if at + length > len(raw):
            raise TensorError("a BYTES element runs past the end of its data")
        try:
            out.append(raw[at : at + length].decode("utf-8"))
        except UnicodeDecodeError as error:
            raise TensorError("a BYTES element is not UTF-8 text") from error
        at += length
    if len(out) != count or at != len(raw):
        raise TensorError(f"the BYTES data do not hold exactly {count} elements")
    array = np.empty(count, dtype=object)
    array[:] = out
    return array.reshape(shape)


def to_binary(array: Array) -> bytes:
    """The array's values in row-major order, little-endian."""
    if array.dtype.kind != "O":
        return array.tobytes()
    out: list[bytes] = []
    for text in array.ravel().tolist():
        raw = text if isinstance(text, bytes) else str(text).encode("utf-8")
        out += (_LENGTH.pack(len(raw)), raw)
    return b"".join(out)


def to_json(array: Array) -> bytes:
    """The array's values as one flat JSON list; what is not a finite number becomes null."""
    if array.dtype.kind == "O":
        texts = [text.decode("utf-8") if isinstance(text, bytes) else text for text in array.ravel().tolist()]
        return msgspec.json.encode(texts)
    return msgspec.json.encode(array.ravel().tolist())
