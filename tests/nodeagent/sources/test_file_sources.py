"""Folder, replay and simulate: files and machines that are not there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nodeagent.frame import BAD, GOOD, Frame
from nodeagent.pipeline.options import Seconds, convert
from nodeagent.sources.folder import Folder, FolderOptions, Mark, settled
from nodeagent.sources.replay import Replay, ReplayOptions
from nodeagent.sources.simulate import Simulate, SimulateOptions
from nodeagent.sources.simulators import casting, pump
from nodeagent.sources.source import SourceLost


class Enough(Exception):
    """Ends a source that would go on for ever."""


def sweeps(clock: Any, source: Any, polls: int) -> list[Frame]:
    """What a source emits until it has slept so often."""
    frames: list[Frame] = []
    left = polls

    async def sleep(seconds: float) -> None:
        nonlocal left
        if seconds > 0:
            left -= 1
        await clock.sleep(seconds)
        if left <= 0:
            raise Enough

    source._sleep = sleep

    with pytest.raises(Enough):
        asyncio.run(source.run(frames.append))
    return frames


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def folder(drop: Path, context: Any, **options: Any) -> Folder:
    return Folder("cam", FolderOptions(path=str(drop), **options), context)


def test_every_file_is_read_once_in_the_order_of_its_time_and_deleted(drop: Path, context: Any, clock: Any) -> None:
    import os

    for number, name in enumerate(("b.npy", "a.npy")):
        np.save(drop / name, np.full(8, float(number)))
        os.utime(drop / name, (number, number))
    frames = sweeps(clock, folder(drop, context, pattern="*.npy", after="delete"), 2)
    assert [frame.blob[0] for frame in frames if frame.blob is not None] == [0.0, 1.0]
    assert frames[1].source_us == 1_000_000
    assert list(drop.iterdir()) == []


def test_a_kept_file_is_read_again_only_when_it_has_changed_also_after_a_restart(
    drop: Path, context: Any, clock: Any
) -> None:
    np.save(drop / "a.npy", np.zeros(8))
    assert len(sweeps(clock, folder(drop, context, pattern="*.npy"), 3)) == 1
    assert sweeps(clock, folder(drop, context, pattern="*.npy"), 3) == []
    np.save(drop / "a.npy", np.zeros(9))
    assert len(sweeps(clock, folder(drop, context, pattern="*.npy"), 3)) == 1


def test_a_moved_file_lies_whole_in_the_other_folder(drop: Path, context: Any, clock: Any, tmp_path: Path) -> None:
    np.save(drop / "a.npy", np.arange(8))
    done = tmp_path / "done"
    sweeps(clock, folder(drop, context, pattern="*.npy", after="move", moved_to=str(done)), 2)
    assert list(drop.iterdir()) == []
    assert np.load(done / "a.npy").tolist() == list(range(8))


def test_a_file_is_left_alone_until_it_has_settled() -> None:
    waiting: dict[str, tuple[Mark, int]] = {}
    growing, whole = {"a": Mark(10, 1)}, {"a": Mark(20, 2)}
    assert settled(growing, waiting, 0, 200) == []
    assert settled(whole, waiting, 150, 200) == []
    assert settled(whole, waiting, 300, 200) == []
    assert settled(whole, waiting, 350, 200) == ["a"]
    settled({}, waiting, 400, 200)
    assert waiting == {}


def test_a_name_that_begins_with_a_dot_is_still_being_written(drop: Path, context: Any, clock: Any) -> None:
    np.save(drop / ".a.npy", np.zeros(8))
    assert sweeps(clock, folder(drop, context, after="delete"), 2) == []


def test_a_file_that_is_not_what_it_says_is_a_bad_frame_is_listed_and_stays(
    drop: Path, context: Any, clock: Any
) -> None:
    (drop / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    source = folder(drop, context, pattern="*.png", after="delete")
    (frame,) = sweeps(clock, source, 4)
    assert frame.quality.tolist() == [BAD]
    assert "unreadable" in frame.reasons[0]
    assert source.bad_items[0].startswith("a.png: ")
    assert (drop / "a.png").exists()


def test_an_array_of_objects_is_never_unpickled(drop: Path, context: Any, clock: Any) -> None:
    np.save(drop / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (frame,) = sweeps(clock, folder(drop, context, pattern="*.npy"), 2)
    assert frame.quality.tolist() == [BAD]


def test_a_picture_comes_with_its_pixels(drop: Path, context: Any, clock: Any) -> None:
    face = casting.face(np.random.default_rng(3))
    Image.fromarray(face).save(drop / "a.png")
    (frame,) = sweeps(clock, folder(drop, context, pattern="*.png"), 2)
    assert np.array_equal(frame.blob, face)  # type: ignore[arg-type]
    assert frame.names == ("cam",)


def test_each_row_of_a_csv_is_a_sweep_and_what_is_no_number_is_missing(drop: Path, context: Any, clock: Any) -> None:
    (drop / "log.csv").write_text("t,speed,power\n1,100,5\n2,,Bad\n")
    frames = sweeps(clock, folder(drop, context, pattern="*.csv", tags=("power", "speed")), 2)
    assert [frame.names for frame in frames] == [("power", "speed")] * 2
    assert frames[0].values.tolist() == [5.0, 100.0]
    assert frames[1].quality.tolist() == [BAD, BAD]


def test_a_folder_that_is_not_there_is_a_lost_connection(tmp_path: Path, context: Any) -> None:
    with pytest.raises(SourceLost, match="No such file"):
        asyncio.run(folder(tmp_path / "none", context).run(lambda frame: None))


def test_a_recording_is_played_at_its_rate_to_its_end_with_its_own_times(
    tmp_path: Path, context: Any, clock: Any
) -> None:
    (tmp_path / "r.csv").write_text("when,a\n100,1\n200,2\n300,3\n")
    options = ReplayOptions(path=str(tmp_path / "r.csv"), rate=Seconds(0.5), time="when")
    frames: list[Frame] = []
    asyncio.run(Replay("r", options, context, clock.sleep).run(frames.append))
    assert [frame.values[0] for frame in frames] == [1.0, 2.0, 3.0]
    assert [frame.source_us for frame in frames] == [100_000_000, 200_000_000, 300_000_000]
    assert np.diff([frame.received_us for frame in frames]).tolist() == [500_000, 500_000]


def test_a_looped_recording_begins_again(tmp_path: Path, context: Any, clock: Any) -> None:
    np.save(tmp_path / "r.npy", np.arange(6.0).reshape(3, 2))
    options = ReplayOptions(path=str(tmp_path / "r.npy"), tags=("a", "b"), loop=True)
    frames = sweeps(clock, Replay("r", options, context), 7)
    assert [frame.values[0] for frame in frames] == [0.0, 2.0, 4.0, 0.0, 2.0, 4.0, 0.0]


def test_a_recording_that_is_not_there_is_a_lost_connection(context: Any) -> None:
    with pytest.raises(SourceLost, match=r"none\.csv"):
        asyncio.run(Replay("r", ReplayOptions(path="none.csv"), context).run(lambda frame: None))


def simulated(context: Any, clock: Any, count: int, **options: Any) -> list[Frame]:
    made = convert({"count": count, "poll": "10ms"} | options, SimulateOptions)
    frames: list[Frame] = []
    asyncio.run(Simulate("sim", made, context, clock.sleep).run(frames.append))
    return frames


@pytest.mark.parametrize("machine", ["pump", "bearing", "casting"])
def test_the_same_seed_makes_the_same_machine(context: Any, clock: Any, machine: str) -> None:
    def once(seed: int) -> bytes:
        frames = simulated(context, clock, 20, machine=machine, seed=seed)
        return b"".join((frame.values if frame.blob is None else frame.blob).tobytes() for frame in frames)

    assert once(3) == once(3)
    assert once(3) != once(4)


def test_wear_costs_flow_and_power_from_the_moment_of_the_schedule(context: Any, clock: Any) -> None:
    worn = simulated(context, clock, 128, machine="pump", fault="wear", severity=[[63, 0.0], [64, 1.0]])
    fresh = simulated(context, clock, 128, machine="pump")
    flow = [np.array([frame.values[1] for frame in frames]) for frames in (worn, fresh)]
    power_per_flow = [np.mean([frame.values[4] / frame.values[1] for frame in frames[64:]]) for frames in (worn, fresh)]
    assert np.array_equal(flow[0][:64], flow[1][:64])
    assert flow[0][64:].mean() < 0.95 * flow[1][64:].mean()
    assert power_per_flow[0] > power_per_flow[1]


def test_dirt_of_a_simulated_pump_is_missing_values_and_spikes(context: Any, clock: Any) -> None:
    frames = simulated(context, clock, 200, machine="pump", missing=0.05)
    share = np.mean([frame.quality != GOOD for frame in frames])
    assert 0.02 < share < 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"machine": "pump", "fault": "bpfo"},
        {"machine": "pump", "severity": 2.0},
        {"machine": "pump", "severity": [[5, 0.1], [5, 0.2]]},
        {"machine": "press"},
    ],
)
def test_a_machine_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"faults|severity|seconds|Invalid"):
        convert(options, SimulateOptions)


def test_a_stopped_pump_stands_still() -> None:
    sweep = pump.Pump(0).block(5, running=False)
    assert (sweep[:, :2] == 0).all()


@pytest.mark.parametrize("fault", pump.FAULTS)
def test_every_fault_of_a_pump_raises_its_vibration(fault: str) -> None:
    hurt = pump.pump(200, seed=1, **{fault: 1.0})
    assert hurt[:, 6].mean() > pump.pump(200, seed=1)[:, 6].mean() + 0.3
