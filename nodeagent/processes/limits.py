"""What a process may take before the kernel says no, and how a child is tied to its parent. Standard library only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# onnxruntime with a tiny model maps about 330 MB of address space (measured); the rest of a worker fits in 70 MB.
PROBATION_BASE_BYTES = 400 << 20
OPEN_FILES_MAX = 4_096
PR_SET_PDEATHSIG = 1
EXIT_ORPHAN = 70
WORKER_OOM_SCORE = 500
# Not 19: one that gets next to nothing on a busy node would be taken for one that hangs.
NICE_LAST = 10


@dataclass(frozen=True)
class Limits:
    """Limits of one child. 0 leaves one as it is. `memory_bytes` is address space; `cpu_s` is processor time in all."""

    memory_bytes: int = 0
    cpu_s: int = 0
    open_files: int = OPEN_FILES_MAX
    nice: int = 0
    oom_score: int = WORKER_OOM_SCORE

    def to_json(self) -> dict[str, int]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Limits:
        return cls(**{name: int(value) for name, value in values.items()})

    def apply(self) -> None:
        """Binds the calling process, between fork and exec. No core file, ever: it would hold plant data."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.memory_bytes:
            _lower(resource.RLIMIT_AS, self.memory_bytes)
        if self.cpu_s:
            _lower(resource.RLIMIT_CPU, self.cpu_s)
        if self.open_files:
            _lower(resource.RLIMIT_NOFILE, self.open_files)
        if self.nice:
            os.nice(self.nice)
        if self.oom_score:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(self.oom_score))


def yield_to_others(pid: int) -> None:
    """Every thread of a process gets processor time where nobody else wants it. One that ended: nothing is done."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread), NICE_LAST)


def tie_to_parent_of(parent: int) -> None:
    """The calling process gets SIGKILL when `parent`, which started it, dies; it ends now if that has happened."""
    import ctypes  # Only who starts a process, or is one that was, needs it.

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(EXIT_ORPHAN)


def tie_to_parent(limits: Limits | None = None) -> Callable[[], None]:
    """A `preexec_fn`: the child ends with its parent, has default signals, and `limits`."""
    import ctypes  # noqa: F401 - loaded before the fork, so that the child finds it there

    parent = os.getpid()

    def in_child() -> None:
        tie_to_parent_of(parent)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        if limits is not None:
            limits.apply()

    return in_child


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))
