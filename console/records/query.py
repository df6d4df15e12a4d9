"""The filter grammar of records. Pure.

`node:press bundle:bearing label:wear decision:alarm quality:bad score>0.5 disagree:yes` all must hold; a bare word is
looked for in all of it; `!` before a word or a pair turns it round. `context.product:A4` is that product and no other,
`context:A4` whatever holds the letters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from console.fleet.query import QueryError
from nodeagent.protocol import Record

QUALITY: Final = ("good", "uncertain", "bad")
_SCORE: Final = re.compile(r"score(>=|<=|>|<)(-?\d+(?:\.\d+)?)")
_PAIR: Final = re.compile(r"context\.\w+=")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One record of a node. `wall_s` is its time by the console's clock."""

    node: str
    record: Record
    wall_s: float

    @property
    def key(self) -> str:
        """The same record, from one look to the next."""
        return f"{self.node}/{self.record.bundle}/{self.record.key}"

    @property
    def disagrees(self) -> bool:
        """Whether a person said something else of it than the model."""
        return bool(self.record.model_label)

    @property
    def is_odd(self) -> bool:
        """Whether it needs a look: alarmed, of doubtful quality, or called otherwise by a person."""
        r = self.record
        return r.quality != 0 or self.disagrees or r.decision.casefold() in ODD_DECISIONS


ODD_DECISIONS: Final = ("alarm", "reject", "fail", "bad")
Test = Callable[[Seen], bool]


def parse(text: str) -> Test:
    """Reads a filter. Raises QueryError for a key that does not exist."""
    tests = [_term(word) for word in text.split() if word != "!"]
    return lambda seen: all(test(seen) for test in tests)


def _term(word: str) -> Test:
    inverted, word = word.startswith("!"), word.removeprefix("!")
    test = _test(word)
    return lambda seen: test(seen) != inverted


def _test(word: str) -> Test:
    if (found := _SCORE.fullmatch(word)) is not None:
        compare, limit = _COMPARE[found[1]], float(found[2])
        return lambda seen: seen.record.score is not None and compare(seen.record.score, limit)
    key, colon, value = word.replace("=", ":", 1).partition(":") if _PAIR.match(word) else word.partition(":")
    value = value.casefold()
    if not colon:
        return lambda seen: word.casefold() in _text(seen)
    if key.startswith("context."):
        pair = f"{key.removeprefix('context.')}={value}".casefold()
        return lambda seen: pair in seen.record.context.casefold().split()
    if key == "disagree":
        return lambda seen: seen.disagrees == (value in ("", "yes", "1"))
    if key not in _TEXTS:
        raise QueryError(f"no such word: {key}: use {', '.join((*_TEXTS, 'context.product', 'disagree', 'score>0.5'))}")
    field = _TEXTS[key]
    return lambda seen: value in field(seen).casefold()


_TEXTS: Final[dict[str, Callable[[Seen], str]]] = {
    "node": lambda seen: seen.node,
    "bundle": lambda seen: seen.record.bundle,
    "label": lambda seen: seen.record.label,
    "decision": lambda seen: seen.record.decision,
    "quality": lambda seen: QUALITY[min(2, max(0, seen.record.quality))],
    "reason": lambda seen: seen.record.reason,
    "context": lambda seen: seen.record.context,
    "rev": lambda seen: f"r{seen.record.revision}",
}


def _text(seen: Seen) -> str:
    return " ".join(field(seen) for field in _TEXTS.values()).casefold()
