"""A real node for these tests: its launcher, supervisor and workers as on a plant, spoken to over its socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
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
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from onnx import TensorProto, helper, numpy_helper

from nodeagent.deployment.bindings import to_toml
from nodeagent.model import onnx_walk
from store import archive, builder, signing
from store.bundle import ModelFacts, TensorSpec

PATIENCE_S = 40.0


def eventually(check: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """What `check` returns once it is true; a refusal or a missing socket means: not yet."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, Refusal):
            if found := check():
                return found
        time.sleep(0.03)
    raise AssertionError(f"not within {patience_s} s: {what}")


class Refusal(Exception):
    """The agent's error answer."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.code = body.get("error", {}).get("code", "?") if isinstance(body.get("error"), dict) else "?"
        super().__init__(f"{status} {body}")


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("node", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Agent:
    """One node in a folder of its own; `start`, `stop`, `kill` as a service manager and a power cut would."""

    refusal = Refusal
    eventually = staticmethod(eventually)

    def __init__(self, state: Path, signers: Path, *, toml: str = "") -> None:
        self.state = state
        self.environment: dict[str, str] = {}
        self.program = [sys.executable]
        self.process: subprocess.Popen[bytes] | None = None
        command = [sys.executable, "-m", "nodeagent", "init", "--state", str(state), "--allow-signer", str(signers)]
        done = subprocess.run([*command, "--name", "press-07"], capture_output=True, text=True, check=True)
        self.node_id = done.stdout.strip()
        with (state / "node.toml").open("a") as file:
            file.write(toml)
        self.lease: int | None = None

    @property
    def socket(self) -> Path:
        return self.state / "run" / "agent.sock"

    def start(self, *, wait: bool = True, **environment: str) -> Agent:
        command = [*self.program, "-m", "nodeagent", "run", "--state", str(self.state)]
        with (self.state / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                command, env={**os.environ, **self.environment, **environment}, stderr=errors, start_new_session=True
            )
        if wait:
            eventually(lambda: self.get("/status"), f"the agent to answer; it said {self.words()}")
        return self

    def words(self) -> str:
        """The end of what the agent wrote to stderr."""
        return (self.state / "stderr").read_text(errors="replace")[-3000:]

    # -- processes

    @property
    def launcher(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def children(self, module: str) -> list[psutil.Process]:
        found = []
        for child in self.launcher.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if module in child.cmdline():
                    found.append(child)
        return found

    @property
    def supervisor(self) -> psutil.Process:
        return eventually(lambda: self.children("nodeagent.supervisor"), "a supervisor")[0]

    @property
    def workers(self) -> list[psutil.Process]:
        return self.children("nodeagent.worker")

    def kill(self, *processes: psutil.Process) -> None:
        """SIGKILL, all at once."""
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(list(processes), timeout=PATIENCE_S)

    def kill_all(self) -> None:
        """What a power cut does to processes."""
        assert self.process is not None
        everything = [self.launcher, *self.launcher.children(recursive=True)]
        self.kill(*everything)
        self.process.wait()

    def stop(self) -> None:
        """What the service manager does."""
        if self.process is None or self.process.poll() is not None:
            return
        everything = [self.launcher, *self.launcher.children(recursive=True)]
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill(*everything)
            raise AssertionError(f"the agent did not end: {self.words()}") from None

    # -- requests

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        preface: str = "",
        where: str = "agent.sock",
        headers: dict[str, str] | None = None,
    ) -> Any:
        connection = _Unix(self.state / "run" / where)
        try:
            if preface:
                connection.connect()
                connection.sock.sendall(preface.encode())
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            outside = path.startswith("/v2") or path == "/metrics"
            connection.request(method, path if outside else f"/agent/v1{path}", data, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            is_json = "json" in answer.headers.get("content-type", "")
            found = json.loads(text) if text and is_json else text.decode()
            if answer.status >= 300:
                refusal = Refusal(answer.status, found)
                assert refusal.code != "INTERNAL", self.get("/logs?level=error")
                raise refusal
            return found
        finally:
            connection.close()

    def stream(self, path: str, count: int) -> list[Any]:
        """The first lines of a stream."""
        connection = _Unix(self.socket)
        try:
            connection.request("GET", f"/agent/v1{path}")
            answer = connection.getresponse()
            return [json.loads(answer.readline()) for _ in range(count)]
        finally:
            connection.close()

    def sleep_on_boottime(self, seconds: float) -> None:
        """Waits until CLOCK_BOOTTIME, on which deadlines are, has moved on."""
        end = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        eventually(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) >= end, "time to pass")

    def get(self, path: str, **more: Any) -> Any:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: dict[str, Any] | None = None, **more: Any) -> Any:
        return self.ask("POST", path, {"node_id": self.node_id, **(body or {})}, **more)

    def take_lease(self, holder: str = "alice", **more: Any) -> int:
        self.lease = int(self.post("/lease", {"holder": holder, **more})["token"])
        return self.lease

    def change(self, path: str, body: dict[str, Any] | None = None, method: str = "POST", **more: Any) -> Any:
        """A write that needs the lease, which is renewed, or taken where it was lost."""
        try:
            self.post("/lease", {"holder": "alice", "token": self.lease or 0})
        except Refusal:
            self.take_lease()
        return self.ask(method, path, {"node_id": self.node_id, "lease": self.lease, **(body or {})}, **more)

    def put(self, digest: str, data: bytes, *, offset: int = 0, total: int | None = None) -> Any:
        query = f"offset={offset}&total={len(data) if total is None else total}&node_id={self.node_id}"
        return self.ask("PUT", f"/blobs/{digest}?{query}", data)

    # -- deployments

    def stage(self, bundle: Path, id_: str, window_s: float = 60.0) -> Any:
        """Stages a bundle, sending what is missing, until the node has all of it."""
        with archive.read_archive(bundle) as opened:
            blobs = {digest: opened.open_blob(digest).read() for digest in opened.blobs}
            blobs[opened.manifest_digest] = opened.manifest_bytes
            signature = opened.signature_bytes or b""
            digest = signing_digest(signature)
            blobs[digest] = signature
            body = {"id": id_, "manifest": opened.manifest_digest, "signature": digest, "window_s": window_s}
        for _ in range(4):
            answer = self.change("/deployments", body)
            if answer["state"] != "RECEIVING":
                return answer
            for missing in answer["missing"]:
                self.put(missing, blobs[missing])
        return answer

    def deploy(self, bundle: Path, id_: str, window_s: float = 60.0) -> Any:
        """Up to TRIAL."""
        staged = self.stage(bundle, id_, window_s)
        assert staged["state"] == "STAGED", staged
        ready = self.change(f"/deployments/{id_}/preflight")
        assert ready["state"] == "PREFLIGHT_OK", ready
        return self.change(f"/deployments/{id_}/activate")

    def commit(self, bundle: Path, id_: str, window_s: float = 60.0) -> Any:
        """Up to COMMITTED."""
        trial = self.deploy(bundle, id_, window_s)
        assert trial["state"] == "TRIAL", trial
        return self.change(f"/deployments/{id_}/confirm")

    def show(self, id_: str) -> Any:
        return self.get(f"/deployments/{id_}")

    def bundle(self, name: str = "press") -> Any:
        """The telemetry of one bundle; None where it is not there."""
        bundles = self.get("/status")["telemetry"]["bundles"]
        return next((bundle for bundle in bundles if bundle["bundle"] == name), None)

    def serving(self, revision: int, name: str = "press") -> Any:
        """Waits until a revision serves."""

        def look() -> Any:
            now = self.bundle(name)
            return now if now and now["revision"] == revision and now["state"] == "serving" else None

        return eventually(look, f"r{revision} of {name} to serve; now {self.bundle(name)}; {self.words()}")

    def answer(self, model: str = "press") -> float:
        """What the model says to 1.0: its version's number."""
        request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
        return float(self.ask("POST", f"/v2/models/{model}/infer", request)["outputs"][0]["data"][0])

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.state / 'node.db'}?mode=ro", uri=True)


def signing_digest(data: bytes) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Workshop:
    """Makes models, keys and signed bundles. A model `press` multiplies by its version's number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "key"
        key = ed25519.Ed25519PrivateKey.generate()
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        self.signers = folder / "signers"
        self.signers.write_text(f'release namespaces="outstation-bundle" {public.decode()}\n')

    def bundle(
        self,
        number: int,
        *,
        name: str = "press",
        sequence: int | None = None,
        pipeline: str = "",
        key: Path | None = None,
        golden: float = 0.0,
        rounds: int = 0,
        baseline: dict[str, Any] | None = None,
        **config: Any,
    ) -> Path:
        """NAME-1.NUMBER, signed. With `golden` its golden vectors are those of another model; `rounds` make it slow."""
        folder = self.folder / f"{name}-{number}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        multiply(folder / "model.onnx", float(number), rounds)
        cases = np.array([[[1.0]], [[-2.0]]], "f4")
        np.savez(folder / "golden.npz", **{"input.x": cases, "output.y": cases * np.float32(golden or number)})
        lines = [f'name = "{name}"', f'version = "1.{number}"', f"sequence = {sequence or number}", "epoch = 1"]
        lines += to_toml(config).splitlines()
        files = {"model": "model.onnx", "pipeline": "pipeline.toml" if pipeline else ""}
        files["baseline"] = "baseline.json" if baseline else ""
        lines += ["[files]", *(f"{role} = {json.dumps(file)}" for role, file in files.items())]
        (folder / "bundle.toml").write_text("\n".join(lines))
        if baseline:
            (folder / "baseline.json").write_text(json.dumps(baseline))
        if pipeline:
            (folder / "pipeline.toml").write_text(pipeline)
        builder.build(folder, folder, self.facts_from_model)
        (unsigned,) = folder.glob("*.ostn")
        signed = folder / f"signed-{unsigned.name}"
        archive.sign_archive(unsigned, signed, lambda data: signing.sign_with_key_file(key or self.key, data))
        return signed

    @staticmethod
    def facts_from_model(model: bytes) -> ModelFacts:
        found = onnx_walk.walk_bytes(model)
        specs = [
            [TensorSpec(tensor.name, tensor.datatype, list(tensor.shape or ())) for tensor in tensors]
            for tensors in (found.inputs, found.outputs)
        ]
        return ModelFacts(
            ir_version=found.ir_version,
            opsets=found.opsets,
            operators=found.operators,
            inputs=specs[0],
            outputs=specs[1],
        )


def multiply(path: Path, factor: float, rounds: int = 0) -> None:
    """A model that multiplies its one input by `factor`, a row at a time where it does so the long way round."""
    rows: list[str | int] = ["N" if rounds == 0 else 1, 1]
    nodes, weights = [], [numpy_helper.from_array(np.array([factor], "f4"), "factor")]
    if rounds:
        weights.append(numpy_helper.from_array(np.full((1, 512), 1 / 512, "f4"), "spread"))
        weights.append(numpy_helper.from_array(np.eye(512, dtype="f4"), "same"))
        nodes.append(helper.make_node("MatMul", ["x", "spread"], ["v0"]))
        nodes += [helper.make_node("MatMul", [f"v{n}", "same"], [f"v{n + 1}"]) for n in range(rounds)]
        nodes.append(helper.make_node("ReduceSum", [f"v{rounds}"], ["sum"], keepdims=1, axes=[1]))
    graph = helper.make_graph(
        [*nodes, helper.make_node("Mul", ["sum" if rounds else "x", "factor"], ["y"])],
        "multiply",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, rows)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, rows)],
        weights,
    )
    opset = 12 if rounds else 17  # Up to 12 the axes of ReduceSum are an attribute.
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(path))


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@contextlib.contextmanager
def agents(workshop: Workshop) -> Iterator[Callable[..., Agent]]:
    """Makes nodes and takes them away. Socket paths are short, so a node is not below tmp_path."""
    made: list[Agent] = []

    def make(toml: str = "") -> Agent:
        folder = Path(tempfile.mkdtemp(prefix="os-", dir="/tmp"))
        made.append(Agent(folder / "n", workshop.signers, toml=toml))
        return made[-1]

    try:
        yield make
    finally:
        for agent in made:
            agent.stop()
            shutil.rmtree(agent.state.parent)


@pytest.fixture
def make_agent(workshop: Workshop) -> Iterator[Callable[..., Agent]]:
    """`make_agent(toml="...")`: a new node, not started."""
    with agents(workshop) as make:
        yield make


@pytest.fixture(scope="module")
def make_agents(workshop: Workshop) -> Iterator[Callable[..., Agent]]:
    """As `make_agent`, for nodes that live as long as a file of tests."""
    with agents(workshop) as make:
        yield make


@pytest.fixture
def agent(make_agent: Callable[..., Agent]) -> Agent:
    """A node that runs."""
    return make_agent().start()


@pytest.fixture(scope="session", name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture(scope="session", name="digest_of")
def _digest_of() -> Callable[[bytes], str]:
    return signing_digest
