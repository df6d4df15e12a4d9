"""Reading records: pages, filters, order, overlaps, files that cannot be read; and what retention removes."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from store import db, errors, records, segment
from store.recorder import Recorder, Row
from store.segment import Gap
from store.segment_writer import SegmentWriter

BOOT = 2
SECOND = 1_000_000


def write(folder: Path, revision: int, times_us: list[int], *, boot: int = BOOT, **settings: object) -> list[int]:
    """One recorder's life: a row at each time, `source_us` being the time."""
    now = [0]
    recorder = Recorder(
        folder, bundle="pump", revision=revision, digest=f"d{revision}", config="", boot_number=boot,
        clock_us=lambda: now[0], free_bytes_min=0, free_share_min=0.0, **settings,
    )  # fmt: skip
    keys = []
    for at, us in enumerate(times_us):
        now[0] = us
        decision = ("alarm", "ok")[at % 3 > 0]
        keys.append(recorder.offer(Row(us, us, 10 * at, at / 10, "normal", decision, at % 2, "", b"\0" * 8, None)))
        if settings:
            assert recorder.flush(10)
    recorder.close()
    return keys


def numbers(page: records.Page) -> list[int | None]:
    return [record.source_us for record in page.records]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_i4_pages_of_any_size_give_each_row_once_in_order(tmp_path, limit, newest_first):
    times = list(range(10, 210, 10))
    write(tmp_path, 1, times[:8])
    write(tmp_path, 1, times[8:])
    found: list[int | None] = []
    cursor: int | None = None
    while True:
        place = {"before": cursor} if newest_first else {"after": cursor or 0}
        page = records.query(tmp_path, limit=limit, newest_first=newest_first, **place)
        found += numbers(page)
        cursor = page.next
        if cursor is None:
            break
    assert found == (times[::-1] if newest_first else times)


@pytest.mark.parametrize("newest_first", [False, True])
def test_revisions_that_overlap_in_time_are_merged_by_key(tmp_path, newest_first):
    now = [0]
    both = [
        Recorder(
            tmp_path, bundle="pump", revision=revision, digest="", config="", boot_number=BOOT,
            clock_us=lambda: now[0], free_bytes_min=0, free_share_min=0.0,
        )
        for revision in (1, 2)
    ]  # fmt: skip
    for now[0] in range(10, 70):
        both[now[0] % 2].offer(Row(0, now[0], 0, None, "", "", 0, "", None, None))
    for recorder in both:
        recorder.close()
    page = records.query(tmp_path, newest_first=newest_first)
    assert numbers(page) == (list(range(69, 9, -1)) if newest_first else list(range(10, 70)))
    assert {record.revision for record in page.records} == {1, 2}


@pytest.mark.parametrize("rows", [20, 9_000])
def test_filters_pick_by_decision_label_and_quality_in_rows_and_in_chunks(tmp_path, rows):
    if rows == 20:
        write(tmp_path, 1, list(range(rows)))
    else:
        write_chunks(tmp_path, rows)
    alarms = records.query(tmp_path, decision="alarm", limit=9_999)
    assert numbers(alarms) == list(range(0, rows, 3))
    assert numbers(records.query(tmp_path, decision="alarm", quality=1, limit=9_999)) == list(range(3, rows, 6))
    assert len(records.query(tmp_path, label="normal", limit=9_999).records) == rows
    assert records.query(tmp_path, decision="never said").records == []


def write_chunks(folder: Path, rows: int) -> list[int]:
    """A row every 15 microseconds: what comes after the first 50 ms lies in chunks. Gives the keys."""
    now = [0]
    recorder = Recorder(
        folder, bundle="pump", revision=1, digest="d", config="", boot_number=BOOT, clock_us=lambda: now[0],
        free_bytes_min=0, free_share_min=0.0,
    )  # fmt: skip
    keys = []
    for n in range(rows):
        now[0] += 15
        keys.append(
            recorder.offer(Row(n, n, n, None, "normal", ("alarm", "ok")[n % 3 > 0], n % 2, "", None, b"\0" * 4))
        )
        if n % 500 == 499:
            assert recorder.flush(10)
    assert recorder.counters.chunked
    recorder.close()
    return keys


def test_a_range_ends_inside_a_chunk_as_it_does_between_rows(tmp_path):
    keys = write_chunks(tmp_path, 9_000)
    page = records.query(tmp_path, after=keys[8_700], before=keys[8_710])
    assert [record.key for record in page.records] == keys[8_701:8_710]


def test_gaps_come_with_the_page_that_covers_them(tmp_path):
    path = segment.path_of(tmp_path, 100, 1)
    conn = db.open_writer(path)
    with db.transaction(conn):
        segment.create(conn, {"bundle": "b", "revision": 1, "digest": "", "config": ""})
        conn.executemany(
            "INSERT INTO record VALUES(?, 0, NULL, 0, NULL, 0, 0, 0, 0, NULL, NULL)", [(100,), (200,), (300,)]
        )
        conn.executemany("INSERT INTO gap VALUES(?, ?, ?, ?)", [(150, 160, 5, "a"), (250, 260, 6, "b")])
    conn.close()
    first = records.query(tmp_path, limit=2)
    second = records.query(tmp_path, limit=2, after=first.next or 0)
    assert [gap.lost for gap in first.gaps] == [5]
    assert [gap.lost for gap in second.gaps] == [6]
    assert [gap.lost for gap in records.query(tmp_path, newest_first=True).gaps] == [6, 5]


def test_a_segment_of_an_unknown_schema_is_shown_as_a_gap_and_the_rest_is_read(tmp_path):
    write(tmp_path, 1, [10])
    write(tmp_path, 1, [20])
    conn = db.open_writer(segment.listing(tmp_path)[0].path)
    conn.execute("PRAGMA user_version = 99")
    conn.close()
    page = records.query(tmp_path)
    assert numbers(page) == [20]
    assert "schema 99" in page.gaps[0].reason


def test_a_damaged_segment_is_shown_as_a_gap_and_the_rest_is_read(tmp_path):
    write(tmp_path, 1, [10])
    write(tmp_path, 1, [20])
    segment.listing(tmp_path)[0].path.write_bytes(b"not a database" * 400)
    page = records.query(tmp_path)
    assert numbers(page) == [20]
    assert "damaged" in page.gaps[0].reason


def test_a_segment_that_retention_took_since_it_was_listed_is_passed_over(tmp_path):
    write(tmp_path, 1, [10])
    segment.path_of(tmp_path, 5, 1).symlink_to(tmp_path / "gone")
    assert numbers(records.query(tmp_path)) == [10]
    assert sum(rollup.rows for rollup in records.rollups(tmp_path)) == 1


def test_a_deadline_that_has_passed_is_told(tmp_path):
    write(tmp_path, 1, [10])
    with pytest.raises(errors.Busy):
        records.query(tmp_path, deadline_s=0)


def test_an_empty_folder_and_one_that_is_not_there_hold_nothing(tmp_path):
    assert records.query(tmp_path) == records.Page([], [], None)
    assert records.query(tmp_path / "none") == records.Page([], [], None)


def test_rollups_are_the_sums_of_the_rows_by_minute_and_decision(tmp_path):
    times = [n * 20 * SECOND for n in range(30)]
    write(tmp_path, 1, times[:17])
    write(tmp_path, 2, times[17:])
    rows = records.query(tmp_path, limit=1000).records
    found = records.rollups(tmp_path)
    assert sum(rollup.rows for rollup in found) == 30
    for rollup in found:
        mine = [r for r in rows if segment.minute_of(r.key) == rollup.minute_key and r.decision == rollup.decision]
        assert rollup.rows == len(mine)
        assert rollup.latency_us_sum == sum(r.latency_us for r in mine)
        assert rollup.latency_us_max == max(r.latency_us for r in mine)
        assert rollup.score_sum == pytest.approx(sum(r.score or 0 for r in mine))
        assert rollup.score_square_sum == pytest.approx(sum((r.score or 0) ** 2 for r in mine))
        assert rollup.good == sum(r.quality == 0 for r in mine)


@pytest.fixture
def filled(tmp_path) -> Callable[[], list[int]]:
    """Segments of three revisions, some 28 kB each, ten seconds apart; gives their first keys."""
    for at in range(8):
        write(tmp_path, 1 + at // 3, [at * 10 * SECOND + SECOND])
    return lambda: [file.key for file in segment.listing(tmp_path)]


def test_retention_by_bytes_removes_the_oldest_whole_segments(tmp_path, filled):
    before = filled()
    size = records.used_bytes(tmp_path)
    removed = records.retain(tmp_path, bytes_max=size // 2, days_max=1000, now_key=(BOOT << 48) + 90 * SECOND)
    assert len(removed) == 4
    assert filled() == before[4:]
    assert records.used_bytes(tmp_path) <= size // 2


def test_retention_never_takes_the_newest_segment_of_the_two_newest_revisions(tmp_path, filled):
    before = filled()
    records.retain(tmp_path, bytes_max=0, days_max=0, now_key=(BOOT << 48) + 10**12)
    assert filled() == [before[5], before[7]]


def test_retention_by_age_counts_powered_on_time_over_reboots(tmp_path):
    day = 86_400 * SECOND
    write(tmp_path, 1, [SECOND])
    write(tmp_path, 1, [5 * day])
    write(tmp_path, 1, [SECOND], boot=BOOT + 1)
    write(tmp_path, 1, [2 * SECOND], boot=BOOT + 1)
    now_key = ((BOOT + 1) << 48) + 2 * day
    assert records.retain(tmp_path, bytes_max=10**9, days_max=8, now_key=now_key) == []
    assert len(records.retain(tmp_path, bytes_max=10**9, days_max=1.5, now_key=now_key)) == 3


def test_the_forecast_follows_the_rate_of_this_boot_and_is_unknown_at_first(tmp_path):
    write(tmp_path, 1, [SECOND])
    used = records.used_bytes(tmp_path)
    key = BOOT << 48
    near = {"bytes_max": 11 * used, "bytes_free": 10**12}
    assert records.forecast_days(tmp_path, **near, now_key=key + 2 * SECOND) is None
    day = 86_400 * SECOND
    assert records.forecast_days(tmp_path, **near, now_key=key + SECOND + day) == pytest.approx(10.0)
    assert records.forecast_days(
        tmp_path, bytes_max=10**12, bytes_free=2 * used, now_key=key + SECOND + day
    ) == pytest.approx(2.0)


def test_a_chunk_that_is_cut_short_is_refused():
    rows = [segment.Stored(n, 0, None, 0, None, 0, 0, 0, 0, b"abcd", None) for n in range(3)]
    body = segment.pack(rows)
    assert segment.unpack(body, 3, segment.CHUNK_FORMAT) == rows
    with pytest.raises(ValueError, match="shorter"):
        segment.unpack(body[:40], 3, segment.CHUNK_FORMAT)
    with pytest.raises(ValueError, match="format 9"):
        segment.unpack(body, 3, 9)


def test_a_gap_sorts_by_where_it_begins():
    assert sorted([Gap(5, 6, 1, ""), Gap(3, 9, 1, "")])[0].key_from == 3


def write_contexts(folder: Path, said: list[str], *, chunked: bool) -> None:
    """A row a context; in chunks, or one row each, over several commits."""
    writer = SegmentWriter(folder, 1, {"bundle": "pump", "digest": "d", "config": ""}, 1 << 20, db.open_writer)
    rows = [
        (at, 0, Row(at, at, 0, None, "", "ok", 0, "", None, None, context)) for at, context in enumerate(said, start=1)
    ]
    for at in range(0, len(rows), 4):
        writer.commit(rows[at : at + 4], [], chunked=chunked)
    writer.close()


SAID = ["", "product=A shift=1", "product=A shift=1", "product=B shift=1", *["product=A shift=2"] * 5, "", "product=B"]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_each_row_has_the_context_it_was_offered_with_and_filters_pick_by_its_pairs(tmp_path, chunked, newest_first):
    write_contexts(tmp_path, SAID, chunked=chunked)
    turn = -1 if newest_first else 1
    found = records.query(tmp_path, newest_first=newest_first).records
    assert [record.context for record in found] == SAID[::turn]
    for wanted in ("product=A", "shift=1", "shift=2 product=A", "product=C", "product"):
        page = records.query(tmp_path, context=wanted, newest_first=newest_first)
        fits = [at for at, said in enumerate(SAID, start=1) if set(wanted.split()) <= set(said.split())]
        assert numbers(page) == fits[::turn]


def test_contexts_cost_a_row_a_change_and_nothing_where_there_is_none(tmp_path):
    write_contexts(tmp_path, SAID, chunked=False)
    (file,) = segment.listing(tmp_path)
    with closing(db.open_reader(file.path, deadline_s=1.0)) as conn:
        assert conn.execute("SELECT key FROM context ORDER BY key").fetchall() == [(2,), (4,), (5,), (10,), (11,)]
        assert segment.schema_of(conn) == 1, "an agent of one version before reads it"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_segment_of_before_contexts_is_read_with_none(tmp_path, chunked):
    write_contexts(tmp_path, SAID, chunked=chunked)
    (file,) = segment.listing(tmp_path)
    with closing(db.open_writer(file.path)) as conn:
        conn.execute("DROP TABLE context")
    assert [record.context for record in records.query(tmp_path).records] == [""] * len(SAID)
    assert not records.query(tmp_path, context="product=A").records


def test_a_segment_says_again_what_the_one_before_it_said(tmp_path):
    writer = SegmentWriter(tmp_path, 1, {"bundle": "pump", "digest": "d", "config": ""}, 1 << 20, db.open_writer)
    for at in (1, 2):
        writer.commit([(at, 0, Row(at, at, 0, None, "", "ok", 0, "", None, None, "product=A"))], [], chunked=False)
        writer.close()
    assert len(segment.listing(tmp_path)) == 2
    assert [record.context for record in records.query(tmp_path).records] == ["product=A"] * 2
