"""The power of a real node goes right before and right after its commits, its state on a real file system of its own.

The walks, the points and what has to hold are those of kills.py; what was not synced is gone, and it is another boot.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.faults import kills, mounts
from tests.faults.kills import Case

TOML: Final = "[disk]\nbytes_free_min = 4194304\nballast_bytes = 2097152\n"
EVENTS: Final = ("FLIPPED", "CONFIRMED", "REVERTED", "BOUND", "HELD", "COLLECTED")
CASES: Final = [Case(side, event, "power") for event in EVENTS for side in ("before", "after")]
_SHUTDOWN: Final = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
_WITHOUT_LOG_FLUSH: Final = 2


def run(make: Callable[..., Any], workshop: Any, folder: Path, kind: str) -> tuple[int, list[str]]:
    """Cases tried on one file system and what did not hold in which. Raises NotRun."""
    wrong: list[str] = []
    agent = make(toml=TOML)
    kept = agent.state
    with mounts.Mount(kept.parent, kind) as mount:
        agent.state = mount.at / "n"
        subprocess.run(["cp", "-a", kept, agent.state], check=True)
        try:
            story = kills.begin(lambda: agent, workshop, folder)
            mount.sync()
            story.cut = lambda: _cut(story, mount)
            for case in CASES:
                try:
                    found = kills.kill(story, case)
                except AssertionError as error:
                    found = [f"{case}: {error}"]
                print(f"{kind} {case}", *found, sep="\n  ", flush=True)
                wrong += [f"{kind}: {text}" for text in found]
        finally:
            agent.stop()
            agent.state = kept
    return len(CASES), wrong


def _cut(story: kills.Story, mount: mounts.Mount) -> None:
    """The disk first, so that nothing that a dying process writes comes through."""
    fd = os.open(mount.at, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
    finally:
        os.close(fd)
    story.agent.kill_all()
    mount.power_on()
    story.agent.environment["OUTSTATION_BOOT_ID"] = f"boot-{story.number}"
