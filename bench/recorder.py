"""Recorder rows a second, FULL, beside raw `executemany` on the same disk in the same run; and loss at 50,000 a second.

python -m bench.recorder [FOLDER]. One process, one writer. Raw means: tuples made beforehand, 500 a commit, one table
with the same columns, nothing else.
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from store import db, records
from store.recorder import Counters, Recorder, Row

_ROWS = 200_000
_COMMIT_ROWS = 500
_INPUTS, _OUTPUTS = bytes(range(64)), bytes(16)


def main() -> None:
    """Print one line a figure; ratios are of raw executemany in this run."""
    folder = Path(tempfile.mkdtemp(prefix="bench-recorder-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    rows = [_row(n) for n in range(_ROWS)]
    try:
        raw = _rate(lambda: _raw(folder / "raw.db", rows))
        print(f"raw executemany, FULL, {_COMMIT_ROWS} a commit   {raw:10,.0f} rows/s   1.00")
        for name, gap_us in (("rows", 25), ("chunks", 5)):
            rate = _rate(functools.partial(_recorder, folder / name, gap_us, rows))
            print(f"recorder, {name:<7}                          {rate:10,.0f} rows/s   {rate / raw:.2f}")
        counters, seconds = _paced(folder / "paced", rows, 50_000, 3.0)
        share = counters.lost / max(counters.lost + counters.written, 1)
        form = "chunks" if counters.chunked else "rows"
        print(f"paced at 50,000 rows/s for {seconds:.1f} s as {form}: lost {counters.lost} ({share:.2%})")
        begin = time.perf_counter()
        found = len(records.query(folder / "rows", decision="alarm", newest_first=True, limit=100).records)
        print(f"newest {found} alarms of {_ROWS:,} rows: {(time.perf_counter() - begin) * 1e3:.1f} ms")
    finally:
        shutil.rmtree(folder)


def _rate(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return _ROWS / (time.perf_counter() - begin)


def _raw(path: Path, rows: list[Row]) -> None:
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


def _row(n: int) -> Row:
    return Row(n, n, 120, 0.5, "normal", "alarm" if n % 100 == 0 else "ok", 0, "", _INPUTS, _OUTPUTS)


def _recorder(folder: Path, gap_us: int, rows: list[Row]) -> None:
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


def _paced(folder: Path, rows: list[Row], rate: int, seconds: float) -> tuple[Counters, float]:
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


if __name__ == "__main__":
    main()
