"""A node of real processes for these tests: started, asked, killed, and gone at the end of each test."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
PATIENCE_S = 30.0


def eventually(check: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """What `check` returns once it is true. An OSError or a half-written answer means: not yet."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if found := check():
                return found
        time.sleep(0.02)
    raise AssertionError(f"not within {patience_s} s: {what}")


class Node:
    """One launcher with the double supervisor; `ask` speaks to whichever supervisor lives."""

    def __init__(self, state: Path, *doubles: str) -> None:
        self.state = state
        self._command = [sys.executable, str(HERE / "double_launcher.py"), str(state), *doubles]
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, env={**os.environ, **self.environment})

    @property
    def launcher(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def ask(self, op: str, **order: Any) -> dict[str, Any]:
        """One order to the supervisor, tried again until one answers."""
        return eventually(lambda: self.ask_once(op, **order), f"an answer to {op}")

    def ask_once(self, op: str, **order: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as answers:
            sock.settimeout(20)
            sock.connect(str(self.state / "orders.sock"))
            sock.sendall(json.dumps({"op": op, **order}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(answers.readline())
        return {"answered": True, **answer}

    def end(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            children = self.launcher.children(recursive=True)
            for process in (self.launcher, *children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            eventually(lambda: not any(alive(child.pid) for child in children), "the children end")
        self.process.wait()


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="os-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def node(state: Path) -> Iterator[Node]:
    """The real launcher over doubles of supervisor and worker."""
    node = Node(state, "double_supervisor.py", "double_worker.py")
    yield node
    node.end()


@pytest.fixture
def until() -> Callable[..., Any]:
    """`eventually`: polls, with a generous deadline."""
    return eventually


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def lives() -> Callable[[int], bool]:
    return alive


@pytest.fixture
def frozen() -> Iterator[Callable[[int], None]]:
    """Stops a process with SIGSTOP; whatever still is stopped at the end goes on."""
    pids: list[int] = []

    def freeze(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        pids.append(pid)

    yield freeze
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Bundles:
    """Makes activations whose model answers the sum of its four inputs plus a thousand times its revision.

    Models: `sum`; `loop` never ends for an input over 100; `bomb` allocates as many bytes as its first input says.
    """

    def __init__(self, state: Path) -> None:
        self.state = state

    def activation(self, revision: int, *, model: str = "sum", **changes: Any) -> dict[str, Any]:
        path = self.state / f"{model}-{revision}.onnx"
        MODELS[model](path, revision)
        return {
            "bundle": "press",
            "model": "press",
            "version": f"1.0.{revision}",
            "revision": revision,
            "digest": f"sha256:{revision:064x}",
            "model_path": str(path),
            "pipeline_path": "",
            "baseline_path": None,
            "golden_path": None,
            "model_digest": f"sha256:{revision:064x}",
            "pipeline_digest": "",
            "bindings": {},
            "binding_revision": 0,
            "peak_memory_bytes": 64 << 20,
            "boot_number": 1,
            "trial": False,
            "write_back": "dry_run",
            "records_dir": str(self.state / "records" / "press"),
            "work_dir": str(self.state / "work" / "press"),
            "node_id": "node",
            "node_name": "node",
            "site": "site",
            **changes,
        }

    def pipeline(self, revision: int, text: str, **changes: Any) -> dict[str, Any]:
        """As `activation`, with this pipeline.toml."""
        path = self.state / f"pipeline-{revision}.toml"
        path.write_text(text)
        return self.activation(revision, pipeline_path=str(path), pipeline_digest=f"sha256:{revision:064x}", **changes)


def _save(path: Path, nodes: list[Any], constants: dict[str, Any], output: tuple[str, list[Any]]) -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    outputs = [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])]
    initial = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def _sum(path: Path, revision: int) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
        helper.make_node("Add", ["s", "c"], ["y"]),
    ]
    _save(path, nodes, {"axis": np.array([1]), "c": np.float32(1000 * revision)}, ("y", ["n", 1]))


def _loop(path: Path, revision: int) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["v", "one"], ["v_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.float32(1), "one")],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "limit"], ["go"]),
        helper.make_node("Loop", ["", "go", "m"], ["v"], body=body),
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
        helper.make_node("Add", ["s", "c"], ["y0"]),
        helper.make_node("Mul", ["v", "zero"], ["z"]),
        helper.make_node("Add", ["y0", "z"], ["y"]),
    ]
    constants = {
        "limit": np.float32(100),
        "axis": np.array([1]),
        "c": np.float32(1000 * revision),
        "zero": np.float32(0),
    }
    _save(path, nodes, constants, ("y", ["n", 1]))


def _bomb(path: Path, revision: int) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["bytes"], to=TensorProto.INT64),
        helper.make_node("Div", ["bytes", "four"], ["count"]),
        helper.make_node("Reshape", ["count", "one"], ["shape"]),
        helper.make_node("Expand", ["c", "shape"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0),
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
        helper.make_node("Add", ["s", "top"], ["y"]),
    ]
    constants = {"four": np.int64(4), "one": np.array([1]), "c": np.float32([1000 * revision]), "axis": np.array([1])}
    _save(path, nodes, constants, ("y", ["n", 1]))


MODELS = {"sum": _sum, "loop": _loop, "bomb": _bomb}


@pytest.fixture
def bundles(state: Path) -> Bundles:
    return Bundles(state)


@pytest.fixture
def workers(state: Path) -> Iterator[Node]:
    """The real launcher, the real Runtimes, real workers."""
    node = Node(state, "double_runtime.py")
    yield node
    node.end()


class Client:
    """One kept-alive HTTP connection to a Unix socket."""

    def __init__(self, path: Path, timeout_s: float = 30.0) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout_s)
        self.sock.connect(str(path))
        self._answers = self.sock.makefile("rb")

    def infer(self, *values: float, model: str = "press") -> tuple[int, Any]:
        """(status, answer) of one inference over four values."""
        self.ask_only(*values, model=model)
        return self.answer()

    def ask_only(self, *values: float, model: str = "press") -> None:
        """Asks and does not wait for the answer."""
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": list(values)}
        body = json.dumps({"inputs": [tensor]}).encode()
        head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: node\r\ncontent-length: {len(body)}\r\n\r\n"
        self.sock.sendall(head.encode() + body)

    def answer(self) -> tuple[int, Any]:
        status = self._answers.readline().split(b" ")
        if len(status) < 2:
            raise ConnectionResetError("closed without an answer")
        length = 0
        while (line := self._answers.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return int(status[1]), json.loads(self._answers.read(length) or b"{}")

    def value(self, *values: float, model: str = "press") -> float:
        """The output of one inference that must succeed."""
        status, answer = self.infer(*values, model=model)
        assert status == 200, answer
        return float(answer["outputs"][0]["data"][0])

    def close(self) -> None:
        self._answers.close()
        self.sock.close()


@pytest.fixture
def connect(state: Path) -> Iterator[Callable[..., Client]]:
    """Opens clients: `connect()` to the model's own socket, `connect("agent")` to the node's."""
    clients: list[Client] = []

    def open_one(name: str = "m-press", **options: Any) -> Client:
        clients.append(Client(state / "run" / f"{name}.sock", **options))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()
