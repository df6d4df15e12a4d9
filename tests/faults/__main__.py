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

from tests.faults import cuts, kills, real_agent

CUT_RUNS = 3
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


def run_cuts(only: str) -> Tried:
    """200 MB over real SSH, cut 20 times at random places, three times over."""
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        cuts.a_lab() as lab,
        real_agent.agents(real_agent.Workshop(Path(folder))) as make,
    ):
        agent = make().start()
        for seed in range(CUT_RUNS):
            found = cuts.run(lab, agent, size=200_000_000, cuts=20, seed=seed)
            print(f"{found.size:,} bytes, {found.cuts} cuts: {found.re_sent:.2%} sent again", flush=True)
            wrong += found.wrong()
    return CUT_RUNS, wrong


PROGRAMMES: dict[str, tuple[str, Callable[[str], Tried]]] = {
    "cuts": ("an upload of 200 MB cut 20 times, bytes on the wire", run_cuts),
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
