"""What the recorders before this one left behind: the highest key, and the rows that no commit holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from store import db, errors, progress, segment
from store.segment import Gap, SegmentFile

_DEADLINE_S = 10.0
_LOOK_BACK = 16


class Before(NamedTuple):
    """`last_key`: no key at or below it may be given again. `gaps` are owed, oldest first."""

    last_key: int
    gaps: list[Gap]
    left: list[progress.Left]


def assess(directory: Path, boot_number: int) -> Before:
    """Read the newest segments and what dead recorders left. Writes nothing.

    In the boot in which it died a recorder's losses are known exactly. After a power cut the count is a lower bound,
    which the reason says; a gap of 0 rows then says only that something may be missing.
    """
    files = segment.listing(directory)
    left = progress.abandoned(directory)
    newest = {file.revision: file for file in files}
    last_keys = {revision: _last_key(file) for revision, file in newest.items()}
    gaps = [gap for one in left if (gap := _gap_of(one, files, last_keys.get(one.revision, 0), boot_number))]
    gaps = [gap for gap in gaps if not _is_written(files, gap)]
    last_key = max([0, *last_keys.values(), *(one.offered_key for one in left), *(gap.key_to for gap in gaps)])
    return Before(last_key, sorted(gaps), left)


def _gap_of(left: progress.Left, files: list[SegmentFile], last_key: int, boot_number: int) -> Gap | None:
    mine = [file for file in files if file.revision == left.revision]
    committed = left.accounted + _count_after(mine, left.accounted_key)
    missing = max(0, left.offered - committed)
    key_from = max(last_key, left.accounted_key, left.first_key - 1) + 1
    key_to = max(left.offered_key, key_from)
    if left.boot_number == boot_number:
        reason = "disk full" if left.disk_full else "recorder ended"
        return Gap(key_from, key_to, missing, reason) if missing else None
    if not missing and (not mine or _is_closed(mine[-1])):
        return None
    return Gap(key_from, key_to, missing, "power cut, at least")


def _is_written(files: list[SegmentFile], gap: Gap) -> bool:
    """Whether a recorder of another revision wrote this gap and ended before it could remove the dead one's file."""
    for file in reversed([file for file in files if file.key <= gap.key_from][-_LOOK_BACK:]):
        conn = _open(file)
        if conn is None:
            continue
        try:
            if segment.has_gap(conn, gap.key_from):
                return True
        finally:
            conn.close()
    return False


def _count_after(files: list[SegmentFile], key: int) -> int:
    """Rows accounted for above `key`: in the last segment that begins at or below it, and in all later ones."""
    first = max([at for at, file in enumerate(files) if file.key <= key], default=0)
    found = 0
    for file in files[first:]:
        conn = _open(file)
        if conn is None:
            continue
        try:
            found += segment.count_after(conn, key)
        finally:
            conn.close()
    return found


def _last_key(file: SegmentFile) -> int:
    """The highest key, or what the name alone allows to know where the file cannot be read."""
    conn = _open(file)
    if conn is None:
        return file.key
    try:
        return max(file.key - 1, segment.last_key(conn))
    finally:
        conn.close()


def _is_closed(file: SegmentFile) -> bool:
    conn = _open(file)
    if conn is None:
        return False
    try:
        return segment.is_closed(conn)
    finally:
        conn.close()


def _open(file: SegmentFile) -> sqlite3.Connection | None:
    """None: damaged, of another schema, or never begun. The rows in such a file count as lost."""
    try:
        conn = db.open_reader(file.path, deadline_s=_DEADLINE_S)
    except errors.StoreError:
        return None
    if segment.schema_of(conn) in segment.READABLE:
        return conn
    conn.close()
    return None
