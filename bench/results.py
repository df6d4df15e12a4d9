"""What a run of a benchmark left: build/bench/NAME.json, one file a benchmark, the newest run."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import NamedTuple

import msgspec

import bench
from bench.row import Row

FOLDER = Path("build/bench")


class Result(NamedTuple):
    """`load` is the load average when it began."""

    name: str
    day: str
    took_s: int
    load: float
    machine: dict[str, str]
    rows: list[Row]


class _Kept(msgspec.Struct):
    name: str
    day: str
    took_s: int
    load: float
    machine: dict[str, str]
    rows: list[dict[str, object]]


def names() -> list[str]:
    """The benchmarks that there are: modules of this folder that define `run`."""
    found = []
    for info in pkgutil.iter_modules(bench.__path__):
        source = Path(bench.__path__[0]) / f"{info.name}.py"
        if not info.name.startswith("_") and "\ndef run() -> list[Row]:" in source.read_text():
            found.append(info.name)
    return sorted(found)


def keep(result: Result, folder: Path = FOLDER) -> None:
    """Writes the run, in place of an earlier one of the same name; the ratio and `missed` are there for other tools."""
    rows = [row._asdict() | {"ratio": row.ratio, "missed": row.missed} for row in result.rows]
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(result._asdict() | {"rows": rows}), indent=1)
    (folder / f"{result.name}.json").write_bytes(text + b"\n")


def kept(folder: Path = FOLDER) -> list[Result]:
    """Every run that was kept, by name. Raises msgspec.MsgspecError for a file that is not one."""
    results = []
    for path in sorted(folder.glob("*.json")):
        found = msgspec.json.decode(path.read_bytes(), type=_Kept)
        results.append(Result(**msgspec.structs.asdict(found) | {"rows": [_row(row) for row in found.rows]}))
    return results


def _row(fields: dict[str, object]) -> Row:
    return msgspec.convert([fields[name] for name in Row._fields], Row)


def shown(value: float) -> str:
    """A figure for a person."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}" if value % 1 else f"{value:.0f}"
