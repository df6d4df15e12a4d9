"""Ends native runs that take longer than they may. One thread for all of them, asleep while nothing runs.

A run costs two lock operations and no system call. It is looked at every 50 ms, so a deadline is kept to that; what
does not return at all is for the supervisor, which kills a worker whose heartbeat stops.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

LOOK_S = 0.05
IDLE_LOOKS = 20  # looks without any run, then the thread sleeps until the next one


class Lane:
    """One place for runs, one at a time. `expired` after a run: it was ended, and the lane is spent."""

    __slots__ = ("_lock", "_terminate", "_until_s", "expired")

    def __init__(self, terminate: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._terminate = terminate
        self._until_s = math.inf
        self.expired = False

    def begin(self, until_s: float) -> None:
        """A run starts that must be over at `until_s` (time.monotonic)."""
        self._until_s = until_s

    def end(self) -> None:
        """The run is over; from here on the watchdog lets the lane alone."""
        with self._lock:
            self._until_s = math.inf

    def look(self, now_s: float) -> bool:
        """Ends the run where it is too late. True: a run is under way."""
        if self._until_s == math.inf:
            return False
        with self._lock:
            if now_s >= self._until_s and not self.expired:
                self.expired = True
                self._terminate()
            return self._until_s != math.inf


class Watchdog:
    """Looks at lanes. close() ends its thread."""

    def __init__(self) -> None:
        self._lanes: list[Lane] = []
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._asleep = True
        self._thread: threading.Thread | None = None

    def add(self, lane: Lane) -> None:
        """Watches a lane from now on."""
        self._lanes.append(lane)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)
            self._thread.start()

    def remove(self, lane: Lane) -> None:
        """Forgets a spent lane."""
        self._lanes.remove(lane)

    def wake(self) -> None:
        """A run has begun; costs nothing while the thread is awake."""
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def close(self) -> None:
        """Ends the thread; runs under way are not ended."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        idle = 0
        while not self._closed.is_set():
            running = [lane.look(time.monotonic()) for lane in list(self._lanes)]
            idle = 0 if any(running) else idle + 1
            if idle < IDLE_LOOKS:
                self._closed.wait(LOOK_S)
                continue
            self._wake.clear()
            self._asleep = True
            began = any(lane.look(time.monotonic()) for lane in list(self._lanes))  # before the flag could be seen
            if not began and not self._closed.is_set():
                self._wake.wait()
            idle = 0
