"""The supervisor: `python -m nodeagent.supervisor --state DIR --fd N`, started by the launcher. Wires the node's parts.

It may die or be upgraded at any time: workers go on, and the next one finds in node.db what is owed.
"""

from __future__ import annotations

import sys

from nodeagent.lean import shut_out

if __name__ == "__main__":
    shut_out()

# isort: split
import asyncio
import contextlib
import gc
import os
import signal
import traceback
from pathlib import Path

from nodeagent.clock import SystemClock
from nodeagent.node import Node
from nodeagent.processes.launcher_client import LauncherClient, LauncherError
from nodeagent.settings import SettingsError, load
from nodeagent.state import groundwork
from nodeagent.state.groundwork import NotANode


async def run(state: Path, fd: int) -> int:
    """Serves one node until it is told to stop or the launcher is gone. Returns the exit status."""
    settings = load(state)
    launcher = LauncherClient.from_fd(fd)
    await launcher.start()
    stop = asyncio.Event()
    launcher.on_gone = stop.set
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = SystemClock()
    node = Node(await groundwork.lay(state, settings, clock), settings, launcher, clock)
    try:
        await node.start()
        launcher.ready()
        gc.collect()
        gc.freeze()  # what a start made stays for good: no later round looks at it again
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work, name=name) for name, work in node.work()]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        await node.close()
        with contextlib.suppress(LauncherError):
            await launcher.close()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: told to stop; 64 (EX_USAGE): wrong words; 78 (EX_CONFIG): node.toml or the state cannot be used;
    1: anything else.
    """
    words = sys.argv[1:] if arguments is None else arguments
    match words:  # The launcher's own words: argparse would be half a megabyte for the rest of the process's life.
        case ["--state", state, "--fd", fd] if fd.isdigit():
            pass
        case _:
            print("usage: python -m nodeagent.supervisor --state DIR --fd N", file=sys.stderr)
            return os.EX_USAGE
    try:
        return asyncio.run(run(Path(state), int(fd)))
    except (SettingsError, NotANode) as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except (LauncherError, BaseExceptionGroup):
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.exit(main())
