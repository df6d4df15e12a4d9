"""The newest sweeps that a worker keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nodeagent.frame import good
from nodeagent.worker import past_sweeps
from nodeagent.worker.past_sweeps import PastSweeps


def frames(count: int, *, blob: int = 0) -> list[past_sweeps.Frame]:
    return [
        good(("a", "b"), (at, np.nan), source_us=at, received_us=at, blob=np.zeros(blob) if blob else None)
        for at in range(count)
    ]


def test_the_newest_are_written_in_order_with_their_qualities(tmp_path: Path) -> None:
    kept = PastSweeps()
    kept.keep(frames(10))
    assert kept.write(tmp_path / "sweeps", 3) == 3
    found = past_sweeps.read(tmp_path / "sweeps")
    assert [frame.values[0] for frame in found] == [7, 8, 9]
    assert found[0].quality.tolist() == [0, 2]
    assert kept.write(tmp_path / "sweeps", 99) == 10


def test_what_is_kept_is_bounded_in_bytes_whatever_a_sweep_holds() -> None:
    kept = PastSweeps(bytes_max=100_000)
    kept.keep(frames(50, blob=1_000))
    assert kept.size <= 100_000
    assert len(kept) == 100_000 // (past_sweeps.FRAME_BYTES + 16 + 8_000)
