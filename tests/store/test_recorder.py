"""The recorder: what it acknowledges is there, what it loses is counted, and it never makes its caller wait."""

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store import db, records, segment
from store.progress import Busy
from store.recorder import Recorder, Row

BOOT = 3
START_US = 5_000_000


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.us = START_US

    def __call__(self) -> int:
        return self.us


def row(n: int, **changes: object) -> Row:
    return Row(1_700_000_000_000_000 + n, n, 100 + n, 0.25, "normal", "ok", 0, "", b"\0" * 16, None)._replace(**changes)


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def start(tmp_path: Path, clock: Hand) -> Iterator[Callable[..., Recorder]]:
    running: list[Recorder] = []

    def begin(**settings: object) -> Recorder:
        given = {"bundle": "pump", "revision": 4, "digest": "sha256:d", "config": "sha256:c", "boot_number": BOOT,
                 "clock_us": clock, "free_bytes_min": 0, "free_share_min": 0.0, **settings}  # fmt: skip
        recorder = Recorder(tmp_path / "rec", **given)
        running.append(recorder)
        return recorder

    yield begin
    for recorder in running:
        recorder.close()


def everything(tmp_path: Path) -> records.Page:
    return records.query(tmp_path / "rec", limit=records.LIMIT_MAX)


def test_every_field_comes_back_as_it_was_offered(start, tmp_path):
    recorder = start()
    full = row(1, label="défaut", decision="alarm", quality=1, reason="held 3", outputs=b"\1\2\3\4")
    bare = row(2, source_us=None, score=None, inputs=None)
    keys = [recorder.offer(full), recorder.offer(bare)]
    recorder.close()
    found = everything(tmp_path).records
    assert [Row(*record[5:]) for record in found] == [full, bare]
    assert [record.key for record in found] == keys
    assert found[0][1:5] == ("pump", 4, "sha256:d", "sha256:c")


def test_a_nan_score_is_no_score(start, tmp_path):
    recorder = start()
    recorder.offer(row(1, score=math.nan))
    recorder.close()
    assert everything(tmp_path).records[0].score is None


def test_keys_rise_by_one_on_a_tie_and_when_the_clock_stands_or_goes_back(start, clock):
    recorder = start()
    base = BOOT << 48
    keys = [recorder.offer(row(0)), recorder.offer(row(1))]
    clock.us = START_US - 1_000
    keys.append(recorder.offer(row(2)))
    clock.us = START_US + 9
    keys.append(recorder.offer(row(3)))
    assert keys == [base + START_US, base + START_US + 1, base + START_US + 2, base + START_US + 9]


def test_keys_rise_over_a_restart_even_if_the_clock_began_anew(start, clock):
    first = start()
    last = [first.offer(row(n)) for n in range(10)][-1]
    first.close()
    clock.us = 0
    assert start().offer(row(11)) > last


def test_keys_of_a_later_boot_are_above_those_of_an_earlier_one(start, clock):
    first = start()
    clock.us = 10**12
    early = first.offer(row(0))
    first.close()
    clock.us = 1
    assert start(boot_number=BOOT + 1).offer(row(1)) > early


def test_a_flushed_row_is_read_by_another_connection(start, tmp_path):
    recorder = start()
    key = recorder.offer(row(1))
    assert recorder.flush(10)
    assert recorder.counters.committed_key == key
    assert [record.key for record in everything(tmp_path).records] == [key]


def test_the_commit_callback_names_the_last_durable_key(start):
    said: list[int] = []
    recorder = start(on_commit=said.append)
    keys = [recorder.offer(row(n)) for n in range(1_500)]
    recorder.close()
    assert said == sorted(said)
    assert said[-1] == keys[-1]


def test_rows_that_a_full_queue_refuses_become_one_counted_gap_in_their_place(start, tmp_path):
    recorder = start(queue_rows=100, commit_s=60, commit_rows=10**6)
    kept = [recorder.offer(row(n)) for n in range(100)]
    lost = [recorder.offer(row(n)) for n in range(100, 130)]
    assert recorder.flush(10)
    kept += [recorder.offer(row(130))]
    recorder.close()
    page = everything(tmp_path)
    assert lost == [0] * 30
    assert [record.key for record in page.records] == kept
    assert [(gap.lost, gap.reason) for gap in page.gaps] == [(30, "queue full")]
    assert kept[99] < page.gaps[0].key_from <= page.gaps[0].key_to < kept[100]
    assert recorder.counters.lost == 30


def test_the_queue_is_bounded_by_bytes_too(start):
    recorder = start(queue_bytes=1 << 20, commit_s=60, commit_rows=10**6)
    taken = sum(recorder.offer(row(n, inputs=b"x" * 65536)) > 0 for n in range(40))
    assert taken == 16


def test_a_row_larger_than_a_commit_may_be_is_counted_and_the_next_one_is_kept(start, tmp_path):
    recorder = start()
    recorder.offer(row(1, inputs=b"x" * (5 << 20)))
    recorder.offer(row(2))
    recorder.close()
    page = everything(tmp_path)
    assert [record.source_us for record in page.records] == [2]
    assert [(gap.lost, gap.reason) for gap in page.gaps] == [(1, "row too large")]


def test_a_row_that_sqlite_cannot_hold_does_not_take_its_neighbours_along(start, tmp_path):
    recorder = start()
    recorder.offer_many([row(1), row(2, wall_us=1 << 70), row(3, score="high"), row(4)])
    recorder.close()
    page = everything(tmp_path)
    assert [record.source_us for record in page.records] == [1, 4]
    assert [gap.lost for gap in page.gaps] == [1, 1]


def test_a_segment_stays_within_its_cap_and_the_next_one_goes_on(start, tmp_path):
    recorder = start(segment_bytes=256 << 10)
    for n in range(0, 12_000, 500):
        recorder.offer_many([row(n + i, inputs=os.urandom(64)) for i in range(500)])
        assert recorder.flush(10)
    recorder.close()
    files = segment.listing(tmp_path / "rec")
    assert len(files) > 3
    assert all(file.path.stat().st_size <= 256 << 10 for file in files)
    assert [record.source_us for record in records.query(tmp_path / "rec", limit=9_999).records] == list(range(9_999))


def test_many_different_texts_begin_another_segment_and_stay_right(start, tmp_path):
    recorder = start(queue_rows=80_000)
    for n in range(0, 60_000, 1_000):
        recorder.offer_many([row(n + i, label=f"label {n + i}") for i in range(1_000)])
        assert recorder.flush(20)
    recorder.close()
    page = records.query(tmp_path / "rec", label="label 59999")
    assert [record.source_us for record in page.records] == [59_999]
    assert len(segment.listing(tmp_path / "rec")) == 2


@pytest.mark.parametrize(("gap_us", "chunked"), [(15, True), (30, False)])
def test_the_form_of_the_rows_follows_their_rate(start, tmp_path, clock, gap_us, chunked):
    recorder = start()
    for n in range(0, 12_000, 500):
        for i in range(500):
            clock.us += gap_us
            recorder.offer(row(n + i))
        assert recorder.flush(10)
    assert recorder.counters.chunked is chunked
    recorder.close()
    with db.open_reader(segment.listing(tmp_path / "rec")[0].path) as conn:
        chunks = conn.execute("SELECT count(*) FROM chunk").fetchone()[0]
    conn.close()
    assert (chunks > 0) is chunked
    assert [record.source_us for record in records.query(tmp_path / "rec", limit=9_999).records] == list(range(9_999))


def test_a_guard_on_free_space_holds_rows_counts_what_does_not_fit_and_resumes(start, tmp_path):
    free = [10]
    recorder = start(queue_rows=50, free_bytes_min=5, free=lambda _: (free[0], 100))
    recorder.offer(row(0))
    assert recorder.flush(10)
    free[0] = 4
    taken = [recorder.offer(row(n)) for n in range(1, 200)]
    wait_for(lambda: recorder.counters.state == "disk full")
    assert recorder.counters.written == 1
    later = [recorder.offer(row(n)) for n in range(200, 300)]
    free[0] = 10
    assert recorder.flush(10)
    recorder.close()
    page = everything(tmp_path)
    assert len(page.records) == 1 + sum(key > 0 for key in taken + later)
    assert sum(gap.lost for gap in page.gaps) == sum(key == 0 for key in taken + later) > 0
    assert "disk full" in {gap.reason for gap in page.gaps}


def test_rows_that_a_full_disk_still_refuses_at_the_end_are_counted_by_the_next_recorder(start, tmp_path):
    recorder = start(free_bytes_min=5, free=lambda _: (4, 100))
    recorder.offer_many([row(n) for n in range(20)])
    recorder.close()
    again = start()
    again.offer(row(20))
    again.close()
    page = everything(tmp_path)
    assert [record.source_us for record in page.records] == [20]
    assert [(gap.lost, gap.reason) for gap in page.gaps] == [(20, "disk full")]


def test_an_orderly_end_leaves_no_gap(start, tmp_path, clock):
    for _ in range(3):
        recorder = start()
        recorder.offer(row(1))
        recorder.close()
    recorder = start(boot_number=BOOT + 1)
    recorder.offer(row(1))
    recorder.close()
    assert everything(tmp_path).gaps == []
    assert not list((tmp_path / "rec").glob("progress*"))


def test_two_live_recorders_of_one_revision_are_refused(start):
    start()
    with pytest.raises(Busy, match="progress-r4"):
        start()


def test_a_live_recorder_of_another_revision_is_not_taken_for_a_dead_one(start, tmp_path):
    old = start(revision=4, commit_s=60, commit_rows=10**6)
    old.offer_many([row(n) for n in range(9)])
    new = start(revision=5)
    new.offer(row(9))
    assert new.flush(10)
    assert everything(tmp_path).gaps == []
    old.close()
    assert len(everything(tmp_path).records) == 10


def test_an_offer_after_the_end_is_refused(start):
    recorder = start()
    recorder.close()
    assert recorder.offer(row(1)) == 0


def wait_for(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end_s, "not within 10 s"
        time.sleep(0.01)


def test_a_thousand_records_that_come_together_cost_two_commits_and_not_a_thousand(start):
    commits: list[int] = []
    recorder = start(on_commit=commits.append, commit_rows=500, commit_s=60.0)
    recorder.offer_many([row(n) for n in range(1_000)])
    recorder.close()
    assert recorder.counters.written == 1_000
    assert len(commits) <= 3
