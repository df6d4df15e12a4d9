"""However the demo ends, no process and no file of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
END_S = 60.0
pytestmark = pytest.mark.timeout(240)


@contextmanager
def served() -> Iterator[tuple[subprocess.Popen[str], list[dict[str, str]]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "console", "demo", "--serve"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(7)]
            assert all(lines), "the demo ended by itself; its standard error is above"
            yield process, [json.loads(line) for line in lines]
        finally:
            process.send_signal(signal.SIGTERM)


def left_of(folder: Path) -> list[str]:
    """Processes that name the demo's folder, and the folder itself."""
    found = [str(folder)] if folder.exists() else []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(folder) in words and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
            found.append(words)
    return found


def assert_nothing_left(folder: Path) -> None:
    deadline_s = time.monotonic() + END_S
    while (left := left_of(folder)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_served_demo_names_seven_machines_and_leaves_nothing_however_it_ends(number: signal.Signals) -> None:
    with served() as (process, lines):
        folder = Path(lines[0]["state"]).parents[1]
        assert {"name", "address", "port", "user", "socket", "state"} <= set(lines[0])
        assert len({line["name"] for line in lines}) == 7
        assert [Path(line["socket"]).exists() for line in lines] == [True] * 6 + [False]
        assert len(left_of(folder)) > 6
        process.send_signal(number)
        assert process.wait(timeout=END_S) == (-number if number == signal.SIGKILL else 0)
        assert_nothing_left(folder)


def test_nothing_is_left_when_the_plant_itself_is_killed() -> None:
    with served() as (process, lines):
        folder = Path(lines[0]["state"]).parents[1]
        children = psutil.Process(process.pid).children()
        next(child for child in children if "console.demo.host" in child.cmdline()).kill()
        process.wait(timeout=END_S)
        assert_nothing_left(folder)
