"""`python -m bench [NAME...]`: runs bench/NAME.py (all without names), prints a table, keeps build/bench/NAME.json.

A benchmark is a file with `def run() -> list[Row]`. Ratios of one run are worth something; absolute figures belong to
the machine and the minute. A ratio that misses its goal is marked `<`, or `>` where less is better.
`python -m bench.report` makes docs/performance.md and README's table of what was kept.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import subprocess
import sys
import time

from bench.machine import machine
from bench.results import Result, keep, names, shown
from bench.row import Row

_COLUMNS = ("name", "ours", "spread", "peer or limit", "ratio", "goal", "")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    peer = f"{shown(row.peer)} {row.against}" if row.peer is not None else row.against
    goal = "" if row.goal is None else f"{row.goal:.2f}"
    spread = "" if row.spread is None else f"{shown(row.spread[0])} to {shown(row.spread[1])}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    mark = "" if not row.missed else "> " if row.less else "< "
    disturbed = "" if row.others <= 0.15 else f" (others took {row.others:.2f} core)"
    return row.name, f"{shown(row.ours)} {row.unit}", spread, peer, ratio, goal, mark + row.note + disturbed


def table(rows: list[Row]) -> str:
    """The rows with aligned columns."""
    lines = [_COLUMNS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(texts)


def main(arguments: list[str] | None = None) -> int:
    """Runs what is named. Exit codes: 2 for an unknown name, 1 where one could not run, 0: a slow one is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help="one of: " + ", ".join(names()))
    asked = parser.parse_args(arguments).name
    unknown = [name for name in asked if name not in names()]
    if unknown:
        print(f"bench: no benchmark {unknown[0]!r}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed = []
    for name in asked or names():
        try:
            rows += _one(name)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:  # the others are still worth having
            failed.append(f"bench {name}: {error}")
    print(table(rows))
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def _one(name: str) -> list[Row]:
    module = importlib.import_module(f"bench.{name}")
    began_s, load = time.monotonic(), os.getloadavg()[0]
    print(f"running {name} ...", file=sys.stderr, flush=True)
    rows: list[Row] = module.run()
    took_s = time.monotonic() - began_s
    print(f"running {name} took {took_s:.0f} s", file=sys.stderr, flush=True)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    keep(Result(name, day, round(took_s), round(load, 2), machine(), rows))
    return rows


if __name__ == "__main__":
    sys.exit(main())
