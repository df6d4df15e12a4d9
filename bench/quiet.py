"""Waits for an idle machine before a cell and repeats a cell that other processes disturbed.

What others take is what the machine was busy (/proc/stat) less what this process and its descendants used. Noise of
the host under a virtual machine is not seen by it: trust ratios of one run, and take what is within 30 % as a tie.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

OTHERS_MAX = 0.15  # of a core
TRIES_MAX = 3
LOOK_S = 0.25
_TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """Has `patience_s` to spend on waiting, over all its cells; after that it measures as things are, and says so."""

    def __init__(self, patience_s: float) -> None:
        self._left_s = patience_s

    def undisturbed(self, measure: Callable[[], float]) -> tuple[float, float]:
        """The value of the least disturbed of up to `TRIES_MAX` tries, and the cores that others took during it."""
        best: tuple[float, float] | None = None
        for _ in range(TRIES_MAX):
            self._wait()
            began_s, before_s = time.monotonic(), _others_s()
            value = measure()
            elapsed_s = time.monotonic() - began_s
            others = max(0.0, (_others_s() - before_s) / elapsed_s)
            if best is None or others < best[1]:
                best = (value, others)
            if others <= OTHERS_MAX or self._left_s <= 0:
                break
            self._left_s -= elapsed_s
        assert best is not None
        return best

    def _wait(self) -> None:
        while self._left_s > 0:
            before_s = _others_s()
            time.sleep(LOOK_S)
            self._left_s -= LOOK_S
            if (_others_s() - before_s) / LOOK_S <= OTHERS_MAX:
                return


def _others_s() -> float:
    """Seconds of CPU, over all cores, that were spent by processes which are not ours."""
    return _machine_s() - tree_s(os.getpid())


def _machine_s() -> float:
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def tree_s(pid: int) -> float:
    """Seconds of CPU of a process and its descendants, those that ended and were waited for too."""
    process = psutil.Process(pid)
    spent_s = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile; its parent has its time now
        spent_s += times.user + times.system + times.children_user + times.children_system
    return spent_s
