"""Child processes of the launcher: how one is started, what it said last, how it ended. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nodeagent.processes.limits import Limits, tie_to_parent

TAIL_BYTES_MAX = 4_096
READ_BYTES = 65_536
TAIL_READS_MAX = 32
WORKER_ENVIRONMENT = {
    # Each malloc arena reserves 64 MB of address space, which RLIMIT_AS counts.
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class SpawnSpec:
    """How to start one worker. `document` is what its `--spec` file holds, beside `fds`, which the launcher fills in.

    `listeners` maps the worker's name of an inherited socket to the launcher's.
    """

    worker: str
    bundle: str
    revision: int
    role: str
    document: dict[str, Any]
    listeners: dict[str, str]
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "limits": self.limits.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SpawnSpec:
        return cls(**{**values, "limits": Limits.from_json(values["limits"])})


class Child:
    """One running child with the last words it wrote to stderr."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, spec: SpawnSpec | None = None) -> None:
        self.process = process
        self.name = name
        self.spec = spec
        self.started_s = time.monotonic()
        self._tail = b""
        self._kill_at_s: float | None = None
        assert process.stderr is not None
        self.stderr = process.stderr.fileno()
        os.set_blocking(self.stderr, False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def tail(self) -> str:
        """The last lines it wrote, at most TAIL_BYTES_MAX."""
        return self._tail.decode("utf-8", "replace").strip()

    def listen(self) -> bool:
        """Takes what it wrote, passing it on to our own stderr. False: it closed its end."""
        try:
            data = os.read(self.stderr, READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
            self._tail = (self._tail + data)[-TAIL_BYTES_MAX:]
        return bool(data)

    def signal(self, number: int) -> None:
        """Sends a signal; a child that has ended already is nothing to do."""
        self.process.send_signal(number)

    def stop(self, now_s: float, *, grace_s: float) -> None:
        """Asks it once to end; a stopped (SIGSTOP) one is woken to hear it. `kill_late` follows after `grace_s`."""
        if self._kill_at_s is None:
            self._kill_at_s = now_s + grace_s
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)

    def kill_late(self, now_s: float) -> None:
        """Kills it if it was asked to end and its time is over."""
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            self.signal(signal.SIGKILL)

    def ended(self) -> int | None:
        """Its exit status (negative: the signal that ended it), None while it runs."""
        return self.process.poll()

    def close(self) -> None:
        """After its end: takes the last words still in the pipe and closes it."""
        for _ in range(TAIL_READS_MAX):
            before = self._tail
            if not self.listen() or self._tail == before:
                break
        assert self.process.stderr is not None
        self.process.stderr.close()


def start_supervisor(command: list[str], fd: int, environment: Mapping[str, str]) -> Child:
    """Starts the supervisor with its packet socket as descriptor `fd`."""
    return Child(_start(command, (fd,), environment, None), "supervisor")


def start_worker(command: list[str], spec: SpawnSpec, fds: dict[str, int], environment: Mapping[str, str]) -> Child:
    """Starts a worker. Its document, which may hold secrets, is a file in memory that no path on the disk names."""
    document = os.memfd_create(f"spec-{spec.worker}")
    try:
        os.write(document, json.dumps({**spec.document, "fds": fds}).encode())
        os.lseek(document, 0, os.SEEK_SET)
        command = [*command, "--spec", f"/dev/fd/{document}"]
        process = _start(command, (document, *fds.values()), {**environment, **WORKER_ENVIRONMENT}, spec.limits)
    finally:
        os.close(document)
    return Child(process, spec.worker, spec)


def describe(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _start(
    command: list[str], fds: tuple[int, ...], environment: Mapping[str, str], limits: Limits | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=fds,
        env=dict(environment),
        # The launcher has one thread, so that running Python between fork and exec is safe.
        preexec_fn=tie_to_parent(limits),
    )
