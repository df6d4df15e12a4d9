"""Models on onnxruntime: what loads, what a run may take, and which models the probe lets share runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nodeagent.model.batch_probe import probe
from nodeagent.model.inference import (
    DeadlineExceeded,
    Model,
    ModelRefused,
    RunFailed,
    RunPolicy,
    runtime_version,
    zeros,
)
from nodeagent.model.onnx_walk import WalkLimits
from nodeagent.model.watchdog import Lane, Watchdog


@pytest.fixture
def load(models: dict[str, Path]) -> Iterator[Callable[..., Model]]:
    loaded: list[Model] = []

    def by_name(name: str, policy: RunPolicy | None = None) -> Model:
        loaded.append(Model.load(models[name], policy=policy))
        return loaded[-1]

    yield by_name
    for model in loaded:
        model.close()


def test_loading_and_running_a_model_leaves_no_trace_at_home_and_nothing_to_send(
    models: dict[str, Path], tmp_path: Path
) -> None:
    code = "import sys; from nodeagent.model.inference import Model; Model.load(sys.argv[1]).close()"
    model = str(next(iter(models.values())))
    # Where CI is said to run, the runtime would keep still by itself.
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code, model], env=environment, check=True, cwd=Path(__file__).parents[2])
    assert list(tmp_path.rglob("*")) == []


def test_a_model_tells_its_inputs_and_outputs_and_runs_by_name(load: Callable[..., Model]) -> None:
    model = load("pair")
    assert [(spec.name, spec.datatype, spec.shape) for spec in model.inputs] == [
        ("a", "FP32", (-1, 3)),
        ("b", "FP32", (-1, 3)),
    ]
    a, b = np.ones((2, 3), "f4"), np.zeros((2, 3), "f4")
    outputs = model.run({"b": b, "a": a})
    assert sorted(outputs) == ["more", "sum"]
    assert outputs["more"].all()


def test_what_the_walk_refuses_does_not_reach_the_runtime(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="nodes"):
        Model.load(models["pair"], policy=RunPolicy(walk=WalkLimits(nodes_max=1)))
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelRefused):
        Model.load(tmp_path / "no.onnx")
    with pytest.raises(ModelRefused):
        Model.load(tmp_path / "absent.onnx")


def test_what_the_runtime_refuses_names_its_version(tmp_path: Path, models: dict[str, Path]) -> None:
    raw = models["tiny"].read_bytes().replace(b"Softmax", b"Softmux")
    (tmp_path / "odd.onnx").write_bytes(raw)
    with pytest.raises(ModelRefused, match=f"onnxruntime {runtime_version()}"):
        Model.load(tmp_path / "odd.onnx")


def test_a_wrong_input_is_the_inputs_fault(load: Callable[..., Model]) -> None:
    with pytest.raises(RunFailed) as failed:
        load("tiny").run({"x": np.zeros((1, 17), "f4")})
    assert failed.value.by_input


def test_an_endless_run_is_ended_and_the_model_runs_on(load: Callable[..., Model]) -> None:
    model = load("endless")
    start_s = time.monotonic()
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            model.run({"x": np.array(1, "f4")}, deadline_s=0.1)
    assert time.monotonic() - start_s < 5


def test_threads_run_one_model_together(load: Callable[..., Model]) -> None:
    model = load("tiny")
    x = np.random.default_rng(3).standard_normal((4, 16)).astype("f4")
    want = model.run({"x": x})["y"]
    wrong: list[int] = []

    def work() -> None:
        for n in range(100):
            if not np.array_equal(model.run({"x": x})["y"], want):
                wrong.append(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert model.runs_total == 401


@pytest.mark.parametrize(
    ("name", "rows_max", "reason"),
    [
        ("tiny", 64, "exact and paying"),
        ("pair", 64, "exact and paying"),
        ("mixing", 1, "rows influence each other"),
        ("fixed", 1, "the first dimension is fixed"),
        ("kinds", 1, "text is not batched"),
        ("endless", 1, "zeros do not run"),
    ],
)
def test_only_models_whose_rows_are_independent_share_runs(
    load: Callable[..., Model], name: str, rows_max: int, reason: str
) -> None:
    profile = probe(load(name), deadline_s=0.2)
    assert profile.batch_rows_max == rows_max
    assert reason in profile.reason


def test_a_model_of_milliseconds_is_kept_off_the_loop(load: Callable[..., Model]) -> None:
    assert probe(load("slow")).in_thread


def test_zeros_fit_the_model(load: Callable[..., Model]) -> None:
    model = load("kinds")
    assert [array.shape for array in zeros(model.inputs, 5)] == [(5, 1)] * 13
    assert model.run_list(zeros(model.inputs))[0].shape == (1, 1)


def test_a_lane_is_ended_once_and_never_after_its_run() -> None:
    ended: list[int] = []
    lane = Lane(lambda: ended.append(1))
    assert not lane.look(1e9)
    lane.begin(10.0)
    assert lane.look(9.0)
    assert not lane.expired
    assert lane.look(10.0)
    assert lane.look(11.0)
    lane.end()
    assert not lane.look(12.0)
    assert (ended, lane.expired) == ([1], True)


def test_a_sleeping_watchdog_wakes_for_a_run_and_closes_at_once() -> None:
    watchdog, ended = Watchdog(), threading.Event()
    lane = Lane(ended.set)
    watchdog.add(lane)
    lane.begin(time.monotonic())
    watchdog.wake()
    assert ended.wait(5)
    watchdog.close()
