"""Reads the facts of an ONNX file, and refuses what must not be loaded, without any ONNX code. Standard library only.

Structure: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (field numbers below are its). External data are never
followed, always refused. What it cannot see is what a model does when it runs (endless loops, sizes computed from the
input): that is for the limits of the process that runs it.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import NamedTuple

from nodeagent.model.onnx_operators import refusal
from nodeagent.model.onnx_tensor import DATATYPES, bits_of, check_tensor
from nodeagent.model.wire import BYTES, VARINT, Buffer, Refused, fields, integers, text

_V, _L = (VARINT,), (BYTES,)
_MODEL = {1: _V, 2: _L, 3: _L, 4: _L, 5: _V, 6: _L, 7: _L, 8: _L, 14: _L, 20: _L, 25: _L}
_GRAPH = {1: _L, 2: _L, 5: _L, 10: _L, 11: _L, 12: _L, 13: _L, 14: _L, 15: _L, 16: _L}
_NODE = {1: _L, 2: _L, 3: _L, 4: _L, 5: _L, 6: _L, 7: _L, 8: _L}
_ATTRIBUTE = {1: _L, 2: (5,), 3: _V, 4: _L, 5: _L, 6: _L, 7: (2, 5), 8: (0, 2), 9: _L, 10: _L, 11: _L, 20: _V, 22: _L}
_FUNCTION = {1: _L, 4: _L, 5: _L, 6: _L, 7: _L, 9: _L, 10: _L, 11: _L, 12: _L}
_OPSET = {1: _L, 2: _V}
_VALUE_INFO = {1: _L, 2: _L}
_TYPE = {1: _L, 4: _L, 5: _L, 8: _L, 9: _L, 6: _L}
_TENSOR_TYPE = {1: _V, 2: _L}
_DIMENSION = {1: _V, 2: _L}
_POSITIVE = frozenset(("strides", "dilations", "kernel_shape", "blocksize", "block_size", "group", "num_groups"))
_BLOCK_MAX = 1_024
_DIMENSION_MAX = 1 << 40


class WalkLimits(NamedTuple):
    """What a model may be, so that loading it is bounded."""

    file_bytes_max: int = 512 << 20
    nodes_max: int = 200_000
    depth_max: int = 16
    functions_max: int = 256
    elements_max: int = 1 << 28
    values_max: int = 100_000


class Tensor(NamedTuple):
    """One input or output: `datatype` in the words of the Open Inference Protocol, -1 where any size goes."""

    name: str
    datatype: str
    shape: tuple[int, ...] | None


class ModelFacts(NamedTuple):
    """What the file says. `memory_bytes` estimates what loading and one run take, beside the runtime itself."""

    ir_version: int
    opsets: dict[str, int]
    operators: list[str]
    inputs: list[Tensor]
    outputs: list[Tensor]
    producer: str
    nodes: int
    functions: int
    depth: int
    file_bytes: int
    weight_bytes: int
    memory_bytes: int


def walk(path: str | Path, limits: WalkLimits | None = None) -> ModelFacts:
    """The facts of the file at `path`. Raises Refused, for whatever reason; OSError where it cannot be opened."""
    limits = limits or WalkLimits()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise Refused("the file is empty")
        if size > limits.file_bytes_max:
            raise Refused(f"the file has {size} bytes, {limits.file_bytes_max} are allowed")
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
            return walk_bytes(data, limits)
    finally:
        os.close(descriptor)


def walk_bytes(data: Buffer, limits: WalkLimits | None = None) -> ModelFacts:
    """As `walk`, of a model in memory."""
    try:
        return _Walk(data, limits or WalkLimits()).facts()
    except (ArithmeticError, LookupError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise Refused(f"the walk failed: {type(error).__name__}") from error


class _Walk:
    def __init__(self, data: Buffer, limits: WalkLimits) -> None:
        self._data = data
        self._limits = limits
        self._ir_version = 0
        self._producer = ""
        self._opsets: dict[str, int] = {}
        self._operators: set[tuple[str, str]] = set()
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._initializers: set[str] = set()
        self._functions: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self._calls: set[tuple[str, str]] | None = None  # of the function that is being walked
        self._graphs = self._nodes = self._depth = self._values = 0
        self._weight_bytes = self._activation_bytes = 0

    def facts(self) -> ModelFacts:
        self._model()
        if self._graphs != 1:
            raise Refused("not an ONNX model: it has no graph" if not self._graphs else "more than one main graph")
        if not self._opsets:
            raise Refused("not an ONNX model: it imports no operator set")
        if self._ir_version < 1:
            raise Refused("the model names no IR version")
        self._check_operators()
        return ModelFacts(
            ir_version=self._ir_version,
            opsets=dict(sorted(self._opsets.items())),
            operators=sorted(f"{domain}::{name}" if domain else name for domain, name in self._operators),
            inputs=[tensor for tensor in self._inputs if tensor.name not in self._initializers],
            outputs=self._outputs,
            producer=self._producer[:64],
            nodes=self._nodes,
            functions=len(self._functions),
            depth=self._depth,
            file_bytes=len(self._data),
            weight_bytes=self._weight_bytes,
            memory_bytes=len(self._data) + 2 * self._weight_bytes + self._activation_bytes,
        )

    def _model(self) -> None:
        data = self._data
        for field, _, start, end in fields(data, 0, len(data), _MODEL):
            if field == 1:
                self._ir_version = start
            elif field == 2:
                self._producer = text(data, start, end)
            elif field == 7:
                self._graphs += 1
                self._graph(start, end, 0)
            elif field == 8:
                domain, version = self._opset(start, end)
                self._opsets[domain] = version
            elif field == 20:
                raise Refused("training information")
            elif field == 25:
                self._function(start, end)

    def _opset(self, start: int, end: int) -> tuple[str, int]:
        domain, version = "", 0
        for field, _, a, z in fields(self._data, start, end, _OPSET):
            if field == 1:
                domain = text(self._data, a, z)
            elif field == 2:
                version = a
        return ("" if domain == "ai.onnx" else domain), version

    def _function(self, start: int, end: int) -> None:
        name = domain = ""
        calls: set[tuple[str, str]] = set()
        self._calls = calls
        for field, _, a, z in fields(self._data, start, end, _FUNCTION):
            if field == 1:
                name = text(self._data, a, z)
            elif field == 10:
                domain = text(self._data, a, z)
            elif field == 7:
                self._node(a, z, 1)
            elif field == 11:
                self._attribute("", a, z, 1)
        self._calls = None
        if len(self._functions) >= self._limits.functions_max:
            raise Refused(f"more than {self._limits.functions_max} functions")
        self._functions[(domain, name)] = calls

    def _graph(self, start: int, end: int, depth: int) -> None:
        self._depth = max(self._depth, depth)
        if depth > self._limits.depth_max:
            raise Refused(f"graphs nested deeper than {self._limits.depth_max}")
        for field, _, a, z in fields(self._data, start, end, _GRAPH):
            if field == 1:
                self._node(a, z, depth)
            elif field == 5:
                name = self._tensor(a, z)
                if depth == 0:
                    self._initializers.add(name)
            elif field == 15:
                raise Refused("a sparse initializer")
            elif field in (11, 12, 13):
                value = self._value(a, z)
                if depth == 0 and field != 13:
                    (self._inputs if field == 11 else self._outputs).append(value)

    def _node(self, start: int, end: int, depth: int) -> None:
        self._nodes += 1
        if self._nodes > self._limits.nodes_max:
            raise Refused(f"more than {self._limits.nodes_max} nodes")
        name = domain = ""
        attributes: list[tuple[int, int]] = []
        for field, _, a, z in fields(self._data, start, end, _NODE):
            if field == 4:
                name = text(self._data, a, z)
            elif field == 7:
                domain = text(self._data, a, z)
            elif field == 5:
                attributes.append((a, z))
        operator = ("" if domain == "ai.onnx" else domain, name)
        self._operators.add(operator)
        if self._calls is not None:
            self._calls.add(operator)
        for a, z in attributes:
            self._attribute(name, a, z, depth)

    def _attribute(self, operator: str, start: int, end: int, depth: int) -> None:
        name = ""
        numbers: list[int] = []
        for field, kind, a, z in fields(self._data, start, end, _ATTRIBUTE):
            if field == 1:
                name = text(self._data, a, z)
            elif field == 3:
                numbers = [a]
            elif field == 8:
                if z - a > self._limits.values_max * 10:
                    raise Refused(f"an attribute of {operator} is too long")
                numbers += integers(self._data, kind, a, z) if kind == VARINT or z - a <= 4_096 else []
            elif field in (5, 10):
                self._tensor(a, z)
            elif field in (6, 11):
                self._graph(a, z, depth + 1)
            elif field in (22, 23):
                raise Refused(f"a sparse tensor in {operator}")
        if name in _POSITIVE and (not numbers or min(numbers) <= 0):
            raise Refused(f"{operator} has {name} = {numbers[:4]}")
        if name in ("blocksize", "block_size") and max(numbers) > _BLOCK_MAX:
            raise Refused(f"{operator} has {name} = {max(numbers)}")

    def _tensor(self, start: int, end: int) -> str:
        self._count_value()
        name, size = check_tensor(self._data, start, end, self._limits.elements_max)
        self._weight_bytes += size
        return name

    def _value(self, start: int, end: int) -> Tensor:
        self._count_value()
        name, kind, shape = "", 0, None
        for field, _, a, z in fields(self._data, start, end, _VALUE_INFO):
            if field == 1:
                name = text(self._data, a, z)
            elif field == 2:
                for inner, _, b, y in fields(self._data, a, z, _TYPE):
                    if inner == 1:
                        kind, shape = self._tensor_type(b, y)
        if shape is not None:
            count = 1
            for size in shape:
                count *= max(1, size)
            if count > self._limits.elements_max:
                raise Refused(f"value {name!r} declares {count} elements")
            self._activation_bytes += count * bits_of(kind) // 8
        return Tensor(name, DATATYPES.get(kind, ""), shape)

    def _tensor_type(self, start: int, end: int) -> tuple[int, tuple[int, ...] | None]:
        kind, shape = 0, None
        for field, _, a, z in fields(self._data, start, end, _TENSOR_TYPE):
            if field == 1:
                kind = a
            elif field == 2:
                sizes = [self._dimension(b, y) for number, _, b, y in fields(self._data, a, z, {1: _L}) if number == 1]
                if len(sizes) > 64:
                    raise Refused("a shape of more than 64 dimensions")
                shape = tuple(sizes)
        return kind, shape

    def _dimension(self, start: int, end: int) -> int:
        size = -1
        for field, _, a, _z in fields(self._data, start, end, _DIMENSION):
            if field == 1:
                if not -1 <= a <= _DIMENSION_MAX:
                    raise Refused("a dimension is out of range")
                size = a
            elif field == 2:
                size = -1
        return size

    def _count_value(self) -> None:
        self._values += 1
        if self._values > self._limits.values_max:
            raise Refused(f"more than {self._limits.values_max} tensors and values")

    def _check_operators(self) -> None:
        for operator in sorted(self._operators):
            if operator not in self._functions and (why := refusal(*operator)):
                raise Refused(why)
        depths: dict[tuple[str, str], int] = {}
        for function in self._functions:
            self._call_depth(function, depths, 0)

    def _call_depth(self, function: tuple[str, str], depths: dict[tuple[str, str], int], above: int) -> int:
        if above > self._limits.depth_max:
            raise Refused(f"functions that call each other deeper than {self._limits.depth_max}")
        if function not in depths:
            calls = [called for called in sorted(self._functions[function]) if called in self._functions]
            depths[function] = 1 + max((self._call_depth(called, depths, above + 1) for called in calls), default=0)
        if depths[function] + above > self._limits.depth_max + 1:
            raise Refused(f"functions that call each other deeper than {self._limits.depth_max}")
        return depths[function]
