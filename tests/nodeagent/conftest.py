"""Small ONNX models made here, and a worker's HTTP side over them on a real Unix socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nodeagent.http.server import HttpServer
from nodeagent.model.batch_probe import probe
from nodeagent.model.inference import Model, RunPolicy
from nodeagent.serving.v2 import V2, Prediction, Served

KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
Nodes = list[onnx.NodeProto]
Value = tuple[str, int, Any]


def save(path: Path, nodes: Nodes, inputs: list[Value], outputs: list[Value], weights: dict[str, Any]) -> Path:
    """Writes a model of these nodes."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def layers(path: Path, width: int, depth: int) -> Path:
    """A chain of dense layers: its cost grows with width squared times depth."""
    random = np.random.default_rng(0)
    weights = {f"w{n}": (random.standard_normal((width, width)) / width**0.5).astype("f4") for n in range(depth)}
    names = ["x", *(f"h{n}" for n in range(depth - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(depth)]
    value = (TensorProto.FLOAT, ["N", width])
    return save(path, nodes, [("x", *value)], [("y", *value)], weights)


def endless(path: Path) -> Path:
    """A loop that does not end by itself."""
    scalar = (TensorProto.FLOAT, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["v", "one"], ["v_next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", *scalar),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_next", *scalar),
        ],
        [numpy_helper.from_array(np.array(1, "f4"), "one")],
    )
    loop = helper.make_node("Loop", ["count", "true", "x"], ["y"], body=body)
    weights = {"count": np.array(2**62, "i8"), "true": np.array(True)}
    return save(path, [loop], [("x", *scalar)], [("y", *scalar)], weights)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models by name: tiny, pair (two inputs and outputs), kinds (every datatype), mixing, fixed, slow, endless."""
    folder = tmp_path_factory.mktemp("models")
    rows = (TensorProto.FLOAT, ["N", 3])
    random = np.random.default_rng(7)
    weights = {"w": random.standard_normal((16, 4)).astype("f4"), "b": np.zeros(4, "f4")}
    made = [
        save(
            folder / "tiny.onnx",
            [helper.make_node("Gemm", ["x", "w", "b"], ["l"]), helper.make_node("Softmax", ["l"], ["y"], axis=1)],
            [("x", TensorProto.FLOAT, ["N", 16])],
            [("y", TensorProto.FLOAT, ["N", 4])],
            weights,
        ),
        save(
            folder / "pair.onnx",
            [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Greater", ["a", "b"], ["more"])],
            [("a", *rows), ("b", *rows)],
            [("sum", *rows), ("more", TensorProto.BOOL, ["N", 3])],
            {},
        ),
        save(
            folder / "kinds.onnx",
            [helper.make_node("Identity", [f"in_{kind}"], [f"out_{kind}"]) for kind in KINDS],
            [(f"in_{kind}", number, ["n", "m"]) for kind, number in KINDS.items()],
            [(f"out_{kind}", number, ["n", "m"]) for kind, number in KINDS.items()],
            {},
        ),
        save(
            folder / "mixing.onnx",
            [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
            [("x", *rows)],
            [("y", *rows)],
            {},
        ),
        save(
            folder / "fixed.onnx",
            [helper.make_node("Neg", ["x"], ["y"])],
            [("x", TensorProto.FLOAT, [2, 3])],
            [("y", TensorProto.FLOAT, [2, 3])],
            {},
        ),
        layers(folder / "slow.onnx", 512, 48),
        endless(folder / "endless.onnx"),
    ]
    return {path.stem: path for path in made}


class WorkerThread:
    """A worker's models behind an HttpServer, on a loop of its own; `path` is its socket."""

    def __init__(self, folder: Path, models: list[Path], policy: RunPolicy) -> None:
        self.path = folder / "w"
        self.v2 = V2()
        self.errors: list[BaseException] = []
        self.predictions: list[Prediction] = []
        self._models = models
        self._policy = policy
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        for path in self._models:
            model = Model.load(path, policy=self._policy)
            profile = probe(model, deadline_s=0.2)
            self.v2.add(Served(model, "1", profile, on_prediction=self.predictions.append))
        server = HttpServer(self.v2.handle, fast=self.v2.fast, report=self.errors.append, path_of_unreadable="/v2")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(64)
        await server.serve(listener)
        self._ready.set()
        await self._end.wait()
        await server.close(drain_s=1)
        for served in self.v2.models:
            await served.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        assert not self.errors

    def ask(
        self, method: str, path: str, body: bytes | dict[str, Any] = b"", header_length: int | None = None
    ) -> tuple[int, Any]:
        """One request: (status, JSON; for a binary answer the JSON and the raw bytes)."""
        connection = Uds(self.path)
        headers = {} if header_length is None else {"Inference-Header-Content-Length": str(header_length)}
        connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        length = answer.headers.get("inference-header-content-length")
        if length is not None:
            return answer.status, (json.loads(data[: int(length)]), data[int(length) :])
        return answer.status, json.loads(data) if data else None


class Uds(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("node", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@pytest.fixture
def worker(tmp_path: Path, models: dict[str, Path]) -> Iterator[Callable[..., WorkerThread]]:
    """`worker("tiny", "pair")` serves these models; `worker(path)` one from elsewhere."""
    started: list[WorkerThread] = []

    def start(*names: str | Path, policy: RunPolicy | None = None) -> WorkerThread:
        paths = [models[name] if isinstance(name, str) else name for name in names]
        started.append(WorkerThread(tmp_path, paths, policy or RunPolicy(deadline_s=2.0)))
        return started[-1]

    yield start
    for each in started:
        each.close()
