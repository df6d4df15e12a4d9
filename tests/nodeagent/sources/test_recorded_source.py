"""What a node recorded, played again; and a device that is another one than before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodeagent.__main__ import main
from nodeagent.frame import GOOD, UNCERTAIN, Frame, good
from nodeagent.sources.device import DeviceMemory
from nodeagent.sources.recorded import Recorded, RecordsOptions
from nodeagent.sources.source import SourceContext
from store.recorder import Recorder
from store.segment import Row


def record(folder: Path, *inputs: list[float] | None) -> None:
    recorder = Recorder(
        folder, bundle="pump", revision=1, digest="sha256:m", config="sha256:c", boot_number=1, clock_us=lambda: 1_000
    )
    for at, values in enumerate(inputs):
        given = None if values is None else np.array(values, "<f4").tobytes()
        recorder.offer(Row(5_000 + at, None, 7, 0.5, "", "normal", at % 2, "drifting" if at % 2 else "", given, None))
    recorder.close()


def test_recorded_inputs_come_again_with_their_times_and_qualities(clock: Any, context: SourceContext) -> None:
    record(context.work_dir / "records", [1, 2], [3, 4], None, [5])
    frames: list[Frame] = []
    source = Recorded("r", RecordsOptions(path="records", tags=("a", "b")), context, clock.sleep)
    asyncio.run(source.run(frames.append))
    assert [frame.values.tolist() for frame in frames] == [[1, 2], [3, 4]]
    assert [frame.quality.tolist() for frame in frames] == [[GOOD] * 2, [UNCERTAIN] * 2]
    assert frames[1].reasons == {0: "drifting", 1: "drifting"}
    assert [frame.source_us for frame in frames] == [5_000, 5_001]
    assert source.bad_items == ["2 records without these inputs were left out"]


def frame() -> Frame:
    return good(("a",), [1.0], source_us=0, received_us=0)


def test_another_firmware_is_uncertain_over_restarts_until_a_person_accepts_it(
    clock: Any, context: SourceContext, capsys: pytest.CaptureFixture[str]
) -> None:
    DeviceMemory(context.work_dir, "plc", clock).heard({"firmware": "1.2", "model": "X"})
    memory = DeviceMemory(context.work_dir, "plc", clock)
    memory.heard({"firmware": "1.3", "model": "X"})
    assert memory.mark(frame()).reasons == {0: "source changed: firmware 1.2 -> 1.3"}
    again = DeviceMemory(context.work_dir, "plc", clock)
    again.heard({"firmware": "1.3", "model": "X"})
    assert again.mark(frame()).quality.tolist() == [UNCERTAIN]
    assert main(["source", "accept", str(context.work_dir), "plc"]) == 0
    assert capsys.readouterr().out == "accepted: firmware 1.2 -> 1.3\n"
    clock.now_us += 2_000_000
    assert again.mark(frame()).quality.tolist() == [GOOD]


def test_there_is_nothing_to_accept_of_a_source_that_told_nothing(
    context: SourceContext, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["source", "accept", str(context.work_dir), "plc"]) == 1
    assert "told nothing" in capsys.readouterr().err
