"""Checks of the machine's clock. How far it is off is the console's to measure: a node cannot know."""

from __future__ import annotations

import ctypes
import datetime
import os

from nodeagent.checks.finding import Finding, ok, unknown, warn
from nodeagent.checks.host import Host
from nodeagent.clock import YEAR_MIN

_TIME_ERROR = 5
_TIMEX_BYTES = 256


def clock(host: Host) -> Finding:
    """A year that can be, and whether something keeps the clock."""
    now = datetime.datetime.fromtimestamp(host.wall_s, datetime.UTC)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year < YEAR_MIN:
        return warn(
            f"{text} cannot be right", "Set it: `outstation clock set NODE`. Nothing on the node depends on it."
        )
    kept = _is_synchronised()
    if kept is None:
        return ok(text)
    return ok(f"{text}, {'kept by a time service' if kept else 'kept by nothing: it drifts'}")


def time_zone(host: Host) -> Finding:
    """The zone in which the node's own log files and people at it read the time; we keep UTC."""
    link = host.root / "etc/localtime"
    named = host.maybe("etc/timezone")
    if named is None and link.is_symlink():
        _, found, named = os.readlink(link).partition("zoneinfo/")
        named = named if found else None
    if named is None and not link.exists():
        return ok("none is set: UTC")
    if named is None:
        return unknown("a zone is set, which one is not told", "Link /etc/localtime to a file of /usr/share/zoneinfo.")
    zones = host.root / "usr/share/zoneinfo"
    if zones.is_dir() and not (zones / named).is_file():
        return warn(f"{named} is no zone that this machine knows", "Set it with timedatectl set-timezone.")
    return ok(named)


def _is_synchronised() -> bool | None:
    """adjtimex(2): whether the kernel's clock is kept by something. None: the kernel does not say."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = int(libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return None if answer < 0 else answer != _TIME_ERROR
