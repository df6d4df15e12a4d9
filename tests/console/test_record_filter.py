"""The filter of records by what the machine was busy with."""

from __future__ import annotations

import pytest

from console.fleet.query import QueryError
from console.records.query import Seen, parse
from nodeagent.protocol import Record


def seen(context: str) -> Seen:
    record = Record(
        key=1, bundle="pump", revision=1, wall_us=0, source_us=None, latency_us=1, score=0.5, label="",
        decision="ok", quality=0, reason="", context=context,
    )  # fmt: skip
    return Seen("press", record, 0.0)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("context.product:A4", {"product=A4 shift=2"}),
        ("context.product=A4", {"product=A4 shift=2"}),
        ("context.product:a4", {"product=A4 shift=2"}),
        ("!context.product:A4", {"", "product=A45", "product=?"}),
        ("context.product:?", {"product=?"}),
        ("context:A4", {"product=A4 shift=2", "product=A45"}),
        ("context.shift:2 node:press", {"product=A4 shift=2"}),
        ("context.shift:3", set()),
        ("a45", {"product=A45"}),
    ],
)
def test_a_pair_is_that_product_and_no_other_and_letters_are_looked_for_anywhere(text: str, fits: set[str]) -> None:
    test = parse(text)
    all_of_them = ("", "product=A4 shift=2", "product=A45", "product=?")
    assert {each for each in all_of_them if test(seen(each))} == fits


def test_a_word_that_does_not_exist_names_the_pair_among_those_that_do() -> None:
    with pytest.raises(QueryError, match=r"context\.product"):
        parse("product:A4")
