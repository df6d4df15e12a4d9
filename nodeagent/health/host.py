"""The machine under the agent, read once a period. Cheap: psutil's /proc readers and one statvfs, no process walk."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from nodeagent.protocol import HostHealth

# Names of hwmon chips that mean the processor or the board, best first.
_CHIPS = ("coretemp", "k10temp", "cpu_thermal", "soc_thermal", "acpitz")


class HostMonitor:
    """Reads the host; rates are over the time since the previous reading, None at the first."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._network: tuple[int, int, int] | None = None
        psutil.cpu_percent(interval=None)  # the first call starts the interval and means nothing

    def read(self, *, boottime_us: int, disk_days_left: float | None = None) -> HostHealth:
        """One reading. What the host does not tell is None."""
        memory = psutil.virtual_memory()
        disk_total, disk_free = disk(self._state)
        received, sent = self._network_rates(boottime_us)
        return HostHealth(
            cpu_percent=psutil.cpu_percent(interval=None),
            load_1m=os.getloadavg()[0],
            memory_bytes_total=memory.total,
            memory_bytes_used=memory.total - memory.available,
            disk_bytes_total=disk_total,
            disk_bytes_free=disk_free,
            disk_days_left=disk_days_left,
            temperature_c=temperature_c(),
            network_rx_bytes_per_s=received,
            network_tx_bytes_per_s=sent,
            uptime_s=boottime_us / 1e6,
        )

    def _network_rates(self, now_us: int) -> tuple[float | None, float | None]:
        counters = psutil.net_io_counters(pernic=True)
        links = [counter for name, counter in counters.items() if name != "lo"]
        now = (now_us, sum(link.bytes_recv for link in links), sum(link.bytes_sent for link in links))
        before, self._network = self._network, now
        if before is None or now_us <= before[0]:
            return None, None
        seconds = (now_us - before[0]) / 1e6
        return max(0.0, (now[1] - before[1]) / seconds), max(0.0, (now[2] - before[2]) / seconds)


def disk(path: Path) -> tuple[int | None, int | None]:
    """(bytes in all, bytes free to this account) of the file system that holds `path`; (None, None) when unknown."""
    try:
        figures = os.statvfs(path)
    except OSError:
        return None, None
    return figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize


def temperature_c() -> float | None:
    """Degrees Celsius of the hottest sensor of the first chip that means the processor."""
    chips = psutil.sensors_temperatures()
    for name in (*_CHIPS, *chips):
        if readings := [sensor.current for sensor in chips.get(name, ()) if sensor.current is not None]:
            return float(max(readings))
    return None
