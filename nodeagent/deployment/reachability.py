"""Whether a peer came by a login that is newer than a moment: what `confirm` asks before it believes in a way back in.

The kernel names the peer's process (SO_PEERCRED). For stream-local forwarding that is sshd's session process, for the
bridge one of its descendants; its start time is on CLOCK_BOOTTIME (proc_pid_stat(5), field 22). A peer below no sshd,
as behind an SSH server that is not a process of its own, proves nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

ANCESTORS_MAX = 32
_SSHD = frozenset({"sshd", "sshd-session"})
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def login_us(pid: int, *, proc: Path = Path("/proc")) -> int | None:
    """When the login behind the peer `pid` began, in microseconds on CLOCK_BOOTTIME; None: it cannot be seen."""
    for _ in range(ANCESTORS_MAX):
        if pid <= 1:
            return None
        try:
            name, parent, started_us = _stat((proc / str(pid) / "stat").read_text())
        except (OSError, ValueError):
            return None
        if name in _SSHD:
            return started_us
        pid = parent
    return None


def is_from_afar(pid: int, *, proc: Path = Path("/proc")) -> bool:
    """Whether the peer is sshd itself, or nobody that can be seen: not a person's program on this node."""
    try:
        name, _, _ = _stat((proc / str(pid) / "stat").read_text())
    except (OSError, ValueError):
        return True
    return name in _SSHD


def _stat(text: str) -> tuple[str, int, int]:
    """(command name, parent, start time in microseconds) of a line of /proc/PID/stat."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return head.partition("(")[2], int(fields[1]), int(fields[19]) * 1_000_000 // _TICKS_PER_S
