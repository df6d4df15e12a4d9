"""Outcomes as JSON lines: rotation, what is kept, a disk that refuses, and whose word a folder is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from nodeagent.clock import SystemClock
from nodeagent.pipeline.config import load
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.outcome import Outcome
from nodeagent.sinks.file import File, FileOptions, create
from nodeagent.sinks.sink import SinkContext

PIPELINE = """schema = 1
name = "p"
[[source]]
id = "s"
type = "simulate"
machine = "pump"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1.0
[[sink]]
type = "file"
folder = {folder}
"""


def context(work_dir: Path) -> SinkContext:
    return SinkContext(
        clock=SystemClock(), node_id="n", bundle="b", pipeline="p", asset="", revision=1, digest="", work_dir=work_dir
    )


def outcome(number: int) -> Outcome:
    return Outcome(number, number, 5, 0.5, "", "normal", 0, "", None, None, False)


def written(work_dir: Path, numbers: range, **options: Any) -> File:
    """A sink that was given these and closed."""
    sink = File(FileOptions(flush=Seconds(0.01), **options), context(work_dir))

    async def scenario() -> None:
        await sink.start()
        for number in numbers:
            sink.offer(outcome(number))
            await asyncio.sleep(0.001)
        await sink.close()

    asyncio.run(scenario())
    return sink


def lines(work_dir: Path) -> list[int]:
    files = sorted((work_dir / "outcomes").glob("*.jsonl"))
    return [json.loads(line)["wall_us"] for path in files for line in path.read_text().splitlines()]


def test_every_outcome_is_a_line_and_a_second_worker_goes_on_behind_it(tmp_path: Path) -> None:
    told = written(tmp_path, range(20)).telemetry()
    assert (told.state, told.delivered_total, told.waiting, told.dropped_total) == ("stopped", 20, 0, 0)
    written(tmp_path, range(20, 30))
    assert lines(tmp_path) == list(range(30))
    assert len(list((tmp_path / "outcomes").iterdir())) == 1


def test_files_are_closed_at_their_size_and_the_oldest_goes(tmp_path: Path) -> None:
    written(tmp_path, range(300), bytes_max=4096, files_max=3)
    files = sorted((tmp_path / "outcomes").glob("*.jsonl"))
    assert len(files) == 3
    assert all(path.stat().st_size <= 4096 for path in files)
    assert lines(tmp_path) == list(range(300))[-len(lines(tmp_path)) :]


def test_a_disk_that_refuses_is_told_and_what_was_not_written_is_counted(tmp_path: Path) -> None:
    (tmp_path / "outcomes").write_text("a file where the folder should be")
    told = written(tmp_path, range(5)).telemetry()
    assert told.reason.startswith("not written: ")
    assert (told.delivered_total, told.dropped_total) == (0, 5)


def test_a_folder_is_the_nodes_word_and_not_the_bundles(tmp_path: Path) -> None:
    (own,) = load(PIPELINE.format(folder='"/etc/cron.d"'), bindings={}).sinks
    with pytest.raises(ConfigError, match="named by its binding"):
        create(own, context(tmp_path))
    (bound,) = load(PIPELINE.format(folder='"${folder}"'), bindings={"folder": str(tmp_path)}).sinks
    assert isinstance(create(bound, context(tmp_path)), File)
