"""Inference over a model's socket: a tiny model, against raw onnxruntime calls in one process and other servers.

The worker's HTTP side runs in a process of its own on core 0, the load (bench/load.c) on core 1; the raw calls and the
peers take turns with it on core 0, with the same requests. `forwarded` goes through the node's API socket and a second
process. Triton and MLServer are not peers here; the notes at the end say why.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import NoPeer, start_uvicorn
from bench.row import Row, alternate

SECONDS = 0.6
PASSES = 5
PEER_PASSES = 3
CONNECTIONS = (1, 8, 64, 256)
GOALS = {64: 0.5}  # research: 0.77 of raw batch-1 calls at 64 on an idle machine
LARGE_BYTES = 110_592


PEER_GOALS = {8: 3.0, 64: 6.0}  # of uvicorn and starlette: 4.6 and 9.4 on an idle machine


def run() -> list[Row]:
    """Needs gcc; about 90 s."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, wide = _models(folder)
        load = _build(folder)
        worker = _serve(folder, "worker", str(model), str(wide))
        node = _serve(folder, "node", str(folder / "worker"))
        processes: list[subprocess.Popen[Any]] = [worker, node]
        try:
            x = np.random.default_rng(1).random((1, 16), "f4")
            requests = {"binary": _request(folder / "tiny.req", "tiny", x), "JSON": _json(folder / "tiny.json.req", x)}
            rows = _tiny(folder, load, model, requests["binary"], worker, node)
            try:
                processes.append(start_uvicorn(folder / "peer", model, _pinned(0, [])))
                rows += _beside_uvicorn(folder, load, requests)
            except NoPeer as error:
                rows.append(Row("beside uvicorn + starlette", 0, "/s", note=str(error)))
            return rows + _wide(folder, load, wide)
        finally:
            for process in processes:
                process.terminate()
                process.wait(10)


def _tiny(
    folder: Path,
    load: Path,
    model: Path,
    request: Path,
    worker: subprocess.Popen[str],
    node: subprocess.Popen[str],
) -> list[Row]:
    rows: list[Row] = []
    for connections in CONNECTIONS:
        direct = _Load(load, folder / "worker", connections, request, [worker])
        forwarded = _Load(load, folder / "node", connections, request, [worker, node])
        measures: list[Callable[[], float]] = [lambda: _raw_per_s(model, (1, 16)), direct, forwarded]
        raw, ours, relayed = alternate(measures, passes=PASSES)
        name = f"tiny model, binary, {_times(connections)}"
        note = f"p50 {direct.p50_us:.0f} us, p99 {direct.p99_us:.0f} us"
        peer, goal = "raw onnxruntime calls/s", GOALS.get(connections)
        rows.append(Row(name, ours.median, "/s", peer, raw.median, goal, note, headline=goal is not None).of(ours))
        cost, hop = direct.cpu_us, forwarded.cpu_us
        rows.append(Row(f"{name}, forwarded by the node", relayed.median, "/s", "direct/s", ours.median).of(relayed))
        rows.append(Row(f"{name}, forwarded, CPU a request", hop, "us", "us direct", cost, 1.4, less=True))
    return rows


def _beside_uvicorn(folder: Path, load: Path, requests: dict[str, Path]) -> list[Row]:
    rows: list[Row] = []
    for form, connections in itertools.product(requests, CONNECTIONS):
        loads = [_Load(load, folder / server, connections, requests[form], []) for server in ("worker", "peer")]
        ours, peer = alternate(loads, passes=PEER_PASSES)
        name = f"tiny model, {form}, {_times(connections)}"
        goal = PEER_GOALS.get(connections)
        row = Row(name, ours.median, "/s", "uvicorn + starlette/s", peer.median, goal, headline=goal is not None)
        rows.append(row.of(ours))
    return rows


def _times(connections: int) -> str:
    return f"{connections} connection{'s' if connections > 1 else ''}"


def _wide(folder: Path, load: Path, model: Path) -> list[Row]:
    x = np.random.default_rng(1).random((1, LARGE_BYTES // 4), "f4")
    request = _request(folder / "wide.req", "wide", x)
    measures = [lambda: _raw_per_s(model, x.shape), _Load(load, folder / "worker", 8, request, [])]
    raw, ours = alternate(measures, passes=PASSES)
    name = f"1 to 10 ms model, {LARGE_BYTES} B binary, 8 connections"
    return [Row(name, ours.median, "/s", "raw onnxruntime calls/s", raw.median, 0.9, headline=True).of(ours)]


class _Load:
    """One kind of load, called for each pass; keeps the last pass's latency and CPU."""

    def __init__(
        self, load: Path, sock: Path, connections: int, request: Path, servers: list[subprocess.Popen[str]]
    ) -> None:
        self._command = [str(load), str(sock), str(connections), str(SECONDS), str(request)]
        self._servers = servers
        self.p50_us = self.p99_us = self.cpu_us = 0.0

    def __call__(self) -> float:
        before_s = sum(_cpu_s(server.pid) for server in self._servers)
        out = subprocess.run(_pinned(1, self._command), capture_output=True, text=True, check=True).stdout
        got = json.loads(out)
        if got["bad"]:
            raise RuntimeError(f"{got['bad']} answers were not 200")
        used_s = sum(_cpu_s(server.pid) for server in self._servers) - before_s
        self.p50_us, self.p99_us = got["p50_us"], got["p99_us"]
        self.cpu_us = used_s * 1e6 / (got["per_s"] * (SECONDS + 0.2))
        return float(got["per_s"])


def _raw_per_s(model: Path, shape: tuple[int, ...]) -> float:
    code = (
        "import sys, time, numpy as np, onnxruntime as ort\n"
        "options = ort.SessionOptions()\n"
        "options.intra_op_num_threads = options.inter_op_num_threads = 1\n"
        "session = ort.InferenceSession(sys.argv[1], options)\n"
        "feed = {session.get_inputs()[0].name: np.ones(eval(sys.argv[2]), 'f4')}\n"
        "names = [session.get_outputs()[0].name]\n"
        "for _ in range(20): session.run(names, feed)\n"
        "count, start = 0, time.perf_counter()\n"
        f"while time.perf_counter() - start < {SECONDS}:\n"
        "    session.run(names, feed)\n"
        "    count += 1\n"
        "print(count / (time.perf_counter() - start))\n"
    )
    command = _pinned(0, [sys.executable, "-c", code, str(model), repr(shape)])
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pinned(core: int, command: list[str]) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core % len(cores)]), *command]


def _request(path: Path, model: str, x: np.ndarray) -> Path:
    tensor = {"name": "x", "shape": x.shape, "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    lines = f"Inference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(head) + x.nbytes}\r\n\r\n"
    path.write_bytes(f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: node\r\n{lines}".encode() + head + x.tobytes())
    return path


def _json(path: Path, x: np.ndarray) -> Path:
    tensor = {"name": "x", "shape": x.shape, "datatype": "FP32", "data": [round(float(v), 6) for v in x.ravel()]}
    body = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    lines = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    path.write_bytes(f"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: node\r\n{lines}".encode() + body)
    return path


def _models(folder: Path) -> tuple[Path, Path]:
    """A multi-layer perceptron of 16-32-4, and a model of a few milliseconds on 27,648 inputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)

    def save(name: str, sizes: list[int], batch: str | int) -> Path:
        nodes, weights, value = [], [], "x"
        for layer, (width, height) in enumerate(itertools.pairwise(sizes)):
            out = "y" if layer == len(sizes) - 2 else f"h{layer}"
            array = (random.standard_normal((width, height)) / width**0.5).astype("f4")
            weights.append(numpy_helper.from_array(array, f"w{layer}"))
            nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"m{layer}"]))
            nodes.append(helper.make_node("Tanh", [f"m{layer}"], [out]))
            value = out
        ends = [
            helper.make_tensor_value_info(end, TensorProto.FLOAT, [batch, size])
            for end, size in (("x", sizes[0]), ("y", sizes[-1]))
        ]
        graph = helper.make_graph(nodes, name, ends[:1], ends[1:], weights)
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(folder / f"{name}.onnx"))
        return folder / f"{name}.onnx"

    return save("tiny", [16, 32, 4], "N"), save("wide", [LARGE_BYTES // 4, 256, 16], 1)


def _build(folder: Path) -> Path:
    if shutil.which("gcc") is None:
        raise RuntimeError("bench serving needs gcc to build bench/load.c")
    out = folder / "load"
    subprocess.run(["gcc", "-O2", "-Wall", "-o", str(out), str(Path(__file__).with_name("load.c"))], check=True)
    return out


def _serve(folder: Path, what: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench._serving_process", what, str(folder / what), *arguments]
    process = subprocess.Popen(_pinned(0, command), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"the benchmark's {what} did not start")
    time.sleep(0.05)
    return process
