"""Reading what recorders wrote: pages of records with the gaps between them, rollups, retention, forecast.

Readers are read-only, have a deadline and never disturb the writer. Segments of one revision follow each other;
those of several revisions may overlap in time and are merged by key.
"""

from __future__ import annotations

import bisect
import heapq
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from store import db, errors, segment
from store.retention import forecast_days, retain, used_bytes
from store.segment import Gap, SegmentFile, Stored

__all__ = ["Filter", "Gap", "Page", "Record", "Rollup", "forecast_days", "query", "retain", "rollups", "used_bytes"]

LIMIT_MAX = 10_000
_KEY_MAX = (1 << 63) - 1
_COLUMNS = "key, wall_us, source_us, latency_us, score, label, decision, quality, reason, inputs, outputs"
# The word of the last change at or below a row's key; before the first there is no context.
_CONTEXT = "ifnull((SELECT word FROM context AS c WHERE c.key <= record.key ORDER BY c.key DESC LIMIT 1), 0)"


class Record(NamedTuple):
    """One prediction as recorded, with where it came from. `inputs` and `outputs` are float32, little-endian."""

    key: int
    bundle: str
    revision: int
    digest: str
    config: str
    wall_us: int
    source_us: int | None
    latency_us: int
    score: float | None
    label: str
    decision: str
    quality: int
    reason: str
    inputs: bytes | None
    outputs: bytes | None
    context: str = ""


class Page(NamedTuple):
    """Records in the order asked for, and the gaps in the range of keys that the page covers.

    `next` is the `after` (newest first: the `before`) of the next page; None: there is no more.
    """

    records: list[Record]
    gaps: list[Gap]
    next: int | None


class Filter(NamedTuple):
    """What a record must be, exactly; None: anything. `context`: every pair of it, `product=A4`, in any order."""

    decision: str | None = None
    label: str | None = None
    quality: int | None = None
    context: str | None = None


class Rollup(NamedTuple):
    """One minute of CLOCK_BOOTTIME and one decision. Sums, so that they add across segments and nodes."""

    minute_key: int
    decision: str
    wall_us: int
    rows: int
    latency_us_sum: int
    latency_us_max: int
    scores: int
    score_sum: float
    score_square_sum: float
    good: int


def query(
    directory: Path,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int = 100,
    decision: str | None = None,
    quality: int | None = None,
    label: str | None = None,
    context: str | None = None,
    newest_first: bool = False,
    deadline_s: float = 2.0,
) -> Page:
    """Up to `limit` records with keys above `after` and below `before`. `context`: pairs that all must stand in it.

    A page that the deadline cut short holds what was found and goes on at `next`. Raises errors.Busy when the
    deadline passed before anything was found, ValueError for a limit outside 1..LIMIT_MAX.
    """
    if not 1 <= limit <= LIMIT_MAX:
        raise ValueError(f"limit must be in 1..{LIMIT_MAX}, not {limit}")
    end_s = time.monotonic() + deadline_s
    upper = _KEY_MAX if before is None else before
    wanted = Filter(decision, label, quality, context or None)
    found: list[Record] = []
    gaps: list[Gap] = []
    next_key: int | None = None
    merged = _merge(directory, after, upper, wanted, newest_first, end_s)
    with closing(merged):
        try:
            for item in merged:
                if isinstance(item, Gap):
                    gaps.append(item)
                    continue
                if len(found) == limit:
                    next_key = found[-1].key
                    break
                found.append(item)
        except errors.Busy:
            if not found:
                raise
            next_key = found[-1].key
    if next_key is not None:
        gaps = [gap for gap in gaps if (gap.key_from > next_key if newest_first else gap.key_from <= next_key)]
    return Page(found, gaps, next_key)


def _merge(
    directory: Path, after: int, before: int, wanted: Filter, newest_first: bool, end_s: float
) -> Generator[Record | Gap, None, None]:
    chains: dict[int, list[SegmentFile]] = {}
    for file in segment.listing(directory):
        chains.setdefault(file.revision, []).append(file)
    sign = -1 if newest_first else 1
    streams = [_chain(files, after, before, wanted, newest_first, end_s) for files in chains.values()]
    yield from heapq.merge(*streams, key=lambda item: sign * _place(item))


def _place(item: Record | Gap) -> int:
    return item.key_from if isinstance(item, Gap) else item.key


def _chain(
    files: list[SegmentFile], after: int, before: int, wanted: Filter, newest_first: bool, end_s: float
) -> Iterator[Record | Gap]:
    """One revision's segments in order. A segment ends where the next one of its revision begins."""
    ends = [file.key for file in files[1:]] + [_KEY_MAX]
    spans = [(file, end) for file, end in zip(files, ends, strict=True) if file.key < before and end > after]
    for file, _ in reversed(spans) if newest_first else spans:
        yield from _scan(file, after, before, wanted, newest_first, end_s)


def _scan(
    file: SegmentFile, after: int, before: int, wanted: Filter, newest_first: bool, end_s: float
) -> Iterator[Record | Gap]:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise errors.Busy("read", file.path, "the reader's deadline passed")
    try:
        conn = db.open_reader(file.path, deadline_s=left_s)
    except errors.Corrupt as error:
        yield Gap(file.key, file.key, 0, f"{file.path.name} is damaged: {error.hint}")
        return
    except errors.StoreError:
        if file.path.exists():
            raise
        return  # retention was faster
    with closing(conn):
        schema = segment.schema_of(conn)
        if schema == 0:
            return
        if schema not in segment.READABLE:
            yield Gap(file.key, file.key, 0, f"{file.path.name} has schema {schema}, which this version cannot read")
            return
        try:
            yield from _rows(conn, file, after, before, wanted, newest_first)
        except sqlite3.Error as error:
            raise errors.from_sqlite(error, "read", file.path) from error


def _rows(
    conn: sqlite3.Connection, file: SegmentFile, after: int, before: int, wanted: Filter, newest_first: bool
) -> Iterator[Record | Gap]:
    words = {0: "", **dict(conn.execute("SELECT id, text FROM word"))}
    meta = dict(conn.execute("SELECT name, value FROM meta"))
    about = (meta["bundle"], file.revision, meta["digest"], meta["config"])
    order = "DESC" if newest_first else "ASC"
    where, values = _where(wanted, {text: number for number, text in words.items()})
    contexts = _CONTEXT if segment.has_contexts(conn) else "0"
    if wanted.context is not None:
        where += f" AND {contexts} IN ({','.join(str(number) for number in sorted(_fitting(wanted.context, words)))})"
    singles = conn.execute(
        f"SELECT {_COLUMNS}, {contexts} FROM record WHERE key > ? AND key < ?{where} ORDER BY key {order}",
        (after, before, *values),
    )
    gaps = conn.execute(
        f"SELECT key, key_last, lost, reason FROM gap WHERE key_last > ? AND key < ? ORDER BY key {order}",
        (after, before),
    )
    sign = -1 if newest_first else 1
    rows: Iterator[Sequence[Any]] = heapq.merge(
        singles, _chunk_rows(conn, after, before, wanted, words, order), key=lambda row: sign * int(row[0])
    )
    records: Iterator[Record | Gap] = (
        Record(
            *(r[0], *about, r[1], r[2], r[3], r[4], words[r[5]], words[r[6]], r[7], words[r[8]], r[9], r[10]),
            words[r[11]],
        )
        for r in rows
    )
    yield from heapq.merge(records, (Gap(*gap) for gap in gaps), key=lambda item: sign * _place(item))


def _fitting(context: str, words: dict[int, str]) -> set[int]:
    """The words that hold every pair of `context`."""
    pairs = set(context.split())
    return {number for number, text in words.items() if pairs <= set(text.split())}


def _where(wanted: Filter, numbers: dict[str, int]) -> tuple[str, list[int]]:
    """A word that the segment does not hold has number -1, which no row has."""
    terms: list[str] = []
    values: list[int] = []
    for column, text in (("decision", wanted.decision), ("label", wanted.label)):
        if text is not None:
            terms.append(f" AND {column} = ?")
            values.append(numbers.get(text, -1))
    if wanted.quality is not None:
        terms.append(" AND quality = ?")
        values.append(wanted.quality)
    return "".join(terms), values


def _chunk_rows(
    conn: sqlite3.Connection, after: int, before: int, wanted: Filter, words: dict[int, str], order: str
) -> Iterator[tuple[Any, ...]]:
    """As the columns of a single row, the word of the context last."""
    fitting = None if wanted.context is None else _fitting(wanted.context, words)
    known = segment.has_contexts(conn)
    chunks = conn.execute(
        f"SELECT rows, format, body FROM chunk WHERE key_last > ? AND key < ? ORDER BY key {order}", (after, before)
    )
    for count, form, body in chunks:
        rows = segment.unpack(body, count, form)
        keys, numbers = _changes(conn, rows) if known and rows else ([], [0])
        for row in reversed(rows) if order == "DESC" else rows:
            if after < row.key < before and _passes(row, wanted, words):
                number = numbers[bisect.bisect_right(keys, row.key)]
                if fitting is None or number in fitting:
                    yield (*row, number)


def _changes(conn: sqlite3.Connection, rows: Sequence[Stored]) -> tuple[list[int], list[int]]:
    """Keys at which the context changes within `rows`, and the words before, between and after them."""
    first, last = rows[0].key, rows[-1].key
    before = conn.execute("SELECT word FROM context WHERE key < ? ORDER BY key DESC LIMIT 1", (first,)).fetchone()
    found = conn.execute(
        "SELECT key, word FROM context WHERE key BETWEEN ? AND ? ORDER BY key", (first, last)
    ).fetchall()
    return [key for key, _ in found], [before[0] if before else 0, *(word for _, word in found)]


def _passes(row: Stored, wanted: Filter, words: dict[int, str]) -> bool:
    return (
        (wanted.decision is None or words[row.decision] == wanted.decision)
        and (wanted.label is None or words[row.label] == wanted.label)
        and (wanted.quality is None or row.quality == wanted.quality)
    )


def rollups(directory: Path, *, after: int = 0, before: int | None = None, deadline_s: float = 2.0) -> list[Rollup]:
    """The sums by minute and decision, oldest first, over all revisions. Raises errors.Busy at the deadline."""
    upper = _KEY_MAX if before is None else before
    end_s = time.monotonic() + deadline_s
    found: dict[tuple[int, str], Rollup] = {}
    for file in segment.listing(directory):
        if file.key >= upper or not file.path.exists():
            continue
        with closing(db.open_reader(file.path, deadline_s=max(end_s - time.monotonic(), 0.0))) as conn:
            if segment.schema_of(conn) not in segment.READABLE:
                continue
            rows = conn.execute(
                "SELECT minute, ifnull(text, ''), wall_us, rollup.rows, latency_us_sum, latency_us_max, scores,"
                " score_sum, score_square_sum, good FROM rollup LEFT JOIN word ON id = decision"
                " WHERE minute > ? AND minute < ?",
                (after, upper),
            )
            for row in rows:
                _add(found, Rollup(*row))
    return [found[key] for key in sorted(found)]


def _add(found: dict[tuple[int, str], Rollup], more: Rollup) -> None:
    place = (more.minute_key, more.decision)
    have = found.get(place)
    if have is None:
        found[place] = more
        return
    found[place] = Rollup(
        *place,
        min(have.wall_us, more.wall_us),
        have.rows + more.rows,
        have.latency_us_sum + more.latency_us_sum,
        max(have.latency_us_max, more.latency_us_max),
        have.scores + more.scores,
        have.score_sum + more.score_sum,
        have.score_square_sum + more.score_square_sum,
        have.good + more.good,
    )
