"""Which records come into the review queue, and in which order."""

from __future__ import annotations

from nodeagent.protocol import Record
from nodeagent.review_queue import NORMAL_SHARE, SECOND_SHARE, Band, band_of, queue


def record(key: int, decision: str = "normal", score: float | None = 0.0) -> Record:
    return Record(
        key=key, bundle="b", revision=1, wall_us=key, source_us=None, latency_us=1, score=score, label="",
        decision=decision, quality=0, reason="",
    )  # fmt: skip


def test_alarms_come_first_then_what_lay_near_the_limit_each_the_newest_first() -> None:
    records = [record(1, "alarm", 5.0), record(2, "normal", 2.8), record(3, "alarm", 4.0), record(4, "review", 0.5)]
    found = queue(records, {}, "alice", Band(2.7, 3.3), 10)
    assert [(item.why, item.record.key) for item in found if item.why != "normal"] == [
        ("alarm", 3), ("alarm", 1), ("uncertain", 4), ("uncertain", 2),
    ]  # fmt: skip


def test_of_the_normal_ones_a_share_comes_and_always_the_same() -> None:
    records = [record(key << 20) for key in range(20_000)]
    first, again = (queue(records, {}, person, None, 20_000) for person in ("alice", "bob"))
    assert first == again
    assert abs(len(first) / 20_000 - NORMAL_SHARE) < 0.005


def test_nobody_labels_twice_and_of_what_others_labelled_a_share_comes_again() -> None:
    records = [record(key << 20, "alarm") for key in range(5_000)]
    by_alice = {each.key: frozenset({"alice"}) for each in records}
    assert queue(records, by_alice, "alice", None, 5_000) == []
    second = queue(records, by_alice, "bob", None, 5_000)
    assert {(item.why, tuple(item.labelled_by)) for item in second} == {("second opinion", ("alice",))}
    assert abs(len(second) / 5_000 - SECOND_SHARE) < 0.03


def test_what_was_not_judged_is_not_asked_about() -> None:
    assert queue([record(1, "skipped", None), record(2, "idle", None)], {}, "alice", Band(0, 1), 10) == []


def test_the_band_is_a_tenth_of_the_limit_or_its_deadband_if_that_is_wider() -> None:
    assert band_of('[decide]\nuse = "alarm"\nhigh = 3.0\n') == Band(2.7, 3.3)
    assert band_of('[decide]\nuse = "alarm"\nhigh = 3.0\ndeadband = 1\n') == Band(2.0, 4.0)
    assert band_of('[decide]\nuse = "alarm"\nhigh = "${limit}"\n') is None
    assert band_of("") is None
    assert band_of("[[") is None
