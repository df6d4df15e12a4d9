"""The record sink: what becomes a row, which rows keep their inputs, what is counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from nodeagent.pipeline.options import convert
from nodeagent.pipeline.outcome import Outcome
from nodeagent.sinks.record import Record, RecordOptions
from store.segment import Row


class Rows:
    """Takes rows as the recorder does; full after `room`."""

    def __init__(self, room: int = 1000) -> None:
        self.rows: list[Row] = []
        self.room = room

    def offer_many(self, rows: Iterable[Row]) -> int:
        before = len(self.rows)
        self.rows = [*self.rows, *rows][: self.room]
        return len(self.rows) - before


def outcome(decision: str = "normal", reason: str = "", size: int = 2) -> Outcome:
    valid = decision not in ("skipped", "idle", "error")
    inputs = np.arange(size, dtype=np.float32) if valid else None
    score = 0.5 if valid else None
    return Outcome(7, 6, 5, score, "", decision, 0 if valid else 2, reason, inputs, inputs, decision == "alarm")


def recorded(decisions: list[str], room: int = 1000, **options: Any) -> tuple[Record, list[Row]]:
    rows = Rows(room)
    record = Record(convert(options, RecordOptions), rows)
    for decision in decisions:
        record.offer(outcome(decision))
    return record, rows.rows


def test_a_row_holds_the_context_of_its_outcome() -> None:
    rows = Rows()
    sink = Record(convert({}, RecordOptions), rows)
    sink.offer(outcome()._replace(context="product=A4 shift=2"))
    assert rows.rows[0].context == "product=A4 shift=2"


def test_a_row_holds_all_of_an_outcome_with_its_arrays_as_little_endian_float32() -> None:
    _, (row,) = recorded(["normal"])
    assert (row.wall_us, row.source_us, row.latency_us, row.score, row.decision) == (7, 6, 5, 0.5, "normal")
    assert row.inputs == row.outputs == b"\0\0\0\0\0\0\x80?"


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("all", [True] * 4),
        ("none", [False] * 4),
        ("alarm", [False, True, False, False]),
        ("review,reject", [False, False, True, True]),
        ("sample:0.5", [False, True, False, True]),
        ("review,sample:0.5", [False, True, True, False]),
    ],
)
def test_inputs_are_kept_for_what_the_section_names(keep: str, kept: list[bool]) -> None:
    _, rows = recorded(["normal", "alarm", "review", "reject"], keep_inputs=keep)
    assert [row.inputs is not None for row in rows] == kept


@pytest.mark.parametrize("keep", ["", "all,alarm", "sample:2", "sample:x", "alarm,,review"])
def test_a_choice_that_says_nothing_clear_is_refused(keep: str) -> None:
    with pytest.raises(ValueError, match=r"keep_inputs|share"):
        convert({"keep_inputs": keep}, RecordOptions)


def test_of_equal_outcomes_without_a_prediction_the_first_is_recorded_and_the_rest_counted() -> None:
    record, rows = recorded(["idle", "idle", "idle", "normal", "idle", "skipped"])
    assert [row.decision for row in rows] == ["idle", "normal", "idle", "skipped"]
    assert record.telemetry().reason == "2 unchanged without a prediction left out"


def test_what_the_recorder_has_no_room_for_is_dropped_and_counted() -> None:
    record, rows = recorded(["normal"] * 5, room=3)
    telemetry = record.telemetry()
    assert (telemetry.delivered_total, telemetry.dropped_total, len(rows)) == (3, 2, 3)


def test_inputs_that_are_too_long_are_left_out_and_counted() -> None:
    rows = Rows()
    record = Record(RecordOptions(input_bytes_max=8), rows)
    record.offer(outcome(size=2))
    record.offer(outcome(size=3))
    assert [row.inputs is not None for row in rows.rows] == [True, False]
    assert "1 too long" in record.telemetry().reason
