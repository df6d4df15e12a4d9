"""Recorder rows a second, FULL, beside raw `executemany` on the same disk in the same run; and loss at 50,000 a second.

One process, one writer. Raw means: tuples made beforehand, 500 a commit, one table
with the same columns, nothing else.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.row import Row, alternate
from store import db, records
from store.recorder import Counters, Recorder
from store.recorder import Row as Prediction

_ROWS = 200_000
_COMMIT_ROWS = 500
_INPUTS, _OUTPUTS = bytes(range(64)), bytes(16)


def run() -> list[Row]:
    """Goals: 100,000 rows a second, and none lost at 50,000 offered."""
    folder = Path(tempfile.mkdtemp(prefix="bench-recorder-"))
    rows = [_row(n) for n in range(_ROWS)]
    number = itertools.count()
    try:
        raw, as_rows, as_chunks = alternate(
            [
                lambda: _rate(lambda: _raw(folder / f"raw-{next(number)}.db", rows)),
                lambda: _rate(lambda: _recorder(folder / f"rows-{next(number)}", 25, rows)),
                lambda: _rate(lambda: _recorder(folder / f"chunks-{next(number)}", 5, rows)),
            ],
            passes=3,
        )
        counters, seconds = _paced(folder / "paced", rows, 50_000, 3.0)
        begin = time.perf_counter()
        found = len(records.query(folder / "rows-1", decision="alarm", newest_first=True, limit=100).records)
        query_ms = (time.perf_counter() - begin) * 1e3
    finally:
        shutil.rmtree(folder)
    against = f"raw executemany, {_COMMIT_ROWS} a commit"
    offered = counters.written + counters.lost
    form = "chunks" if counters.chunked else "rows"
    return [
        Row("records, rows, every commit synced", as_rows.median, "rows/s", "budget", 100_000, 1.0).of(as_rows),
        Row("records, rows, every commit synced", as_rows.median, "rows/s", against, raw.median, headline=True).of(
            as_rows
        ),
        Row("records, chunks, every commit synced", as_chunks.median, "rows/s", against, raw.median, headline=True).of(
            as_chunks
        ),
        Row(
            "records kept of 50,000/s",
            counters.written,
            "rows",
            "offered",
            offered,
            1.0,
            f"{seconds:.1f} s, as {form}",
            headline=True,
        ),
        Row(f"newest {found} alarms of {_ROWS:,} rows", query_ms, "ms"),
    ]


def _rate(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return _ROWS / (time.perf_counter() - begin)


def _raw(path: Path, rows: list[Prediction]) -> None:
    conn = db.open_writer(path)
    conn.execute(
        "CREATE TABLE record(key INTEGER PRIMARY KEY, wall_us INTEGER, source_us INTEGER, latency_us INTEGER,"
        " score REAL, label INTEGER, decision INTEGER, quality INTEGER, reason INTEGER, inputs BLOB, outputs BLOB)"
    )
    ready = [(n, *row[:4], 1, 2, 0, 0, *row[8:]) for n, row in enumerate(rows)]
    for start in range(0, _ROWS, _COMMIT_ROWS):
        with db.transaction(conn):
            conn.executemany(
                "INSERT INTO record VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", ready[start : start + _COMMIT_ROWS]
            )
    conn.close()


def _row(n: int) -> Prediction:
    return Prediction(n, n, 120, 0.5, "normal", "alarm" if n % 100 == 0 else "ok", 0, "", _INPUTS, _OUTPUTS)


def _recorder(folder: Path, gap_us: int, rows: list[Prediction]) -> None:
    """Offer as fast as the queue takes; `gap_us` between rows on the recorder's clock decides rows or chunks."""
    now = [0]
    recorder = _start(folder, lambda: now[0])
    for start in range(0, _ROWS, _COMMIT_ROWS):
        now[0] += gap_us * _COMMIT_ROWS
        while recorder.counters.queue > 3_000:
            time.sleep(0.0005)
        recorder.offer_many(rows[start : start + _COMMIT_ROWS])
    recorder.close()
    if recorder.counters.written != _ROWS:
        raise RuntimeError(f"{recorder.counters} of {_ROWS} rows")


def _paced(folder: Path, rows: list[Prediction], rate: int, seconds: float) -> tuple[Counters, float]:
    recorder = _start(folder, lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000)
    begin, sent = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        due = min(int(elapsed * rate), _ROWS)
        for row in rows[sent:due]:
            recorder.offer(row)
        sent = due
        time.sleep(0.001)
    chunked = recorder.counters.chunked
    recorder.close()
    return recorder.counters._replace(chunked=chunked), time.perf_counter() - begin


def _start(folder: Path, clock_us: Callable[[], int]) -> Recorder:
    return Recorder(
        folder, bundle="bench", revision=1, digest="", config="", boot_number=1, clock_us=clock_us,
        free_bytes_min=0, free_share_min=0.0,
    )  # fmt: skip
