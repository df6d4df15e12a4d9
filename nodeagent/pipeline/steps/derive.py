"""`derive`: new tags by arithmetic. An expression is parsed into our own functions and never given to Python to run."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from nodeagent.frame import BAD, GOOD, Frame
from nodeagent.pipeline.block import Block, rows_of
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import Stateless, StepContext, selected

EXPRESSION_LENGTH_MAX: Final = 500
_DEPTH_MAX: Final = 40
Values = Sequence[float]
Compiled = Callable[[Values], float]

_BINARY: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_FUNCTIONS: Final[Mapping[str, tuple[int, Callable[..., float]]]] = {
    "max": (2, max),
    "min": (2, min),
    "abs": (1, abs),
    "sqrt": (1, math.sqrt),
    "log": (1, math.log),
    "exp": (1, math.exp),
}


class DeriveOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tags`: new name -> expression of + - * / **, max, min, abs, sqrt, log, exp, numbers and tags before it."""

    tags: dict[str, str]

    def __post_init__(self) -> None:
        for name, text in self.tags.items():
            names_in(name, text)


class Derive(Stateless):
    """A derived value is as good as the worst of what it is made of, and Bad where the arithmetic has no answer."""

    def __init__(self, options: DeriveOptions, context: StepContext) -> None:
        self._options = options
        self._formulas: list[tuple[Compiled, list[int]]] = []

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        self._formulas = []
        for name, text in self._options.tags.items():
            if name in names:
                raise ValueError(f"there is a tag {name!r} already")
            used = names_in(name, text)
            selected(names, used)
            place = {tag: at for at, tag in enumerate(names)}
            self._formulas.append((_compile(_parse(name, text), place), sorted(place[tag] for tag in used)))
            names = (*names, name)
        return names

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        values, quality = frame.values.tolist(), frame.quality.tolist()
        before = len(values)
        for formula, used in self._formulas:
            worst = max(used, key=quality.__getitem__, default=None)
            grade = GOOD if worst is None else quality[worst]
            reason = "" if worst is None or grade == GOOD else f"{self._tag(frame, worst)}"
            value = _value(formula, values)
            if not math.isfinite(value) and grade < BAD:
                grade, reason = BAD, "no result"
            if reason:
                frame.reasons[len(values)] = reason
            values.append(value)
            quality.append(grade)
        frame.names = (*frame.names, *self._options.tags)
        frame.values = np.array(values, np.float64)
        frame.quality = np.array(quality, np.uint8)
        return frame, int(np.count_nonzero(frame.quality[before:]))

    def apply_block(self, block: Block) -> tuple[Block | None, int]:
        """The formulas row by row, since Python's arithmetic raises where numpy goes on; qualities all at once."""
        before = block.values.shape[1]
        rows = block.values.tolist()
        width = before + len(self._formulas)
        quality = np.zeros((len(rows), width), np.uint8)
        quality[:, :before] = block.quality
        names = (*block.names, *self._options.tags)
        each = np.arange(len(rows))
        for at, (formula, used) in enumerate(self._formulas, before):
            found = [_value(formula, row) for row in rows]
            for row, value in zip(rows, found, strict=True):
                row.append(value)
            worst = np.array(used)[quality[:, used].argmax(axis=1)] if used else np.zeros(len(rows), np.intp)
            grade = quality[each, worst] if used else np.zeros(len(rows), np.uint8)
            for row in rows_of(grade != GOOD):
                cause = int(worst[row])
                block.reasons[row][at] = f"{names[cause]} {block.reasons[row].get(cause, 'is not good')}"
            for row in rows_of(~np.isfinite(found) & (grade < BAD)):
                grade[row], block.reasons[row][at] = BAD, "no result"
            quality[:, at] = grade
        block.names, block.values, block.quality = names, np.array(rows), quality
        return block, int(np.count_nonzero(quality[:, before:]))

    def _tag(self, frame: Frame, at: int) -> str:
        names = (*frame.names, *self._options.tags)
        return f"{names[at]} {frame.reasons.get(at, 'is not good')}"


def _value(formula: Compiled, values: Values) -> float:
    """What the arithmetic gives, NaN where it has no answer."""
    try:
        return float(formula(values))
    except (ArithmeticError, ValueError):
        return math.nan


def names_in(name: str, text: str) -> list[str]:
    """The tags that an expression uses. Raises ValueError, naming `name`, for what is not arithmetic."""
    tree = _parse(name, text)
    used: list[str] = []
    _compile(tree, _Collect(used))
    return used


class _Collect(dict[str, int]):
    """Stands in for the places of tags, and notes which were asked for."""

    def __init__(self, used: list[str]) -> None:
        super().__init__()
        self._used = used

    def __missing__(self, tag: str) -> int:
        if tag not in self._used:
            self._used.append(tag)
        return 0


def _parse(name: str, text: str) -> ast.expr:
    if len(text) > EXPRESSION_LENGTH_MAX:
        raise ValueError(f"{name!r} is longer than {EXPRESSION_LENGTH_MAX} characters")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{name!r} is not arithmetic: {text}") from error


def _compile(node: ast.expr, place: dict[str, int], depth: int = 0) -> Compiled:
    """The node as a function of all values of a frame."""
    if depth > _DEPTH_MAX:
        raise ValueError(f"nested deeper than {_DEPTH_MAX}")
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            constant = float(number)
            return lambda values: constant
        case ast.Name() | ast.Attribute():
            at = place[_tag_of(node)]
            return lambda values: values[at]
        case ast.UnaryOp(op=ast.USub()):
            inner = _compile(node.operand, place, depth + 1)
            return lambda values: -inner(values)
        case ast.BinOp() if type(node.op) in _BINARY:
            apply = _BINARY[type(node.op)]
            left, right = _compile(node.left, place, depth + 1), _compile(node.right, place, depth + 1)
            return lambda values: apply(left(values), right(values))
        case ast.Call(func=ast.Name(id=function), keywords=[]) if function in _FUNCTIONS:
            least, call = _FUNCTIONS[function]
            if len(node.args) < least or (least == 1 and len(node.args) != 1):
                raise ValueError(f"{function} takes {'one value' if least == 1 else 'two values or more'}")
            arguments = [_compile(argument, place, depth + 1) for argument in node.args]
            return lambda values: call(*(argument(values) for argument in arguments))
    raise ValueError(f"{ast.unparse(node)!r} is not arithmetic that a pipeline may use")


def _tag_of(node: ast.Name | ast.Attribute) -> str:
    """`speed`, or `speed.Average` after a window."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node.value, ast.Name | ast.Attribute):
        return f"{_tag_of(node.value)}.{node.attr}"
    raise ValueError(f"{ast.unparse(node)!r} is not a tag")


STEPS: dict[str, tuple[type[Options], Any]] = {"derive": (DeriveOptions, Derive)}
