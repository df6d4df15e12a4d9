"""What the processes and folders of the plant take, read from outside."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path

import psutil

ROLES = {"nodeagent.supervisor": "supervisor", "nodeagent.worker": "worker"}
Reading = dict[tuple[str, str], float]


def agents(host: int) -> dict[str, psutil.Process]:
    """The launcher of every state folder below the plant's host."""
    found = {}
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(host).children():
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                if "nodeagent" in words and "run" in words:
                    found[words[words.index("--state") + 1]] = child
    return found


def members(launcher: psutil.Process, module: str) -> list[psutil.Process]:
    """The launcher's children of one kind."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in launcher.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if module in child.cmdline():
                    found.append(child)
    return found


def read(host: int, console: int, states: list[Path]) -> Reading:
    """`(who, kind)` to a value: the largest process of each role, the sums of files over all nodes."""
    largest: defaultdict[tuple[str, str], float] = defaultdict(float)

    def note(role: str, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.Error), process.oneshot():
            values = {
                "rss MB": process.memory_info().rss / 1e6,
                "descriptors": float(process.num_fds()),
                "threads": float(process.num_threads()),
            }
            for kind, value in values.items():
                largest[role, kind] = max(largest[role, kind], value)

    for launcher in agents(host).values():
        note("launcher", launcher)
        for module, role in ROLES.items():
            for process in members(launcher, module):
                note(role, process)
    note("SSH servers", psutil.Process(host))
    note("console", psutil.Process(console))
    return {**largest, **_files(states)}


def _files(states: list[Path]) -> Reading:
    wal, segments = 0, 0
    for state in states:
        for path in state.rglob("*"):
            with contextlib.suppress(OSError):
                if path.name.endswith("-wal"):
                    wal = max(wal, path.stat().st_size)
                elif path.suffix == ".db" and path.name.startswith("rec-"):
                    segments += path.stat().st_size
    return {("largest", "WAL MB"): wal / 1e6, ("all nodes", "segments MB"): segments / 1e6}
