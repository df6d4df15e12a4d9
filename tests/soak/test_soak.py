"""The soak's own parts: a planted violation is found, growth is told from restarts, a seed gives the same faults."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from store.recorder import Recorder, Row
from tests.faults import life, power
from tests.soak import checks, course, growth, report
from tests.soak.course import Injected, Result
from tests.soak.injections import FAULTS
from tests.soak.plantsite import Memory
from tests.soak.wallclock import WallClock

NODES = ("a", "b", "c")


def hours(values: list[float]) -> list[tuple[float, float]]:
    return [(number * 5.0, value) for number, value in enumerate(values)]


def test_memory_that_grows_is_found_and_a_restart_is_no_growth() -> None:
    leak = growth.judge("worker", "rss MB", hours([60 + number * 0.2 for number in range(120)]))
    restarts = growth.judge("worker", "rss MB", hours([60 + number % 10 for number in range(120)]))
    assert leak is not None
    assert not leak.is_flat
    assert leak.per_hour == pytest.approx(144)
    assert restarts is not None
    assert restarts.is_flat


def test_a_run_too_short_for_a_slope_says_so() -> None:
    assert growth.judge("worker", "rss MB", hours([60.0] * 9)) is None
    assert "too short" in report.text(Result(1))


def test_a_seed_gives_the_same_faults_and_every_kind_comes_before_any_comes_again() -> None:
    first, second = (course.schedule(random.Random(7), NODES, disks=True) for _ in range(2))
    taken = [next(first) for _ in range(40)]
    assert [next(second) for _ in range(40)] == taken
    assert {fault.name for fault, _ in taken[: len(FAULTS)]} == {fault.name for fault in FAULTS}
    without = course.schedule(random.Random(7), NODES, disks=False)
    assert "fill disk" not in {next(without)[0].name for _ in range(40)}


def test_a_violation_is_in_the_report_and_the_mark_of_a_document_is_kept(tmp_path: Path) -> None:
    hit = Injected(1, 2.0, "kill worker", "a", "1 killed", None, ["a: no prediction within 20 s"])
    leak = growth.judge("worker", "descriptors", hours([10 + number for number in range(120)]))
    assert leak is not None
    result = Result(1, 60.0, [hit], [leak], ["process 9 is left"])
    assert len(result.violations) == 3
    document = tmp_path / "document.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write(document, result)
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "violation: 1 kill worker on a: a: no prediction within 20 s" in text
    assert "never" in text


def test_the_plants_wall_clock_steps_and_its_other_clocks_do_not(tmp_path: Path) -> None:
    clock = WallClock.build(tmp_path)
    clock.set(-86_400)
    told = "import time; print(time.time(), time.time_ns() / 1e9, time.clock_gettime(time.CLOCK_BOOTTIME))"

    def look(environment: dict[str, str]) -> list[float]:
        command = [sys.executable, "-c", told]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)
        return [float(word) for word in done.stdout.split()]

    steps = [round((there - here) / 3_600) for here, there in zip(look({}), look(clock.environment), strict=True)]
    assert steps == [-24, -24, 0]


def record(folder: Path, times_us: list[int]) -> list[int]:
    """One recorder's life, a row at each time; the keys."""
    now = [0]
    recorder = Recorder(
        folder, bundle="b", revision=1, digest="d1", config="", boot_number=1, clock_us=lambda: now[0],
        free_bytes_min=0, free_share_min=0.0,
    )  # fmt: skip
    keys = []
    for now[0] in times_us:
        keys.append(recorder.offer(Row(now[0], now[0], 10, 0.5, "normal", "ok", 1, "", b"", None)))
    recorder.close()
    return keys


def test_i3_i4_i7_what_is_planted_on_a_nodes_folder_is_found(tmp_path: Path) -> None:
    power.make_node(tmp_path / "n")
    node = life.Life(tmp_path / "n")
    memory = Memory(node.state, tmp_path / "records")
    node.deploy(1)
    node.confirm("d1")
    keys = record(memory.records, [10, 20, 30])
    assert checks.of_node(memory, json.loads) == []
    assert memory.anchor.seq > 0
    assert memory.keys == [(keys[-1], 1)]

    memory.keys.append((keys[1] + 1, 1))
    node.deploy(2)
    blob = next((node.state / "blobs" / "sha256").glob("*/*"))
    blob.chmod(0o600)
    blob.write_bytes(b"another")
    node.close()
    found = " ".join(checks.of_node(memory, json.loads))
    assert "I3: the trial d2 is" in found
    assert "I4: the record" in found
    assert f"I7: {blob.name} is another content" in found
