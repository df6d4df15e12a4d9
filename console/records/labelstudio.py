"""Label Studio: the labelling interface for our tasks, and its JSON export read back as labels. Pure.

Its answer is foreign text: keys, labels and names are checked, and what is no label of one of our records is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import msgspec

from console.client.clean import clean
from console.records.labels import STANDARD

ANSWER_BYTES_MAX: Final = 256 << 20
LABEL_CHARS_MAX: Final = 64
PERSON_CHARS_MAX: Final = 64


class AnswerRefused(ValueError):
    """The file is no answer to our tasks; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Given:
    """One label that somebody gave there. `person`: who, as Label Studio names them."""

    node: str
    bundle: str
    key: int
    label: str
    person: str

    @property
    def note(self) -> str:
        """What stands beside the label on the node."""
        return f"Label Studio, {self.person}" if self.person else "Label Studio"


@dataclass(frozen=True, slots=True)
class Answer:
    """The labels in a file, and what else was there: tasks without an answer, and such that are none of ours."""

    labels: tuple[Given, ...]
    unanswered: int
    foreign: int


def interface(labels: Iterable[str]) -> bytes:
    """The labelling interface (XML) with these labels and the standard ones."""
    choices = "".join(f"\n    <Choice value={quoteattr(label)}/>" for label in dict.fromkeys([*STANDARD, *labels]))
    return (
        '<View>\n  <Text name="text" value="$text"/>\n'
        f'  <Choices name="label" toName="text" choice="single" showInline="true">{choices}\n  </Choices>\n</View>\n'
    ).encode()


def read(data: bytes) -> Answer:
    """What an export of Label Studio (its JSON form) says. Raises AnswerRefused."""
    if len(data) > ANSWER_BYTES_MAX:
        raise AnswerRefused(f"larger than {ANSWER_BYTES_MAX >> 20} MiB")
    try:
        tasks = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerRefused(f"no JSON: {error}") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise AnswerRefused("not the JSON export of Label Studio, which is a list of tasks")
    labels: list[Given] = []
    unanswered = foreign = 0
    for task in tasks:
        place = _place(task.get("data"))
        if place is None:
            foreign += 1
            continue
        found = [given for annotation in _dicts(task.get("annotations")) if (given := _given(place, annotation))]
        unanswered += not found
        labels += found
    return Answer(tuple(labels), unanswered, foreign)


def _place(data: Any) -> tuple[str, str, int] | None:
    if not isinstance(data, dict):
        return None
    node, bundle, key = data.get("node"), data.get("bundle"), str(data.get("key"))
    if not isinstance(node, str) or not isinstance(bundle, str) or not key.isascii() or not key.isdigit():
        return None
    return (node, bundle, int(key)) if node and bundle and len(key) < 20 else None


def _given(place: tuple[str, str, int], annotation: dict[str, Any]) -> Given | None:
    if annotation.get("was_cancelled"):
        return None
    for result in _dicts(annotation.get("result")):
        value = result.get("value")
        choices = value.get("choices") if isinstance(value, dict) else None
        if isinstance(choices, list) and choices and isinstance(choices[0], str) and clean(choices[0]).strip():
            label = clean(choices[0]).strip()[:LABEL_CHARS_MAX]
            return Given(*place, label, _person(annotation.get("completed_by")))
    return None


def _person(by: Any) -> str:
    """Label Studio writes a number, or the person with an address."""
    if isinstance(by, dict):
        by = by.get("email") or by.get("username") or by.get("id")
    return clean(str(by))[:PERSON_CHARS_MAX] if isinstance(by, int | str) else ""


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
