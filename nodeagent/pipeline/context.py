"""`[context]`: what the machine is busy with, such as product, recipe or shift, as tags say it.

It stands on every outcome, and drift compares like with like by it. Only a Good value is known: of anything else the
context reads `product=?`, which is no product.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from nodeagent.frame import GOOD, Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import selected

NAMES_MAX: Final = 4
WORD_CHARACTERS_MAX: Final = 32
UNKNOWN: Final = "?"
_FORBIDDEN: Final = frozenset("= ,\t\n?")


class ContextOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tags`: name -> the tag that says it; `words`: name -> the tag's number -> a word. Another number is itself."""

    tags: dict[str, str]
    words: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.tags) <= NAMES_MAX:
            raise ValueError(f"'tags' has 1 to {NAMES_MAX} names")
        texts = [*self.tags, *(word for words in self.words.values() for word in words.values())]
        for text in texts:
            if not 0 < len(text) <= WORD_CHARACTERS_MAX or _FORBIDDEN & set(text):
                raise ValueError(f"{text!r} is not a word: 1 to {WORD_CHARACTERS_MAX} characters, no space, no = , ?")
        for name, words in self.words.items():
            if name not in self.tags:
                raise ValueError(f"'words' has {name!r}, and 'tags' does not")
            for number in words:
                if not number.lstrip("-").isdigit():
                    raise ValueError(f"the words of {name!r} are by whole numbers, and {number!r} is none")


class Context:
    """Reads the context of frames as the sources gave them. `last`: of the newest."""

    def __init__(self, options: ContextOptions | None) -> None:
        self._options = options
        self._places: list[tuple[str, int]] = []
        self.last = ""

    def bind(self, names: tuple[str, ...]) -> None:
        """Raises ValueError for a tag that no source has."""
        if self._options is not None:
            selected(names, self._options.tags.values())
            self._places = [(name, names.index(tag)) for name, tag in self._options.tags.items()]

    def of(self, frame: Frame) -> str:
        """`product=A4 shift=2`; empty where the pipeline names none."""
        text = " ".join(f"{name}={self._word(name, frame, at)}" for name, at in self._places)
        # The very object of before while nothing changes: whoever counts by it hashes it once.
        if text != self.last:
            self.last = text
        return self.last

    def _word(self, name: str, frame: Frame, at: int) -> str:
        value = float(frame.values[at])
        if frame.quality[at] != GOOD or not math.isfinite(value):
            return UNKNOWN
        assert self._options is not None
        text = number_word(value)
        return self._options.words.get(name, {}).get(text, text)


def number_word(value: float) -> str:
    """How a number reads in a context where no word stands for it: `4`, `2.5`."""
    return np.format_float_positional(value, precision=6, trim="-")


def named(text: str) -> str:
    """A name in a context for a tag that is called `text`: what cannot stand in one becomes `_`."""
    return "".join("_" if each in _FORBIDDEN else each for each in text)[:WORD_CHARACTERS_MAX]
