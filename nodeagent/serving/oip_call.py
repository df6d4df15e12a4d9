"""One infer request, decoded: where its tensors lie, and how those of several become the inputs of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from nodeagent.http.message import Reply
from nodeagent.model.tensors import Array


class Piece(msgspec.Struct, frozen=True):
    """Where one input's bytes lie in the body."""

    start: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def view(self, body: bytes) -> Array:
        """The tensor, in the body's own memory where that is aligned."""
        # Kernels sum in an order that depends on the address: a tensor at other than 16 bytes would make the last bits
        # of an answer depend on the length of the request's header. A bytes object starts at a multiple of 16.
        raw = body[self.start : self.end] if self.start % 16 else memoryview(body)[self.start : self.end]
        return _values(raw, self.dtype).reshape(self.shape)


class Plan(msgspec.Struct, kw_only=True):
    """What a header asks for. `rows` is the first dimension that all inputs share; calls of one `signature` batch."""

    pieces: list[Piece | None]  # by input of the model; None where the data are in the JSON
    body_bytes: int
    rows: int
    signature: tuple[Any, ...] | None
    outputs: list[tuple[int, bool]]  # (output of the model, binary)
    fixed: bool  # all are binary and of a size that their shape tells: one head for every answer of a shape
    written: bool  # all are numbers in the JSON: one text around them for every answer of a shape
    id: str | None
    timeout_us: int
    heads: dict[tuple[Any, ...], bytes] = {}
    around: dict[tuple[Any, ...], list[bytes]] = {}


class Numbers(NamedTuple):
    """The type and shape of an input whose values came as one list of numbers."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Call:
    """One request, decoded: `arrays` by input of the model; or None where `plan` says how to read `body`, and where
    the one input is `values`, in the shape and type of `numbers`."""

    __slots__ = ("arrays", "body", "numbers", "plan", "queued_ns", "reply", "values")

    def __init__(
        self,
        plan: Plan,
        body: bytes,
        arrays: list[Array] | None,
        reply: Reply,
        values: list[Any] | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        self.plan = plan
        self.body = body
        self.arrays = arrays
        self.reply = reply
        self.values = values
        self.numbers = numbers
        self.queued_ns = 0

    def feeds(self) -> list[Array]:
        """The inputs as arrays, in the model's order; they share the body's memory where it is aligned."""
        if self.arrays is not None:
            return self.arrays
        if self.numbers is not None:
            return [np.array(self.values, self.numbers.dtype).reshape(self.numbers.shape)]
        return [piece.view(self.body) for piece in self.plan.pieces if piece is not None]


def _values(raw: bytes | memoryview, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "b":  # any byte that is not 0 is true; native code may rely on 0 and 1
        return np.frombuffer(raw, np.uint8).astype(bool)
    return np.frombuffer(raw, dtype)


def join(calls: Sequence[Call]) -> list[Array]:
    """The inputs of several calls of one signature, row after row: one array an input, one copy of the bytes."""
    if len(calls) == 1:
        return calls[0].feeds()
    first = calls[0].plan
    if first_numbers := _one_list(calls):
        numbers, values = first_numbers
        rows = sum([call.plan.rows for call in calls])
        return [np.array(values, numbers.dtype).reshape((rows, *numbers.shape[1:]))]
    if any(call.arrays is not None or call.numbers is not None for call in calls):
        return [np.concatenate(columns) for columns in zip(*(call.feeds() for call in calls), strict=True)]
    rows = sum(call.plan.rows for call in calls)
    out: list[Array] = []
    for index, piece in enumerate(first.pieces):
        assert piece is not None
        places = [(call.body, call.plan.pieces[index]) for call in calls]
        raw = b"".join([body[at.start : at.end] for body, at in places if at is not None])
        out.append(_values(raw, piece.dtype).reshape((rows, *piece.shape[1:])))
    return out


def _one_list(calls: Sequence[Call]) -> tuple[Numbers, list[Any]] | None:
    """The values of all calls one after another, where each call's only input is a list of numbers."""
    numbers, values = calls[0].numbers, []
    if numbers is None:
        return None
    for call in calls:
        if call.values is None:
            return None
        values += call.values
    return numbers, values


def signature_of(feeds: Sequence[Array]) -> tuple[int, tuple[Any, ...] | None]:
    """(rows, what must be equal for calls to share a batch); None: this call runs alone."""
    if not feeds or any(array.ndim == 0 or array.dtype.kind == "O" for array in feeds):
        return 0, None
    rows = len(feeds[0])
    if rows == 0 or any(len(array) != rows for array in feeds):
        return rows, None
    return rows, tuple((array.dtype.str, array.shape[1:]) for array in feeds)
