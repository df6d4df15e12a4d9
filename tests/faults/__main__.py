"""What breaks a node on purpose, in full: `python -m tests.faults [kills] [--only TEXT]`. The suite runs samples of it.

Each programme prints what it tried and what did not hold; the exit status is 0 only where all of it held.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import kills, real_agent

Tried = tuple[int, list[str]]


def run_kills(only: str) -> Tried:
    """Every point, every victim."""
    cases = [case for case in kills.CASES if only in str(case)]
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        workshop = real_agent.Workshop(Path(folder))
        with real_agent.agents(workshop) as make:
            story = kills.begin(make, workshop, Path(folder))
            for number, case in enumerate(cases, 1):
                began_s = time.monotonic()
                try:
                    found = kills.kill(story, case)
                except AssertionError as error:
                    found = [f"{case}: {error}"]
                print(
                    f"{number}/{len(cases)} {case} {time.monotonic() - began_s:.1f} s", *found, sep="\n  ", flush=True
                )
                wrong += found
    return len(cases), wrong


PROGRAMMES: dict[str, tuple[str, Callable[[str], Tried]]] = {
    "kills": ("SIGKILL around each commit, points times victims", run_kills),
}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("programme", nargs="*", default=[], help=f"{', '.join(PROGRAMMES)}; all of them without one")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended too
    failed = False
    for name in asked.programme or PROGRAMMES:
        text, run = PROGRAMMES[name]
        began_s = time.monotonic()
        tried, wrong = run(asked.only)
        print(f"{name}: {text}: {tried} tried, {len(wrong)} violations, {time.monotonic() - began_s:.0f} s", flush=True)
        failed |= bool(wrong) or not tried
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
