"""The report of a run, in words and tables, and its place in a document."""

from __future__ import annotations

import platform
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from tests.soak.course import Injected, Result

BEGIN, END = "<!-- soak -->", "<!-- end of soak -->"


def text(result: Result) -> str:
    """What was injected, what was seen, what it took; the violations last."""
    lines = [_head(result), "", *_faults(result), "", *_slopes(result), ""]
    lines += [f"- violation: {one}" for one in result.violations] or ["No violation."]
    return "\n".join(lines)


def write(path: Path, result: Result) -> None:
    """Puts it between the marks of a document that has them; any other file becomes the report."""
    before = path.read_text() if path.exists() else ""
    if BEGIN not in before:
        path.write_text(text(result) + "\n")
        return
    head, rest = before.split(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{text(result)}\n{END}{rest.split(END)[1]}")


def _head(result: Result) -> str:
    day = datetime.now(UTC).date().isoformat()
    return (
        f"Run of {day}, Linux {platform.release()}, Python {platform.python_version()}, seed {result.seed}: "
        f"{len(result.injected)} faults in {result.seconds / 60:.1f} minutes, {len(result.violations)} violations."
        + (f" No disk was filled: {result.no_disks}." if result.no_disks else "")
    )


def _faults(result: Result) -> list[str]:
    by_kind: defaultdict[str, list[Injected]] = defaultdict(list)
    for one in result.injected:
        by_kind[one.fault].append(one)
    lines = [
        "| fault | times | predicted again, s, worst | violations | last seen |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for kind, ones in sorted(by_kind.items()):
        worst = max((one.again_s for one in ones if one.again_s is not None), default=None)
        again = "never" if worst is None else f"{worst:.1f}"
        wrong = sum(len(one.wrong) for one in ones)
        seen = ones[-1].seen.replace("|", "/").replace("\n", " ")
        lines.append(f"| {kind} | {len(ones)} | {again} | {wrong} | {seen} |")
    return lines


def _slopes(result: Result) -> list[str]:
    if not result.slopes:
        return ["The run was too short for slopes."]
    lines = [
        "| what | unit | level | slope an hour | in the run | allowed |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for slope in result.slopes:
        cells = (slope.level, slope.per_hour, slope.grown, slope.allowed)
        figures = f"{cells[0]:.2f} | {cells[1]:+.2f} | {cells[2]:+.2f} | {cells[3]:.2f}"
        lines.append(f"| {slope.name} | {slope.kind} | {figures} |")
    return lines
