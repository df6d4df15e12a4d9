"""Recorder rows a second, FULL, beside raw `executemany` on the same disk in the same run; and loss at 50,000 a second.

One process, one writer. Raw means: tuples made beforehand, 500 a commit, one table
with the same columns, nothing else.
"""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.row import Row, alternate
from nodeagent.model.inference import Model
from store import db, records
from store.recorder import Counters, Recorder
from store.recorder import Row as Prediction

_ROWS = 200_000
_COMMIT_ROWS = 500
MONTH_MINUTES = 30 * 24 * 60
MODEL = Path("examples/pump/model.onnx")
Result = TypeVar("Result")
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
        beside = _beside_a_model(folder / "beside", rows)
        month = _month(folder / "month", rows)
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
        beside,
        month,
        Row(f"newest {found} alarms of {_ROWS:,} rows", query_ms, "ms"),
    ]


def _beside_a_model(folder: Path, rows: list[Prediction]) -> Row:
    """The 99th percentile of a model's runs while 50,000 rows a second are recorded, and while none are, in turn."""
    model = Model.load(MODEL)
    alone, recording = alternate(
        [lambda: _p99_us(model), lambda: _while_recording(folder, rows, lambda: _p99_us(model))], passes=3
    )
    title = "p99 of a model's runs beside 50,000 records/s"
    return Row(title, recording.median, "us", "without records", alone.median, 1.1, less=True).of(recording)


def _p99_us(model: Model) -> float:
    """Of runs that follow each other by a millisecond, for two seconds."""
    shape = [size if size and size > 0 else 1 for size in model.inputs[0].shape]
    feeds = {model.inputs[0].name: np.ones(shape, np.float32)}
    took, end_s = [], time.perf_counter() + 2.0
    while time.perf_counter() < end_s:
        begin = time.perf_counter()
        model.run(feeds)
        took.append(time.perf_counter() - begin)
        time.sleep(0.001)
    return sorted(took)[len(took) * 99 // 100] * 1e6


def _while_recording(folder: Path, rows: list[Prediction], measure: Callable[[], Result]) -> Result:
    """`measure` in this thread while another offers rows to a recorder of the same process."""
    recorder = _start(folder, lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000)
    ends = threading.Event()

    def offer() -> None:
        begin, sent = time.perf_counter(), 0
        while not ends.is_set():
            due = int((time.perf_counter() - begin) * 50_000)
            first = sent % (_ROWS // 2)
            recorder.offer_many(rows[first : first + due - sent])
            sent = due
            time.sleep(0.005)

    thread = threading.Thread(target=offer)
    thread.start()
    try:
        return measure()
    finally:
        ends.set()
        thread.join()
        recorder.close()


def _month(folder: Path, rows: list[Prediction]) -> Row:
    """The sums of 30 days by minute, read while 50,000 rows a second are recorded to the same folder."""
    now_us = [0]
    recorder = _start(folder, lambda: now_us[0])
    for minute in range(MONTH_MINUTES):
        now_us[0] = minute * 60_000_000
        recorder.offer_many(rows[99:101])
        if minute % 5_000 == 0:
            recorder.flush(10.0)
    recorder.close()

    def read_ms() -> float:
        took = []
        for _ in range(10):
            begin = time.perf_counter()
            found = len(records.rollups(folder, deadline_s=30.0))
            took.append((time.perf_counter() - begin) * 1e3)
            time.sleep(0.05)
        if found < MONTH_MINUTES:
            raise RuntimeError(f"{found} sums of {MONTH_MINUTES} minutes")
        return sorted(took)[len(took) // 2]

    # Records are read in another process than the one that writes them, as on a node.
    ends = multiprocessing.Event()
    child = multiprocessing.Process(target=_while_recording, args=(folder, rows, ends.wait))
    child.start()
    try:
        ms = read_ms()
    finally:
        ends.set()
        child.join()
    return Row(f"sums of 30 days ({MONTH_MINUTES:,} minutes) while recording", ms, "ms", "budget", 50, 1.0, less=True)


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
