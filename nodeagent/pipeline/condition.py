"""`tag > number`: the one condition that a pipeline knows, of a step and of a switch. Standard library only."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

_CONDITION: Final = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(>=|<=|==|!=|>|<)\s*(-?\d+(?:\.\d+)?)\s*")
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


class Condition(NamedTuple):
    """A tag against a number."""

    tag: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.tag} {self.sign} {self.limit:g}"

    def holds(self, value: float) -> bool:
        """Whether it is true of this value; of NaN only `!=` is."""
        return _COMPARE[self.sign](value, self.limit)


def read(text: str) -> Condition:
    """The condition that `text` says. Raises ValueError."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError("'when' is a tag, one of > < >= <= == !=, and a number: \"speed > 500\"")
    return Condition(match[1], match[2], float(match[3]))
