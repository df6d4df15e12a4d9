"""From the last frame to what a model eats: which values, in which order, of which type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from nodeagent.frame import BAD, GOOD, Floats, Frame, Qualities
from nodeagent.pipeline.errors import ModelFailed

Feeds = dict[str, npt.NDArray[Any]]
DTYPES: Final[Mapping[str, Any]] = {
    "FP32": np.float32,
    "FP64": np.float64,
    "FP16": np.float16,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


class Tensor(Protocol):
    """Name, Open Inference Protocol datatype and shape (-1: any) of one input or output of a model."""

    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...


class Inputs:
    """The plan from tags to model inputs. Raises ValueError where the model and the pipeline do not fit."""

    def __init__(self, wanted: list[str] | dict[str, list[str]], tensors: Sequence[Tensor]) -> None:
        if isinstance(wanted, list):
            if len(tensors) != 1:
                raise ValueError(f"the model has {len(tensors)} inputs: say which tags make up which one")
            wanted = {tensors[0].name: wanted}
        by_name = {tensor.name: tensor for tensor in tensors}
        if set(wanted) != set(by_name):
            raise ValueError(f"the inputs of the model are {', '.join(by_name)}")
        for tensor in tensors:
            if tensor.datatype not in DTYPES:
                raise ValueError(f"no tag makes a {tensor.datatype}, which the input {tensor.name!r} is")
            _check_width(tensor, len(wanted[tensor.name]))
        self.wanted = wanted
        self.tensors = by_name
        self.batchable = all(tensor.shape and tensor.shape[0] in (-1, None) for tensor in tensors)
        self._indices: dict[str, npt.NDArray[np.intp]] = {}
        self._all = np.zeros(0, np.intp)
        self._names: tuple[str, ...] | None = None

    def bind(self, names: tuple[str, ...]) -> None:
        """Gets ready for frames of these tags; raises ValueError for a tag that is not there."""
        place = {name: at for at, name in enumerate(names)}
        for tags in self.wanted.values():
            for tag in tags:
                if tag not in place:
                    raise ValueError(f"there is no tag {tag!r} at the model; there is: {', '.join(names)}")
        self._indices = {name: np.array([place[tag] for tag in tags], np.intp) for name, tags in self.wanted.items()}
        self._all = np.concatenate(list(self._indices.values()))
        self._names = names

    def quality(self, frame: Frame) -> tuple[int, str]:
        """The worst quality among the values that the model would see, and why."""
        worst = int(frame.quality[self._all].max(initial=GOOD))
        if worst == GOOD:
            return GOOD, ""
        culprits = [int(at) for at in self._all if frame.quality[at] == worst]
        reason = frame.reasons.get(culprits[0], "bad" if worst == BAD else "uncertain")
        more = f" and {len(culprits) - 1} more" if len(culprits) > 1 else ""
        return worst, f"{frame.names[culprits[0]]}: {reason}{more}"

    def reasons(self, frame: Frame) -> set[str]:
        """Every reason among the Bad values that the model would see."""
        return {frame.reasons.get(int(at), "") for at in self._all if frame.quality[at] == BAD}

    def row(self, frame: Frame) -> Feeds:
        """One row of each input, batch axis first. Raises ModelFailed where the shape is not what the model takes."""
        feeds: Feeds = {}
        for name, indices in self._indices.items():
            tensor = self.tensors[name]
            dtype = DTYPES[tensor.datatype]
            if frame.blob is not None and indices.tolist() == [0]:
                value = np.ascontiguousarray(frame.blob, dtype)
                value = value[None] if value.ndim == len(tensor.shape) - 1 else value
            else:
                value = frame.values[indices].astype(dtype)[None]
            _check_shape(tensor, value.shape)
            feeds[name] = value
        return feeds

    def rows(self, values: Floats) -> Feeds:
        """As `row` for many sweeps without a waveform, as one batch."""
        feeds: Feeds = {}
        for name, indices in self._indices.items():
            feeds[name] = values[:, indices].astype(DTYPES[self.tensors[name].datatype])
            _check_shape(self.tensors[name], (1, len(indices)))
        return feeds

    def worst(self, quality: Qualities) -> Qualities:
        """Of each sweep, the worst quality among the values that the model would see."""
        found: Qualities = quality[:, self._all].max(axis=1, initial=GOOD)
        return found


def _check_width(tensor: Tensor, tags: int) -> None:
    """Several tags make one row of numbers. One alone may be a waveform or a picture, which has any shape."""
    row = tuple(tensor.shape)[1:]
    if tags > 1 and (len(row) != 1 or row[0] not in (-1, None, tags)):
        raise ValueError(f"the input {tensor.name!r} takes {list(tensor.shape)}, and {tags} tags make [-1, {tags}]")


def _check_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    wanted = tuple(tensor.shape)
    fits = len(shape) == len(wanted) and all(w in (-1, None, n) for w, n in zip(wanted, shape, strict=True))
    if not fits:
        raise ModelFailed(f"the input {tensor.name!r} takes {list(wanted)}, and got {list(shape)}")


def stack(rows: Sequence[Feeds]) -> Feeds:
    """Rows of one model as one batch."""
    if len(rows) == 1:
        return rows[0]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def split(outputs: Mapping[str, npt.NDArray[Any]], count: int) -> list[dict[str, npt.NDArray[Any]]]:
    """What the model said, row by row. Raises ModelFailed where an output does not have a row for each input."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, value in outputs.items():
        array = np.asarray(value)
        if count == 1 and (array.ndim == 0 or array.shape[0] != 1):
            array = array[None]
        if array.shape[0] != count:
            raise ModelFailed(f"the output {name!r} has {array.shape[0]} rows for {count} inputs")
        arrays[name] = array
    return [{name: array[at] for name, array in arrays.items()} for at in range(count)]
