"""Which calls share a run: seen on real models, by the runs that come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodeagent.model.batch_probe import Profile, probe
from nodeagent.model.batcher import Batcher, Done, QueueFull
from nodeagent.model.inference import DeadlineExceeded, Model, RunPolicy
from nodeagent.serving.oip import Requests
from nodeagent.serving.oip_call import Call


def call(requests: Requests, rows: int, *, seed: int = 0, **parameters: Any) -> Call:
    x = np.full((rows, 16), float(seed), "f4")
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 16], "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    return requests.decode(head + x.tobytes(), str(len(head)), lambda response: None)


def batching(
    path: Path,
    body: Callable[[Batcher, Requests, list[Done]], Awaitable[None]],
    profile: Profile | None = None,
    **more: Any,
) -> None:
    async def main() -> None:
        model = Model.load(path, policy=RunPolicy(deadline_s=2))
        runs: list[Done] = []
        batcher = Batcher(model, profile or probe(model), runs.append, **more)
        await body(batcher, Requests(model.inputs, model.outputs), runs)
        await batcher.close()
        model.close()

    asyncio.run(asyncio.wait_for(main(), 30))


THREAD = Profile(batch_rows_max=64, run_us=5_000, batch_run_us=5_000, reason="as if it were slow")


@pytest.mark.parametrize("profile", [None, THREAD])
def test_calls_of_one_turn_share_a_run_up_to_the_rows_that_it_holds(
    models: dict[str, Path], profile: Profile | None
) -> None:
    async def body(batcher: Batcher, requests: Requests, runs: list[Done]) -> None:
        calls = [call(requests, rows, seed=n) for n, rows in enumerate([1, 2, 30, 31, 1])]
        for each in calls:
            batcher.submit(each)
        await batcher.close()
        assert [each for done in runs for each in done.calls] == calls
        assert sum(len(done.feeds[0]) for done in runs) == 65
        assert max(len(done.feeds[0]) for done in runs) <= 64
        if profile is None:
            assert [len(done.calls) for done in runs] == [4, 1]
        firsts = [row for done in runs for row in done.feeds[0][:, 0].tolist()]
        assert firsts == [0.0] + [1.0] * 2 + [2.0] * 30 + [3.0] * 31 + [4.0]

    batching(models["tiny"], body, profile)


def test_a_model_whose_rows_mix_runs_each_call_alone(models: dict[str, Path]) -> None:
    async def body(batcher: Batcher, requests: Requests, runs: list[Done]) -> None:
        for _ in range(3):
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
            batcher.submit(requests.decode(json.dumps({"inputs": [tensor]}).encode(), None, lambda response: None))
        await asyncio.sleep(0.01)
        assert [len(done.calls) for done in runs] == [1, 1, 1]
        assert all(done.outputs is not None and done.outputs[0].tolist() == [[1, 1, 1]] for done in runs)

    batching(models["mixing"], body)


def test_a_full_queue_refuses_and_serves_on(models: dict[str, Path]) -> None:
    async def body(batcher: Batcher, requests: Requests, runs: list[Done]) -> None:
        batcher.submit(call(requests, 1))
        batcher.submit(call(requests, 1))
        with pytest.raises(QueueFull, match="2 calls wait"):
            batcher.submit(call(requests, 1))
        assert batcher.waiting == 2
        await asyncio.sleep(0.01)
        batcher.submit(call(requests, 1))

    batching(models["tiny"], body, queue_max=2)


def test_a_call_that_waited_too_long_fails_alone(models: dict[str, Path]) -> None:
    async def body(batcher: Batcher, requests: Requests, runs: list[Done]) -> None:
        late, good = call(requests, 1, timeout=1), call(requests, 1)
        batcher.submit(late)
        late.queued_ns -= 1_000_000
        batcher.submit(good)
        await asyncio.sleep(0.01)
        assert {done.calls[0]: type(done.error) for done in runs} == {late: DeadlineExceeded, good: type(None)}

    batching(models["tiny"], body)


def test_a_batch_that_fails_is_run_again_call_by_call(tmp_path: Path) -> None:
    """Gather fails for an index out of range: one client's bad index, and its neighbours' good ones."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["y"], axis=0)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.arange(4, dtype="f4").reshape(4, 1), "table")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, str(tmp_path / "gather.onnx"))

    async def body(batcher: Batcher, requests: Requests, runs: list[Done]) -> None:
        for index in (1, 99, 2):
            tensor = {"name": "x", "datatype": "INT64", "shape": [1], "data": [index]}
            batcher.submit(requests.decode(json.dumps({"inputs": [tensor]}).encode(), None, lambda response: None))
        await asyncio.sleep(0.01)
        assert [done.error is None for done in runs] == [True, False, True]
        assert [float(done.outputs[0][0, 0]) for done in runs if done.outputs is not None] == [1.0, 2.0]

    profile = Profile(batch_rows_max=64, run_us=10, batch_run_us=10, reason="")
    batching(tmp_path / "gather.onnx", body, profile)
