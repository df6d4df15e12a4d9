"""Checks of the disk that holds the node's state."""

from __future__ import annotations

import os
import statistics
import time

from nodeagent.checks.finding import Finding, bad, ok, unknown, warn
from nodeagent.checks.host import Host
from nodeagent.health.host import disk as room
from store import durable

DAYS_MIN = 7.0
INODES_SHARE_WARN, INODES_SHARE_BAD = 0.05, 0.01
WRITES = 5
WRITE_BYTES = 4_096
WRITE_MS_WARN, WRITE_MS_BAD = 100.0, 1_000.0
_PROBE = ".check"


def disk(host: Host) -> Finding:
    """Bytes free against what deployments need, and days until records fill it."""
    total, free = room(host.state)
    if free is None or total is None:
        return unknown("the file system does not tell")
    least = host.settings.disk.bytes_free_min
    days = host.disk_days_left
    left = "" if days is None else f", full in {days:.0f} days" if days < 3_650 else ", years left"
    text = f"{free / 1e6:.0f} MB of {total / 1e6:.0f} MB free{left}"
    advice = "Free room, or lower [records] bytes_max in node.toml."
    if free < least:
        return bad(f"{text}: deployments are refused below {least / 1e6:.0f} MB", advice)
    if free < 2 * least or (days is not None and days < DAYS_MIN):
        return warn(text, advice)
    return ok(text)


def inodes(host: Host) -> Finding:
    """A disk can be full of files with bytes to spare."""
    figures = os.statvfs(host.state)
    if not figures.f_files:
        return ok("this file system does not count files")
    share = figures.f_favail / figures.f_files
    text = f"{figures.f_favail} of {figures.f_files} files free"
    advice = "Look for a folder with very many files: `du --inodes -x / | sort -n | tail`."
    if share < INODES_SHARE_BAD:
        return bad(text, advice)
    return warn(text, advice) if share < INODES_SHARE_WARN else ok(text)


def writes(host: Host) -> Finding:
    """How long a small write takes until it is durable: what every record and every step of a deployment waits for."""
    path = host.state / _PROBE
    took_ms = []
    try:
        for _ in range(WRITES):
            started_s = time.monotonic()
            durable.write_file(path, b"\0" * WRITE_BYTES)
            took_ms.append((time.monotonic() - started_s) * 1e3)
    finally:
        durable.unlink(path)
    middle, worst = statistics.median(took_ms), max(took_ms)
    text = f"a durable write takes {middle:.1f} ms, at worst {worst:.1f} ms"
    advice = "A worn card or a busy disk: look with `iostat -x 1`; records wait for it and are counted when lost."
    if middle > WRITE_MS_BAD:
        return bad(text, advice)
    return warn(text, advice) if middle > WRITE_MS_WARN else ok(text)


def ballast(host: Host) -> Finding:
    """The file that is given up so that a full disk can still roll back."""
    if not host.settings.disk.ballast_bytes:
        return warn("node.toml wants none: a full disk cannot roll back", "Set [disk] ballast_bytes.")
    try:
        size = (host.state / "ballast").stat().st_size
    except FileNotFoundError:
        return warn("not held: never taken yet, or given up to a full disk", "Free room; it is taken by itself.")
    return ok(f"{size / 1e6:.0f} MB held back")
