"""The Open Inference Protocol v2: infer requests to calls of a model. No I/O; answers are made by oip_answers.py.

A request's JSON header, where it carries no data and no id, is decoded and checked once: clients send the same header
before each binary tensor, so the plan made of it is found again by its bytes. A JSON request is found again by what
stands around its numbers (oip_json.py). Contract: the KServe / Triton "binary tensor data extension"; every refusal
is a 400 in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from nodeagent.http.message import HttpError, Reply
from nodeagent.model.tensors import (
    DIMENSIONS_MAX,
    DTYPES,
    Array,
    TensorError,
    TensorSpec,
    elements,
    from_json,
    strings_from_binary,
)
from nodeagent.serving.oip_call import Call, Piece, Plan, signature_of
from nodeagent.serving.oip_json import Templates

PLANS_KEPT_MAX = 128
PLAN_KEPT_BYTES_MAX = 4_096
ELEMENTS_MAX = 1 << 28


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Infer(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] | None = None
    id: str | None = None
    parameters: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Infer)


class Requests:
    """Infer requests of one model and version."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._input_at = {spec.name: index for index, spec in enumerate(inputs)}
        self._output_at = {spec.name: index for index, spec in enumerate(outputs)}
        self._plans: dict[bytes, Plan] = {}
        self._templates = Templates()

    def decode(self, body: bytes, header_length: str | None, reply: Reply) -> Call:
        """The call that a request's body asks for. Raises HttpError with a text for the client."""
        if header_length is None:
            return self._templates.call(body, reply) or self._decode_new(body, len(body), reply)
        if not (header_length.isascii() and header_length.isdigit()) or int(header_length) > len(body):
            raise _wrong("Inference-Header-Content-Length is not a length within the body")
        end = int(header_length)
        plan = self._plans.get(body[:end])
        if plan is not None and plan.body_bytes == len(body):
            return Call(plan, body, None, reply)
        return self._decode_new(body, end, reply)

    def _decode_new(self, body: bytes, end: int, reply: Reply) -> Call:
        try:
            asked = _decoder.decode(memoryview(body)[:end])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _wrong(f"the request is not an infer request: {error}") from error
        plan, arrays = self._plan(asked, body, end)
        if arrays is None and plan.id is None and 0 < end <= PLAN_KEPT_BYTES_MAX:
            if len(self._plans) >= PLANS_KEPT_MAX:
                self._plans.clear()
            self._plans[body[:end]] = plan
        if arrays is not None and len(arrays) == 1 and plan.id is None and end == len(body):
            self._templates.learn(body, asked.inputs[0].data, plan, arrays[0])
        return Call(plan, body, arrays, reply)

    def _plan(self, asked: _Infer, body: bytes, end: int) -> tuple[Plan, list[Array] | None]:
        pieces: list[Piece | None] = [None] * len(self._inputs)
        arrays: list[Array | None] = [None] * len(self._inputs)
        given: set[str] = set()
        at = end
        for tensor in asked.inputs:
            index = self._input_index(tensor, given)
            shape = self._shape(tensor, self._inputs[index])
            size = _binary_size(tensor.parameters)
            if size is None:
                arrays[index] = _from_json(tensor, shape)
                continue
            if at + size > len(body):
                raise _wrong(f"input {tensor.name!r}: binary_data_size {size} runs past the end of the body")
            pieces[index], arrays[index] = _binary(tensor, shape, at, body[at : at + size])
            at += size
        missing = [spec.name for spec in self._inputs if spec.name not in given]
        if missing:
            raise _wrong(f"input {missing[0]!r} is missing; the model takes {self._names(self._inputs)}")
        if at != len(body):
            raise _wrong(f"{len(body) - at} bytes behind the last tensor")
        all_binary = all(piece is not None for piece in pieces)
        outputs = self._asked_outputs(asked)
        plan = Plan(
            pieces=pieces,
            body_bytes=len(body),
            rows=0,
            signature=None,
            outputs=outputs,
            fixed=all(binary and self._outputs[index].datatype != "BYTES" for index, binary in outputs),
            written=not any(binary or self._outputs[index].datatype == "BYTES" for index, binary in outputs),
            id=asked.id,
            timeout_us=_timeout_us(asked.parameters),
        )
        whole = [piece.view(body) if piece is not None else arrays[n] for n, piece in enumerate(pieces)]
        feeds = [array for array in whole if array is not None]
        plan.rows, plan.signature = signature_of(feeds)
        return plan, None if all_binary else feeds

    def _input_index(self, tensor: _Input, given: set[str]) -> int:
        index = self._input_at.get(tensor.name)
        if index is None:
            raise _wrong(f"input {tensor.name[:80]!r} is unknown; the model takes {self._names(self._inputs)}")
        if tensor.name in given:
            raise _wrong(f"input {tensor.name!r} is given twice")
        given.add(tensor.name)
        wanted = self._inputs[index].datatype
        if tensor.datatype != wanted:
            raise _wrong(f"input {tensor.name!r} is {wanted}, not {tensor.datatype[:40]!r}")
        return index

    def _shape(self, tensor: _Input, spec: TensorSpec) -> tuple[int, ...]:
        shape = tuple(tensor.shape)
        fits = spec.shape is None or (
            len(shape) == len(spec.shape)
            and all(want in (-1, have) for want, have in zip(spec.shape, shape, strict=True))
        )
        if not fits:
            raise _wrong(
                f"input {tensor.name!r} has shape {list(spec.shape or ())}, not {list(shape)[:DIMENSIONS_MAX]}"
            )
        if len(shape) > DIMENSIONS_MAX or any(size < 0 for size in shape) or elements(shape) > ELEMENTS_MAX:
            raise _wrong(f"input {tensor.name!r}: shape {list(shape)[:DIMENSIONS_MAX]} is not possible here")
        return shape

    def _asked_outputs(self, asked: _Infer) -> list[tuple[int, bool]]:
        every = bool((asked.parameters or {}).get("binary_data_output", False))
        if not asked.outputs:
            wanted = [(index, every) for index in range(len(self._outputs))]
        else:
            wanted = []
            for output in asked.outputs:
                index = self._output_at.get(output.name)
                if index is None:
                    known = self._names(self._outputs)
                    raise _wrong(f"output {output.name[:80]!r} is unknown; the model gives {known}")
                wanted.append((index, bool((output.parameters or {}).get("binary_data", every))))
        for index, binary in wanted:
            if self._outputs[index].datatype == "FP16" and not binary:
                raise _wrong(f"output {self._outputs[index].name!r} is FP16, which is binary only: ask for binary_data")
        return wanted

    @staticmethod
    def _names(specs: Sequence[TensorSpec]) -> str:
        return ", ".join(repr(spec.name) for spec in specs[:8])


def _binary_size(parameters: dict[str, Any] | None) -> int | None:
    size = (parameters or {}).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise _wrong("binary_data_size is not a length")
    return size


def _binary(tensor: _Input, shape: tuple[int, ...], at: int, raw: bytes) -> tuple[Piece | None, Array | None]:
    if tensor.data and bytes(tensor.data) != b"":
        raise _wrong(f"input {tensor.name!r} has both data and binary_data_size")
    if tensor.datatype == "BYTES":
        try:
            return None, strings_from_binary(raw, shape)
        except TensorError as error:
            raise _wrong(f"input {tensor.name!r}: {error}") from error
    dtype = DTYPES[tensor.datatype]
    needed = elements(shape) * dtype.itemsize
    if needed != len(raw):
        raise _wrong(f"input {tensor.name!r}: {len(raw)} bytes given, shape {list(shape)} needs {needed}")
    return Piece(at, at + len(raw), dtype, shape), None


def _from_json(tensor: _Input, shape: tuple[int, ...]) -> Array:
    if not bytes(tensor.data):
        raise _wrong(f"input {tensor.name!r} has no data")
    try:
        return from_json(tensor.data, tensor.datatype, shape)
    except TensorError as error:
        raise _wrong(f"input {tensor.name!r}: {error}") from error


def _timeout_us(parameters: dict[str, Any] | None) -> int:
    timeout = (parameters or {}).get("timeout", 0)
    if type(timeout) not in (int, float) or not math.isfinite(timeout) or timeout < 0:
        raise _wrong("parameter timeout is not a number of microseconds")
    return int(timeout)


def _wrong(text: str) -> HttpError:
    return HttpError("MODEL.INPUT", text)
