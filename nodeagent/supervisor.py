"""The supervisor: `python -m nodeagent.supervisor --state DIR --fd N`, started by the launcher. Wires the node's parts.

It may die or be upgraded at any time: workers go on, and the next one finds in node.db what is owed.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.modules["ssl"] = None  # type: ignore[assignment]  # asyncio does without: 4 MB that a Unix socket never uses

# isort: split
import argparse
import asyncio
import contextlib
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
    """Exit status 0: told to stop; 78 (EX_CONFIG): node.toml or the state cannot be used; 1: anything else."""
    parser = argparse.ArgumentParser(prog="python -m nodeagent.supervisor")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(run(options.state, options.fd))
    except (SettingsError, NotANode) as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except (LauncherError, BaseExceptionGroup):
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.exit(main())
