"""`python -m bench.report`: docs/performance.md, its plots and README's table of figures, from build/bench/*.json.

Nothing is written that was not measured: a benchmark without a kept run is listed as not run.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.plot import plot
from bench.results import FOLDER, Result, kept, names, shown
from bench.row import Row

PAGE, README, PLOTS = Path("docs/performance.md"), Path("README.md"), Path("docs/performance")
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
NOTES = Path(__file__).with_name("notes.md")
_HEAD = """# Performance

Made by `make bench-report` out of what `make bench` kept; do not edit.
Each figure was taken beside its peer or its budget in one run, in turn with it.
Trust the ratios: absolute figures belong to the machine and the minute, and what lies within 30 % is a tie.
A cell is measured when the machine is idle, and again when other processes took more than 0.15 of a core meanwhile;
where that did not help, the table says how much they took.
The spread is of ours, over the passes of the run.
"""


def page(results: list[Result], notes: str) -> str:
    """The whole document."""
    known = {result.name: result for result in results}
    out = [_HEAD]
    for name in names():
        result = known.get(name)
        out.append(f"## {name}\n")
        out.append(_first_lines(name))
        out.append(_section(result) if result is not None else f"Not run yet: `make bench-{name}`.\n")
    missed = [row for result in results for row in result.rows if row.missed]
    out.append("## Budgets that are missed\n")
    out.append(_table(missed, spread=False) if missed else "None in these runs.\n")
    return "\n".join([*out, notes])


def _section(result: Result) -> str:
    described = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    lines = [
        f"Command: `make bench-{result.name}`.",
        f"{result.day}, {result.took_s} s, load average {result.load:g} at the start.",
        f"Machine: {described}.\n",
        _table(result.rows, spread=True),
    ]
    lines += [f"![{name}](performance/{result.name}-{at}.svg)\n" for at, name in enumerate(series(result.rows))]
    return "\n".join(lines)


def _first_lines(name: str) -> str:
    return (importlib.import_module(f"bench.{name}").__doc__ or "").strip() + "\n"


def _table(rows: Iterable[Row], *, spread: bool) -> str:
    columns = ["what", "figure", *(["spread"] if spread else []), "beside", "ratio", "goal", "remarks"]
    lines = [columns, ["---"] * len(columns)]
    for row in rows:
        between = "" if row.spread is None else f"{shown(row.spread[0])} to {shown(row.spread[1])}"
        lines.append([row.name, f"{shown(row.ours)} {row.unit}", *([between] if spread else []), *_judged(row)])
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines) + "\n"


def _judged(row: Row) -> list[str]:
    """Beside, ratio, goal, remarks."""
    beside = "" if row.peer is None else f"{row.against}: {shown(row.peer)}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    goal = "" if row.goal is None else f"{'at most' if row.less else 'at least'} {row.goal:g}"
    remarks = [row.note, "missed" if row.missed else ""]
    if row.others > 0.15:
        remarks.append(f"others took {row.others:.2f} core")
    return [beside, ratio, goal, "; ".join(filter(None, remarks))]


def series(rows: Iterable[Row]) -> dict[str, list[tuple[float, float]]]:
    """The rows that are drawn, by the name of their line."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.series:
            lines.setdefault(row.series, []).append((row.at, row.ours))
    return {name: sorted(points) for name, points in lines.items() if len(points) > 1}


def figures(results: list[Result]) -> str:
    """README's table: the headline rows, with the machine."""
    rows = [row for result in results for row in result.rows if row.headline]
    machine = results[0].machine
    where = f"Taken on {machine['cores']} cores of {machine['cpu']}, {machine['memory']}; trust the ratios."
    return f"{where}\n\n{_table(rows, spread=False)}"


def between_markers(text: str, table: str) -> str:
    """`text` with what stands between the markers replaced. Raises ValueError where the markers are missing."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{table}{END}{after}"


def main() -> int:
    """Writes the files. Exit code 2: nothing was measured yet, or README has no place for the table."""
    results = kept()
    if not results:
        print(f"bench.report: nothing in {FOLDER}: run `make bench` first", file=sys.stderr)
        return 2
    PLOTS.mkdir(exist_ok=True)
    for result in results:
        for at, (name, points) in enumerate(series(result.rows).items()):
            (PLOTS / f"{result.name}-{at}.svg").write_text(plot(name, points))
    PAGE.write_text(page(results, NOTES.read_text()))
    try:
        README.write_text(between_markers(README.read_text(), figures(results)))
    except ValueError as error:
        print(f"bench.report: {README}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
