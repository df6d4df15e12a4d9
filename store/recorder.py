"""Makes predictions durable: a bounded queue, one thread, group commits. What it cannot keep, it counts.

`offer` never waits for the disk. A row is acknowledged when its commit returned (`Counters.committed_key`). Each row
offered takes one key, kept or not: boot number << 48 | CLOCK_BOOTTIME in microseconds, +1 on a tie, so that keys
rise over ties, restarts and clock steps alike. Rows lost to a full queue, a full disk, a crash or a power cut become
`Gap` rows. Above 50,000 rows a second rows are packed a thousand a blob (store/segment.py).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from store import db, durable, errors, progress, restart
from store.segment import BOOT_SHIFT, Gap, Row
from store.segment_writer import SegmentWriter, storable

__all__ = ["Counters", "Gap", "Recorder", "Row", "free_bytes"]

CHUNK_ABOVE_ROWS_PER_S = 50_000
_CHUNK_BELOW_ROWS_PER_S = 35_000
_RATE_SPAN_US = 50_000
_BACKLOG_COMMITS = 8
_COMMIT_ROWS_MAX = 4_000
_COMMIT_BYTES_MAX = 4 << 20
_RETRY_FULL_S = 0.1
_RETRY_FAILING_S = 2.0
_LOST_RUNS_MAX = 1_000


class Counters(NamedTuple):
    """Since this recorder began. `state` is `ok`, `disk full`, `closed` or what fails."""

    written: int
    lost: int
    queue: int
    queue_max: int
    committed_key: int
    chunked: bool
    state: str


def free_bytes(directory: Path) -> tuple[int, int]:
    """(free to us, total) bytes of the file system."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


class Recorder:
    """One revision's recorder; `store.progress.Busy` if another live process records the same revision here.

    `on_commit` is called in the recorder's thread with the last key that became durable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bundle: str,
        revision: int,
        digest: str,
        config: str,
        boot_number: int,
        clock_us: Callable[[], int],
        queue_rows: int = 40_000,
        queue_bytes: int = 64 << 20,
        commit_rows: int = 500,
        commit_s: float = 0.02,
        segment_bytes: int = 64 << 20,
        free_bytes_min: int = 64 << 20,
        free_share_min: float = 0.05,
        free: Callable[[Path], tuple[int, int]] = free_bytes,
        opener: Callable[[Path], sqlite3.Connection] = db.open_writer,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        durable.make_dir(directory)
        self._directory, self._boot, self._clock_us = directory, boot_number, clock_us
        self._queue_rows, self._queue_bytes = queue_rows, queue_bytes
        self._commit_rows, self._commit_s = commit_rows, commit_s
        self._free, self._free_bytes_min, self._free_share_min = free, free_bytes_min, free_share_min
        self._row_bytes_max = min(_COMMIT_BYTES_MAX, segment_bytes // 4)
        self._on_commit = on_commit
        meta: dict[str, str | int] = {
            "bundle": bundle,
            "revision": revision,
            "digest": digest,
            "config": config,
            "boot_number": boot_number,
        }
        self._writer = SegmentWriter(directory, revision, meta, segment_bytes, opener)

        before = restart.assess(directory, boot_number)
        self._owed: list[Gap] = before.gaps
        self._stale = [left.path for left in before.left if left.revision != revision]
        owed_rows = sum(gap.lost for gap in before.gaps)
        first_key = before.gaps[0].key_from if before.gaps else before.last_key + 1
        self._progress = progress.Progress(directory, revision, boot_number, first_key)
        self._progress.offered(owed_rows, before.last_key)

        self._changed = threading.Condition()
        self._items: list[tuple[int, int, Row]] = []
        self._runs: list[Gap] = []
        self._run_open = False
        self._pending: list[tuple[int, int, Row]] = []
        self._bytes = self._inflight = self._written = self._lost = self._accounted = 0
        self._offered = owed_rows
        self._last_key, self._committed_key = before.last_key, 0
        self._closing = self._ended = False
        self._flushing = 0
        self._state = "ok"
        self._chunked = False
        self._rate_key, self._rate_rows = 0, 0
        self._thread = threading.Thread(target=self._run, name=f"recorder-{bundle}-r{revision}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"Recorder({self.counters})"

    # ------------------------------------------------------------ the caller's side

    def offer(self, row: Row) -> int:
        """Take one row; its key, or 0 if it was lost and counted. Never waits for the disk."""
        with self._changed:
            return self._take_one(row, (self._boot << BOOT_SHIFT) | self._clock_us())

    def offer_many(self, rows: Iterable[Row]) -> int:
        """Take rows in order; how many were taken. The others are counted in gaps."""
        rows = list(rows)
        sizes = [(len(row[8]) if row[8] else 0) + (len(row[9]) if row[9] else 0) for row in rows]
        with self._changed:
            now_key = (self._boot << BOOT_SHIFT) | self._clock_us()
            if self._takes_all(sizes):
                self._take_all(rows, sizes, now_key)
                return len(rows)
            return sum([self._take_one(row, now_key) > 0 for row in rows])

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was offered before is committed or inside a committed gap. False: not in time."""
        with self._changed:
            target = self._offered
            self._flushing += 1
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._accounted >= target or self._ended, timeout_s)
            self._flushing -= 1
            return done and self._accounted >= target

    def close(self) -> None:
        """Commit what is queued, end the segment, stop the thread. What a full disk refuses is counted next time.

        Raises what ended the recorder's thread, if something did.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    @property
    def counters(self) -> Counters:
        """A consistent view, from any thread."""
        with self._changed:
            queue = len(self._items) + self._inflight
            return Counters(
                self._written, self._lost, queue, self._queue_rows, self._committed_key, self._chunked, self._state
            )

    _failure: BaseException | None = None

    def _takes_all(self, sizes: list[int]) -> bool:
        """Whether none of so many rows would be refused, so that they need not be looked at one by one."""
        if not sizes or self._ended or self._closing or max(sizes) > self._row_bytes_max:
            return False
        waiting = len(self._items) + self._inflight + len(sizes)
        return waiting <= self._queue_rows and self._bytes + sum(sizes) <= self._queue_bytes

    def _take_all(self, rows: list[Row], sizes: list[int], now_key: int) -> None:
        first, before = max(self._last_key + 1, now_key), len(self._items)
        self._items += zip(range(first, first + len(rows)), sizes, rows, strict=True)
        self._last_key = first + len(rows) - 1
        self._bytes += sum(sizes)
        self._run_open = False
        self._offered += len(rows)
        self._progress.offered(self._offered, self._last_key)
        if not before or before < self._commit_rows <= len(self._items):
            self._changed.notify_all()

    def _take_one(self, row: Row, now_key: int) -> int:
        if self._ended:
            self._lost += 1
            return 0
        key = self._last_key = max(self._last_key + 1, now_key)
        size = (len(row.inputs) if row.inputs else 0) + (len(row.outputs) if row.outputs else 0)
        refused = self._refusal(size)
        if refused:
            self._lose(key, refused)
        else:
            self._items.append((key, size, row))
            self._bytes += size
            self._run_open = False
        self._offered += 1
        self._progress.offered(self._offered, key)
        waiting = len(self._items)
        if waiting in (1, self._commit_rows) or refused:
            self._changed.notify_all()
        return 0 if refused else key

    def _refusal(self, size: int) -> str:
        if self._closing:
            return "recorder closed"
        if size > self._row_bytes_max:
            return "row too large"
        if len(self._items) + self._inflight >= self._queue_rows or self._bytes + size > self._queue_bytes:
            return "queue full" if self._state == "ok" else self._state
        return ""

    def _lose(self, key: int, reason: str) -> None:
        self._lost += 1
        last = self._runs[-1] if self._runs else None
        # Beyond the cap on runs a gap spans rows that were kept; its count stays exact.
        if last is not None and ((self._run_open and last.reason == reason) or len(self._runs) >= _LOST_RUNS_MAX):
            self._runs[-1] = last._replace(key_to=key, lost=last.lost + 1)
        else:
            self._runs.append(Gap(key, key, 1, reason))
        self._run_open = True

    # ------------------------------------------------------------ the recorder's thread

    def _run(self) -> None:
        try:
            while self._collect():
                self._drain()
        except BaseException as error:  # noqa: BLE001 - kept, shown in the state, raised by close()
            self._failure = error
            self._state = f"failed: {type(error).__name__}: {error}"
        finally:
            self._end()

    def _collect(self) -> bool:
        """Wait for work and move it to this thread's lists; False when closing and nothing is left to try."""
        with self._changed:
            held = bool(self._pending) or bool(self._owed)
            while not (self._items or self._runs or held or self._closing):
                self._changed.wait()
            if self._closing and not (self._items or self._runs or held):
                return False
            if held and self._state != "ok" and self._closing and not (self._items or self._runs):
                return False
            if not held:
                self._changed.wait_for(self._is_due, self._commit_s)
            elif self._state != "ok":
                wait_s = _RETRY_FULL_S if self._state == "disk full" else _RETRY_FAILING_S
                self._changed.wait_for(lambda: self._closing, wait_s)
            self._pending += self._items
            self._owed += self._runs
            self._inflight = len(self._pending)
            self._items, self._runs, self._run_open = [], [], False
            return True

    def _is_due(self) -> bool:
        return self._closing or self._flushing > 0 or len(self._items) >= self._commit_rows

    def _drain(self) -> None:
        while self._pending or self._owed:
            if not self._has_room():
                self._set_state("disk full")
                return
            count = self._slice()
            batch = self._pending[:count]
            all_of_it = count == len(self._pending)
            gaps = [gap for gap in self._owed if all_of_it or gap.key_from < batch[-1][0]]
            self._choose_form(batch, gaps)
            try:
                self._writer.commit(batch, gaps, chunked=self._chunked)
            except errors.DiskFull:
                self._set_state("disk full")
                return
            except (errors.StoreError, OverflowError) as error:
                if not self._drop_unstorable(batch):
                    self._set_state(f"failing: {error}")
                    return
                continue
            self._account(batch, gaps)

    def _slice(self) -> int:
        rows = min(len(self._pending), max(_COMMIT_ROWS_MAX, self._commit_rows))
        size = 0
        for at in range(rows):
            size += self._pending[at][1]
            if size > self._row_bytes_max:
                return max(at, 1)
        return rows

    def _choose_form(self, batch: list[tuple[int, int, Row]], gaps: list[Gap]) -> None:
        if len(self._pending) >= _BACKLOG_COMMITS * self._commit_rows and self._state == "ok":
            self._chunked = True
        if not batch:
            return
        last_key = batch[-1][0]
        self._rate_rows += len(batch) + sum(gap.lost for gap in gaps)
        span_us = last_key - self._rate_key
        if span_us >= _RATE_SPAN_US:
            limit = _CHUNK_BELOW_ROWS_PER_S if self._chunked else CHUNK_ABOVE_ROWS_PER_S
            self._chunked = self._rate_rows * 1_000_000 > limit * span_us
            self._rate_key, self._rate_rows = last_key, 0

    def _drop_unstorable(self, batch: list[tuple[int, int, Row]]) -> bool:
        bad = [item for item in batch if not storable(item[2])]
        if bad:
            kept = [item for item in batch if storable(item[2])]
            self._owed = sorted([*self._owed, *(Gap(key, key, 1, "row not storable") for key, _, _ in bad)])
            self._pending[: len(batch)] = kept
            with self._changed:
                self._lost += len(bad)
                self._inflight -= len(bad)
                self._bytes -= sum(size for _, size, _ in bad)
        return bool(bad)

    def _account(self, batch: list[tuple[int, int, Row]], gaps: list[Gap]) -> None:
        del self._pending[: len(batch)]
        done = set(gaps)
        self._owed = [gap for gap in self._owed if gap not in done]
        key = max([item[0] for item in batch[-1:]] + [gap.key_to for gap in gaps])
        with self._changed:
            self._written += len(batch)
            self._inflight -= len(batch)
            self._bytes -= sum([item[1] for item in batch])
            self._accounted += len(batch) + sum(gap.lost for gap in gaps)
            self._committed_key = batch[-1][0] if batch else self._committed_key
            if self._flushing:
                self._changed.notify_all()
        self._progress.accounted(self._accounted, key)
        self._set_state("ok")
        while self._stale:
            durable.unlink(self._stale.pop())
        if self._on_commit is not None and batch:
            self._on_commit(batch[-1][0])

    def _has_room(self) -> bool:
        free, total = self._free(self._directory)
        floor = max(self._free_bytes_min, int(total * self._free_share_min))
        # A tenth more to resume than to stop, so that the state does not flutter.
        return free >= (floor if self._state == "ok" else floor + floor // 10)

    def _set_state(self, state: str) -> None:
        if state == self._state:
            return
        self._state = state
        self._progress.disk_full(state == "disk full")

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            left = self._accounted < self._offered
            if self._failure is None and self._state == "ok":
                self._state = "closed"
            self._changed.notify_all()
        try:
            self._writer.abandon() if left else self._writer.close()
            self._progress.close(accounted_for=not left)
        except errors.StoreError as error:
            self._failure = self._failure or error
