"""The machine under the agent."""

from __future__ import annotations

from pathlib import Path

from nodeagent.health import host as health
from nodeagent.health.host import HostMonitor


def test_a_reading_holds_what_the_host_tells(tmp_path: Path) -> None:
    read = HostMonitor(tmp_path).read(boottime_us=5_000_000, disk_days_left=12.0)
    assert read.uptime_s == 5.0
    assert read.disk_days_left == 12.0
    assert read.memory_bytes_total is not None
    assert read.disk_bytes_free is not None
    assert 0 < read.disk_bytes_free <= (read.disk_bytes_total or 0)


def test_a_rate_needs_two_readings(tmp_path: Path) -> None:
    monitor = HostMonitor(tmp_path)
    assert monitor.read(boottime_us=1_000_000).network_rx_bytes_per_s is None
    assert monitor.read(boottime_us=2_000_000).network_rx_bytes_per_s is not None
    assert monitor.read(boottime_us=2_000_000).network_rx_bytes_per_s is None


def test_a_disk_that_is_not_there_is_unknown_and_not_empty(tmp_path: Path) -> None:
    assert health.disk(tmp_path / "gone") == (None, None)
