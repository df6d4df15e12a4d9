"""How much memory the node can still give. From /proc/meminfo, so that it costs nothing to ask."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
# A worker without its model, resident (measured), and what is left to everything else.
WORKER_BYTES = 80 << 20
RESERVE_BYTES = 32 << 20


def available_bytes(meminfo: Path = MEMINFO) -> int | None:
    """What the kernel says can be had without swapping; None where it does not say."""
    for line in meminfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) << 10
    return None


def fits_beside(peak_memory_bytes: int, available: int | None) -> bool:
    """Whether one more worker with this declared peak has room now. Not known counts as room."""
    return available is None or available >= WORKER_BYTES + peak_memory_bytes + RESERVE_BYTES
