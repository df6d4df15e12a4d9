"""What labels say of a model."""

from __future__ import annotations

import msgspec
import pytest

from console.records.labels import LABELS_MIN, offered, total, verdicts
from nodeagent.protocol import LabelRow, Record


def row(
    number: int, label: str, *, key: int = 0, by: str = "alice", decision: str = "alarm", version: str = "2.1"
) -> LabelRow:
    return LabelRow(
        id=number, key=key or number, label=label, note="", actor=by, wall_us=number, revision=3, version=version,
        decision=decision,
    )  # fmt: skip


def test_the_precision_is_known_once_twenty_records_were_judged() -> None:
    rows = [row(number, "wear" if number % 4 else "false-alarm") for number in range(1, LABELS_MIN + 1)]
    (few,) = verdicts(rows[:-1])
    (enough,) = verdicts(rows)
    assert (few.judged, few.precision) == (LABELS_MIN - 1, None)
    assert enough.precision == pytest.approx(15 / 20)


def test_a_fault_among_normals_is_a_miss_and_unsure_judges_nobody() -> None:
    (found,) = verdicts([row(1, "fault", decision="normal"), row(2, "Normal", decision="normal"), row(3, "unsure")])
    assert (found.missed, found.normal, found.unsure, found.judged) == (1, 1, 1, 2)


def test_a_record_on_which_two_people_differ_is_disputed_until_one_of_them_says_otherwise() -> None:
    differ = [row(1, "fault", key=9), row(2, "normal", key=9, by="bob")]
    (found,) = verdicts(differ)
    assert (found.disputed, found.judged) == (1, 0)
    (settled,) = verdicts([*differ, row(3, "fault", key=9, by="bob")])
    assert (settled.disputed, settled.true_alarms) == (0, 1)


def test_versions_are_told_apart_and_nodes_added_up() -> None:
    press = verdicts([row(1, "fault"), row(2, "normal", version="2.2")])
    pump = verdicts([row(1, "fault")])
    assert {v.version: v.judged for v in total([*press, *pump])} == {"2.1": 2, "2.2": 1}


def test_one_version_may_be_right_of_one_product_and_wrong_of_another() -> None:
    rows = [
        msgspec.structs.replace(row(number, "fault" if number % 2 else "normal"), context=f"product={'BA'[number % 2]}")
        for number in range(1, 2 * LABELS_MIN + 1)
    ]
    both = total([*verdicts(rows, by_context=True), *verdicts(rows[:2], by_context=True)])
    assert [(v.version, v.context, v.judged, v.precision) for v in both] == [
        ("2.1", "product=A", LABELS_MIN + 1, 1.0),
        ("2.1", "product=B", LABELS_MIN + 1, 0.0),
    ]
    (whole,) = verdicts(rows)
    assert whole.precision == 0.5


def test_a_digit_gives_the_labels_that_occur_first_and_then_the_standard_ones() -> None:
    record = Record(
        key=1, bundle="b", revision=1, wall_us=1, source_us=None, latency_us=1, score=1.0, label="wear",
        decision="alarm", quality=0, reason="",
    )  # fmt: skip
    assert offered([record]) == ["wear", "fault", "normal", "unsure"]
