"""A plant under faults for as long as you like: `python -m tests.soak [--minutes 60] [--seed N] [--report FILE]`.

Six real agents behind SSH servers, a fault every 20 s by the seed; after each one the invariants of tests/faults hold
on every node, every node predicts again within its stated time, and what processes and files take stays flat. Prints
what was injected and what was seen; the exit status is 0 only where all of it held. As root two nodes stand on small
disks of their own, to be filled; otherwise that fault is left out, and the run says so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.soak import report, smalldisk
from tests.soak.course import Result, run
from tests.soak.plantsite import running_site

GONE_S = 20.0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _soak(folder: Path, seconds: float, seed: int, *, disks: bool) -> Result:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with running_site(folder, seed, _say, disks=disks) as site:
        return await run(site, seconds, seed, _say)


def left_behind(folder: Path) -> list[str]:
    """Processes that still name the run's folder after GONE_S; zombies of nobody do not count."""
    end_s = time.monotonic() + GONE_S
    while True:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = " ".join(process.info["cmdline"] or ())
            if str(folder) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(f"process {process.pid} is left: {words[:120]}")
        if not found or time.monotonic() > end_s:
            return found
        time.sleep(0.5)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="the same faults in the same order (by chance)")
    parser.add_argument("--report", type=Path, help="written here; between the marks of a document that has them")
    asked = parser.parse_args()
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        why_not = smalldisk.own_mounts(folder)
        _say(f"seed {seed}" + (f"; no disk is filled: {why_not}" if why_not else ""))
        result = asyncio.run(_soak(folder, asked.minutes * 60.0, seed, disks=not why_not))
    except asyncio.CancelledError:
        return 130
    finally:
        left = left_behind(folder)
        shutil.rmtree(folder, ignore_errors=True)
        for text in left:
            _say(text)
    result.wrong, result.no_disks = result.wrong + left, why_not
    print(report.text(result))
    if asked.report:
        report.write(asked.report, result)
    return int(bool(result.violations))


if __name__ == "__main__":
    sys.exit(main())
