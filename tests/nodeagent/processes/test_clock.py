"""The node's clock: CLOCK_BOOTTIME decides, the boot id tells boots apart."""

import time
from pathlib import Path

from nodeagent.clock import SystemClock


def test_boottime_is_the_kernels_and_goes_on():
    before_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
    first, second = SystemClock().boottime_us(), SystemClock().boottime_us()
    assert before_us <= first <= second


def test_the_boot_id_is_the_kernels_unless_a_test_reboots(monkeypatch):
    assert SystemClock().boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    monkeypatch.setenv("OUTSTATION_BOOT_ID", "another boot")
    assert SystemClock().boot_id() == "another boot"
