"""One infer request, decoded: where its tensors lie, and how those of several become the inputs of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    id: str | None
    timeout_us: int
    heads: dict[tuple[Any, ...], bytes] = {}


class Call:
    """One request, decoded: `arrays` by input of the model, or None where `plan` says how to read `body`."""

    __slots__ = ("arrays", "body", "plan", "queued_ns", "reply")

    def __init__(self, plan: Plan, body: bytes, arrays: list[Array] | None, reply: Reply) -> None:
        self.plan = plan
        self.body = body
        self.arrays = arrays
        self.reply = reply
        self.queued_ns = 0

    def feeds(self) -> list[Array]:
        """The inputs as arrays, in the model's order; they share the body's memory where it is aligned."""
        if self.arrays is not None:
            return self.arrays
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
    if any(call.arrays is not None for call in calls):
        return [np.concatenate(columns) for columns in zip(*(call.feeds() for call in calls), strict=True)]
    rows = sum(call.plan.rows for call in calls)
    out: list[Array] = []
    for index, piece in enumerate(first.pieces):
        assert piece is not None
        places = [(call.body, call.plan.pieces[index]) for call in calls]
        raw = b"".join([body[at.start : at.end] for body, at in places if at is not None])
        out.append(_values(raw, piece.dtype).reshape((rows, *piece.shape[1:])))
    return out


def signature_of(feeds: Sequence[Array]) -> tuple[int, tuple[Any, ...] | None]:
    """(rows, what must be equal for calls to share a batch); None: this call runs alone."""
    if not feeds or any(array.ndim == 0 or array.dtype.kind == "O" for array in feeds):
        return 0, None
    rows = len(feeds[0])
    if rows == 0 or any(len(array) != rows for array in feeds):
        return rows, None
    return rows, tuple((array.dtype.str, array.shape[1:]) for array in feeds)
