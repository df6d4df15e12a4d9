"""Time on a node: CLOCK_BOOTTIME for every decision, wall time for people, the boot id to tell boots apart."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Protocol

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
BOOT_ID_VARIABLE = "OUTSTATION_BOOT_ID"
# A wall clock that reads an earlier year was never set: no agent of ours was made before it.
YEAR_MIN = 2025
CAP_SYS_TIME = 25


class Clock(Protocol):
    """What every part of the agent asks for the time. Tests pass their own."""

    def boottime_us(self) -> int:
        """Microseconds on CLOCK_BOOTTIME: never steps, goes on over suspend, starts again at a reboot."""

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch by the node's clock, which may be wrong and may step."""

    def boot_id(self) -> str:
        """The kernel's id of this boot."""


class SystemClock:
    """The machine's clock. OUTSTATION_BOOT_ID stands in for the kernel's id, so that a test can reboot."""

    def boottime_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000

    def wall_us(self) -> int:
        return time.time_ns() // 1_000

    def boot_id(self) -> str:
        return os.environ.get(BOOT_ID_VARIABLE) or BOOT_ID_FILE.read_text().strip()


def may_set_wall(status: Path = Path("/proc/self/status")) -> bool:
    """Whether the kernel would let this process set the machine's clock: CAP_SYS_TIME in its effective set."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> CAP_SYS_TIME & 1)


def set_wall(wall_us: int) -> None:
    """Sets the machine's clock. Raises PermissionError without CAP_SYS_TIME."""
    time.clock_settime_ns(time.CLOCK_REALTIME, wall_us * 1_000)
