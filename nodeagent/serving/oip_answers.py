"""The Open Inference Protocol v2: a model's outputs to answers. No I/O; requests are read by oip.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from nodeagent.http.message import JSON_LINES, Response
from nodeagent.model.tensors import Array, TensorSpec, to_binary, to_json
from nodeagent.serving.oip_call import Plan

HEADS_KEPT_MAX = 64
_BINARY_LINES = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
_encoder = msgspec.json.Encoder()


class Answers:
    """Answers of one model and version."""

    def __init__(self, model: str, version: str, outputs: Sequence[TensorSpec]) -> None:
        self._outputs = outputs
        self._opening = msgspec.json.encode({"model_name": model, "model_version": version})[:-1]

    def encode(self, plan: Plan, outputs: Sequence[Array]) -> Response:
        """The answer to a call whose outputs are `outputs`, by output of the model."""
        if plan.fixed and len(plan.outputs) == 1:  # what most clients ask, once its head was made
            array = outputs[plan.outputs[0][0]]
            head = plan.heads.get((array.shape,))
            if head is not None:
                return Response(200, head + array.tobytes(), lines=_BINARY_LINES % len(head))
        arrays = [outputs[index] for index, _ in plan.outputs]
        if plan.written:
            return self._written(plan, [array.shape for array in arrays], [array.ravel().tolist() for array in arrays])
        raws = [to_binary(array) if binary else b"" for array, (_, binary) in zip(arrays, plan.outputs, strict=True)]
        return self._response(plan, arrays, raws)

    def encode_rows(self, plans: Sequence[Plan], outputs: Sequence[Array]) -> list[Response]:
        """The answers to calls that ran as one batch: each gets its own rows, cut out of the batch's bytes."""
        out: list[Response] = []
        at, last, cut, lists = 0, None, None, None
        for plan in plans:
            if plan is not last:  # clients that ask alike share a plan
                last, cut = plan, self._cut(plan, outputs) if plan.fixed else None
                lists = self._lists(plan, outputs) if plan.written else None
            if cut is not None:
                head, lines, columns = cut
                end = at + plan.rows
                parts = [raw[at * row_bytes : end * row_bytes] for raw, row_bytes in columns]
                out.append(Response(200, head + (parts[0] if len(parts) == 1 else b"".join(parts)), lines=lines))
            elif lists is not None:
                shapes, columns_of = lists
                values = [column[at * size : (at + plan.rows) * size] for column, size in columns_of]
                out.append(self._written(plan, shapes, values))
            else:
                arrays = [outputs[index][at : at + plan.rows] for index, _ in plan.outputs]
                raws = [
                    to_binary(part) if binary else b"" for part, (_, binary) in zip(arrays, plan.outputs, strict=True)
                ]
                out.append(self._response(plan, arrays, raws))
            at += plan.rows
        return out

    # ------------------------------------------------------------ binary

    def _cut(self, plan: Plan, outputs: Sequence[Array]) -> tuple[bytes, bytes, list[tuple[bytes, int]]]:
        """Head, header lines, and (bytes of the whole batch, bytes of a row) of each output that a fixed plan asks."""
        arrays = [outputs[index] for index, _ in plan.outputs]
        columns = [(array.tobytes(), array.nbytes // max(1, len(array))) for array in arrays]
        shapes = tuple((plan.rows, *array.shape[1:]) for array in arrays)
        head = plan.heads.get(shapes)
        if head is None:
            head = self._head(plan, arrays, shapes, [plan.rows * row_bytes for _, row_bytes in columns])
            _keep(plan.heads, shapes, head)
        return head, _BINARY_LINES % len(head), columns

    def _response(self, plan: Plan, arrays: Sequence[Array], raws: Sequence[bytes]) -> Response:
        shapes = tuple(array.shape for array in arrays)
        head = plan.heads.get(shapes) if plan.fixed else None
        if head is None:
            head = self._head(plan, arrays, shapes, [len(raw) for raw in raws])
            if plan.fixed:
                _keep(plan.heads, shapes, head)
        if not any(binary for _, binary in plan.outputs):
            return Response(200, head, lines=JSON_LINES)
        return Response(200, head + (raws[0] if len(raws) == 1 else b"".join(raws)), lines=_BINARY_LINES % len(head))

    def _head(self, plan: Plan, arrays: Sequence[Array], shapes: Sequence[Any], sizes: Sequence[int]) -> bytes:
        tensors: list[bytes] = []
        for (index, binary), array, shape, size in zip(plan.outputs, arrays, shapes, sizes, strict=True):
            start = self._start(index, shape)
            if binary:
                tensors.append(b'%s,"parameters":{"binary_data_size":%d}}' % (start, size))
            else:
                tensors.append(b'%s,"data":%s}' % (start, to_json(array)))
        return b'%s%s,"outputs":[%s]}' % (self._opening, _own_id(plan), b",".join(tensors))

    def _start(self, index: int, shape: Sequence[int]) -> bytes:
        spec = self._outputs[index]
        return msgspec.json.encode({"name": spec.name, "datatype": spec.datatype, "shape": list(shape)})[:-1]

    # ------------------------------------------------------------ numbers as text

    def _lists(self, plan: Plan, outputs: Sequence[Array]) -> tuple[list[tuple[int, ...]], list[tuple[list[Any], int]]]:
        """Shapes of an answer, and (values of the whole batch, values of a row) of each output that a plan asks."""
        arrays = [outputs[index] for index, _ in plan.outputs]
        columns = [(array.ravel().tolist(), array.size // max(1, len(array))) for array in arrays]
        return [(plan.rows, *array.shape[1:]) for array in arrays], columns

    def _written(self, plan: Plan, shapes: Sequence[tuple[int, ...]], values: Sequence[list[Any]]) -> Response:
        """An answer of numbers in JSON; what is not a finite number is null there."""
        key = tuple(shapes)
        around = plan.around.get(key)
        if around is None:
            around = self._around(plan, shapes)
            if plan.id is None:
                _keep(plan.around, key, around)
        if len(values) == 1:
            return Response(200, around[0] + _encoder.encode(values[0]) + around[1], lines=JSON_LINES)
        parts = [
            part for before, numbers in zip(around, values, strict=False) for part in (before, _encoder.encode(numbers))
        ]
        return Response(200, b"".join(parts) + around[-1], lines=JSON_LINES)

    def _around(self, plan: Plan, shapes: Sequence[tuple[int, ...]]) -> list[bytes]:
        """What stands before each list of numbers, and behind the last."""
        starts = [
            b'%s,"data":' % self._start(index, shape) for (index, _), shape in zip(plan.outputs, shapes, strict=True)
        ]
        opening = b'%s%s,"outputs":[' % (self._opening, _own_id(plan))
        return [(opening if number == 0 else b"},") + start for number, start in enumerate(starts)] + [b"}]}"]


def _own_id(plan: Plan) -> bytes:
    return b',"id":' + msgspec.json.encode(plan.id) if plan.id else b""


def _keep(kept: dict[Any, Any], shapes: Any, what: Any) -> None:
    if len(kept) >= HEADS_KEPT_MAX:
        kept.clear()
    kept[shapes] = what
