"""`python -m bench [NAME...]`: runs bench/NAME.py (all without names) and prints a table.

A benchmark is a file with `def run() -> list[Row]`. Ratios of one run are worth something; absolute figures belong to
the machine and the minute. A ratio under its goal is marked `<`.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time

import bench
from bench.row import Row

_NOT_BENCHMARKS = frozenset(("__main__", "row"))
_COLUMNS = ("name", "ours", "peer or limit", "ratio", "goal", "")


def names() -> list[str]:
    """The benchmarks that there are: modules of this folder that have a `run`."""
    found = [info.name for info in pkgutil.iter_modules(bench.__path__) if info.name not in _NOT_BENCHMARKS]
    return sorted(name for name in found if not name.startswith("_"))


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    ratio = row.ratio
    peer = f"{_number(row.peer)} {row.against}" if row.peer is not None else row.against
    goal = "" if row.goal is None else f"{row.goal:.2f}"
    below = ratio is not None and row.goal is not None and ratio < row.goal
    shown = "" if ratio is None else f"{ratio:.2f}"
    return row.name, f"{_number(row.ours)} {row.unit}", peer, shown, goal, ("< " if below else "") + row.note


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def table(rows: list[Row]) -> str:
    """The rows with aligned columns."""
    lines = [_COLUMNS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(texts)


def main(arguments: list[str] | None = None) -> int:
    """Runs what is named. The exit code is 2 for an unknown name, otherwise 0: a slow machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help="one of: " + ", ".join(names()))
    asked = parser.parse_args(arguments).name
    unknown = [name for name in asked if name not in names()]
    if unknown:
        print(f"bench: no benchmark {unknown[0]!r}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in asked or names():
        module = importlib.import_module(f"bench.{name}")
        if not hasattr(module, "run"):
            continue
        start_s = time.monotonic()
        print(f"running {name} ...", file=sys.stderr, flush=True)
        rows += module.run()
        print(f"running {name} took {time.monotonic() - start_s:.0f} s", file=sys.stderr, flush=True)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
