"""docs/steps.md is true: each step stands in it, and each example gives what it says.

A row of an example is one frame, a second after the last: what comes in, then what leaves. `-` is a value that is
missing, `?` behind a value means Uncertain, `x` a Bad one, and the reasons follow behind `#`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import BAD, UNCERTAIN, Frame, good
from nodeagent.pipeline import registry
from nodeagent.pipeline.options import convert
from nodeagent.pipeline.step import StepContext

TEXT = (Path(__file__).parents[3] / "docs" / "steps.md").read_text("utf-8")
EXAMPLES = re.findall(r"### `([a-z_.]+)`\n.*?```toml\n(.*?)```\n+```text\n(.*?)```", TEXT, re.DOTALL)
RATE_HZ = 4096


class Clock:
    """One second a frame, and the frame is as old as it says."""

    now_us = 0

    def boottime_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return self.now_us

    def boot_id(self) -> str:
        return "boot"


def blob(word: str) -> Any:
    """A waveform or a picture by its word; None for a plain number."""
    seconds = np.arange(RATE_HZ) / RATE_HZ
    ramp = np.tile(np.arange(0, 240, 3, dtype=np.uint8)[:, None], (1, 60))
    since_hit = seconds % (1 / 107.36)  # an outer race that is hit 3.58 times a turn
    blobs = {
        "knock": (np.exp(-300 * since_hit) * np.sin(2 * np.pi * 1000 * since_hit)).astype(np.float32),
        "sine": np.sin(2 * np.pi * 50 * seconds).astype(np.float32),
        "dead": np.zeros(RATE_HZ, np.float32),
        "gap": np.where(seconds < 0.01, np.nan, np.sin(2 * np.pi * 50 * seconds)).astype(np.float32),
        "picture": ramp,
        "dark": np.zeros((80, 60), np.uint8),
    }
    return blobs.get(word)


def frame_of(names: tuple[str, ...], cells: list[str], clock: Clock) -> Frame:
    clock.now_us += 1_000_000
    numbers = [0.0 if blob(cell) is not None else np.nan if cell == "-" else float(cell.rstrip("!?")) for cell in cells]
    made = good(names, numbers, source_us=clock.now_us, received_us=clock.now_us, blob=blob(cells[0]))
    made.mark(np.array([cell.endswith("?") for cell in cells]), UNCERTAIN, "by the device")
    if cells[-1].endswith("!"):  # it lay around for five seconds before it came here
        clock.now_us += 5_000_000
    return made


def shown(frame: Frame | None) -> str:
    """A frame as the document writes it."""
    if frame is None:
        return "nothing"
    marks = {BAD: "x", UNCERTAIN: "?"}
    cells = []
    for value, quality in zip(frame.values.tolist(), frame.quality.tolist(), strict=True):
        cells.append("x" if quality == BAD else f"{value:.4g}{marks.get(quality, '')}")
    if frame.blob is not None:
        first = np.asarray(frame.blob).reshape(-1)[:3].astype(float).tolist()
        sides = "x".join(map(str, frame.blob.shape))
        cells[0] += f" [{sides}: {', '.join(f'{value:.4g}' for value in first)}, ...]"
    reasons = "; ".join(f"{frame.names[at]}: {reason}" for at, reason in sorted(frame.reasons.items()))
    return "  ".join(cells) + (f"  # {reasons}" if reasons else "")


def played(options: str, text: str) -> str:
    """The example with what really leaves: `names | names`, then `values | values` a frame."""
    (table,) = tomllib.loads(options)["step"]
    kind, step = registry.step(table.pop("use"))
    clock = Clock()
    made = step(convert(table, kind), StepContext(clock=clock, sample_rate_hz=RATE_HZ))
    head, *rows = (line.partition(" | ")[0].split() for line in text.splitlines())
    names = tuple(head)
    leaving = made.bind(names)
    lines = [(head, "  ".join(leaving))]
    lines += [(row, shown(made.apply(frame_of(names, row, clock))[0])) for row in rows]
    width = max(len("  ".join(cells)) for cells, _ in lines)
    return "".join(f"{'  '.join(cells):{width}} | {right}\n" for cells, right in lines)


@pytest.mark.parametrize(("use", "options", "text"), EXAMPLES, ids=[use for use, _, _ in EXAMPLES])
def test_each_example_gives_what_it_says(use: str, options: str, text: str) -> None:
    assert f'use = "{use}"' in options
    assert played(options, text) == text


def test_each_step_stands_in_the_document_once() -> None:
    steps = [use for family in registry.STEP_FAMILIES for use in registry._steps(family)]
    assert sorted(use for use, _, _ in EXAMPLES) == sorted(steps)
