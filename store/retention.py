"""What record segments may take: the oldest go whole, by size and by age, and a forecast of when that begins."""

from __future__ import annotations

from pathlib import Path

from store import durable, segment
from store.segment import BOOT_SHIFT, SegmentFile

SEGMENTS_MAX = 4_096
_DAY_US = 86_400_000_000
_FORECAST_SPAN_US_MIN = 60_000_000
_REVISIONS_KEPT = 2


def retain(directory: Path, *, bytes_max: int, days_max: float, now_key: int) -> list[Path]:
    """Unlink the oldest segments until the folder holds at most `bytes_max` and nothing older than `days_max`.

    The newest segment of the two newest revisions always stays, since a recorder may be writing to it. Age is
    powered-on time: the time that a node stood switched off is not known to its keys and does not count. Returns
    what was removed.
    """
    files = segment.listing(directory)
    newest = {file.revision: file for file in files}
    kept = {newest[revision] for revision in sorted(newest)[-_REVISIONS_KEPT:]}
    ages = _ages_us(files, now_key)
    sizes = {file: size_bytes(file) for file in files}
    total, count = sum(sizes.values()), len(files)
    removed = []
    for file in files:
        over = total > bytes_max or count > SEGMENTS_MAX or ages[file] > days_max * _DAY_US
        if file in kept or not over:
            continue
        for suffix in ("", "-wal", "-shm"):
            durable.unlink(file.path.with_name(file.path.name + suffix))
        total, count = total - sizes[file], count - 1
        removed.append(file.path)
    return removed


def size_bytes(file: SegmentFile) -> int:
    """What a segment takes on the disk, its WAL included; 0 when it has gone."""
    paths = (file.path, file.path.with_name(file.path.name + "-wal"))
    return sum(path.stat().st_size for path in paths if path.exists())


def used_bytes(directory: Path) -> int:
    """What all segments of the folder take."""
    return sum(size_bytes(file) for file in segment.listing(directory))


def forecast_days(directory: Path, *, bytes_max: int, bytes_free: int, now_key: int) -> float | None:
    """Days until the cap or the disk is reached at the rate of this boot; None: not enough seen to tell."""
    boot = now_key >> BOOT_SHIFT
    files = segment.listing(directory)
    mine = [file for file in files if file.key >> BOOT_SHIFT == boot]
    if not mine:
        return None
    span_us = now_key - mine[0].key
    written = sum(size_bytes(file) for file in mine)
    if span_us < _FORECAST_SPAN_US_MIN or not written:
        return None
    room = min(bytes_max - sum(size_bytes(file) for file in files), bytes_free)
    return max(0.0, room) * span_us / written / _DAY_US


def _ages_us(files: list[SegmentFile], now_key: int) -> dict[SegmentFile, int]:
    # A segment ended at the latest where the next one began; the last of a boot, at the last key known of that boot.
    mask = (1 << BOOT_SHIFT) - 1
    boots = sorted({file.key >> BOOT_SHIFT for file in files} | {now_key >> BOOT_SHIFT})
    uptime = {boot: max([file.key & mask for file in files if file.key >> BOOT_SHIFT == boot] + [0]) for boot in boots}
    uptime[now_key >> BOOT_SHIFT] = now_key & mask
    later = {boot: sum(uptime[other] for other in boots if other > boot) for boot in boots}
    ages = {}
    for at, file in enumerate(files):
        boot = file.key >> BOOT_SHIFT
        following = files[at + 1].key if at + 1 < len(files) else now_key
        end = following & mask if following >> BOOT_SHIFT == boot else uptime[boot]
        ages[file] = max(0, uptime[boot] - end) + later[boot]
    return ages
