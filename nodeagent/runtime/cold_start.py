"""A bundle as after a power cut: a process of its own without a network, with a clock in 1970, and what is on the disk.

It loads, reproduces the golden vectors and predicts from the node's own recorded inputs. It opens no connector and
writes nothing; the worker that serves is not touched, so there is nothing to restore.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from nodeagent.clock import SystemClock
from nodeagent.model.golden import GoldenMismatch
from nodeagent.model.inference import ModelRefused, RunFailed, RunPolicy
from nodeagent.pipeline.drift import BaselineRefused
from nodeagent.pipeline.errors import ConfigError
from nodeagent.processes.limits import Limits, tie_to_parent_of
from nodeagent.runtime.cold_start_job import Rehearsed
from nodeagent.runtime.replay import RUN_S_MAX, Replay, compare, newest
from nodeagent.spec import Activation
from nodeagent.worker.loading import load
from store.errors import StoreError

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
CANNOT: Final = (
    ModelRefused,
    ConfigError,
    BaselineRefused,
    GoldenMismatch,
    RunFailed,
    MemoryError,
    StoreError,
    OSError,
)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`began_s`: when the supervisor started us, on CLOCK_BOOTTIME."""

    activation: Activation
    rows: int
    began_s: float


class UnsetClock(SystemClock):
    """The wall clock of a machine without a battery: it begins in 1970 at each boot."""

    def wall_us(self) -> int:
        return self.boottime_us()


def leave_the_network() -> bool:
    """Moves this process into a network of its own with nothing in it. False: the kernel does not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    return any(int(libc.unshare(flags)) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def attempt(job: Job, *, isolated: bool) -> Rehearsed:
    """What the bundle does by itself. What it cannot do is the answer."""
    try:
        loaded = load(job.activation, UnsetClock(), RunPolicy(deadline_s=RUN_S_MAX))
        past = newest(Path(job.activation.records_dir), job.rows)
        if not past and not loaded.golden_cases:
            problem = "there is neither a recorded input nor a golden vector to predict from"
            return Rehearsed(problem=problem, isolated=isolated)
        if past:
            again = Replay(loaded)
            again.ask(again.feeds(past[-1].inputs), past[-1].key)
        first_s = time.clock_gettime(time.CLOCK_BOOTTIME) - job.began_s
        done = compare(loaded, past) if past else None
    except CANNOT as error:
        return Rehearsed(problem=f"{error}"[:500] or type(error).__name__, isolated=isolated)
    problem = done.problem if done is not None else ""
    if done is not None and done.errors:
        problem = f"the model failed on {done.errors} of {done.rows} recorded inputs"
    return Rehearsed(
        problem=problem,
        isolated=isolated,
        first_s=round(first_s, 3),
        golden_cases=loaded.golden_cases,
        rows=done.rows if done is not None else 0,
        decided=done.decided if done is not None else 0,
        agreed=done.agreed if done is not None else 0,
    )


def main() -> int:
    """The command line: a Job on standard input, a Rehearsed on standard output."""
    parser = argparse.ArgumentParser(prog="nodeagent.runtime.cold_start", description=__doc__)
    parser.add_argument("--memory-bytes", type=int, required=True, help="address space")
    parser.add_argument("--cpu-s", type=int, required=True, help="processor time")
    parser.add_argument("--parent", type=int, required=True, help="ends with this process")
    asked = parser.parse_args()
    tie_to_parent_of(asked.parent)
    isolated = leave_the_network()
    Limits(memory_bytes=asked.memory_bytes, cpu_s=asked.cpu_s).apply()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    os.write(1, msgspec.json.encode(attempt(job, isolated=isolated)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
