"""A good model beside a hostile one on the same node: what the neighbour's clients wait, quiet and beside it, in turns.

Each kind of harm goes on for as long as a turn. A quiet turn comes before each of them, so that what else the machine
does is in both; the figure is the median over the rounds of how many times longer the slowest hundredth took.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import onnx
from onnx import TensorProto, helper

WORSE_MAX = 0.20
QUIET_SPREAD_MAX = 2.0
BOMB_BYTES = 16 << 30
ASKED_EVERY_S = 0.004
NESTED = 20
AGAIN_S = 0.2


class Turns(NamedTuple):
    """One kind of harm: the neighbour's p99 in milliseconds, quiet and beside it, a pair for each round."""

    kind: str
    quiet_ms: list[float]
    beside_ms: list[float]
    done: int

    @property
    def worse(self) -> float:
        """0.1: ten per cent longer, in the median of the rounds."""
        pairs = zip(self.quiet_ms, self.beside_ms, strict=True)
        return statistics.median(beside / quiet for quiet, beside in pairs) - 1

    def judged(self) -> list[str]:
        """What does not hold. Where quiet turns differ that much among themselves, nothing was measured."""
        spread = max(self.quiet_ms) / min(self.quiet_ms)
        if spread > QUIET_SPREAD_MAX:
            return [
                f"NOT MEASURED: {self}; quiet turns differ {spread:.1f} times: this machine does something else too"
            ]
        return [f"{self}: more than {WORSE_MAX:.0%} longer"] if self.worse > WORSE_MAX else []

    def __str__(self) -> str:
        quiet, beside = statistics.median(self.quiet_ms), statistics.median(self.beside_ms)
        return f"{self.kind} {self.worse:+.0%} ({quiet:.2f} to {beside:.2f} ms)"


def _node() -> ModuleType:
    path = Path(__file__).parents[1] / "nodeagent" / "processes" / "conftest.py"
    spec = importlib.util.spec_from_file_location("node_of_processes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NODE = _node()


def nested(path: Path, depth: int = NESTED) -> None:
    """A model of branches in branches, deeper than any that is loaded."""
    inner = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], inner)
    for _ in range(depth):
        body = helper.make_graph([helper.make_node("If", ["go"], ["y"], then_branch=body)], "g", [], inner)
    _save(path, body)


def external(path: Path) -> None:
    """A model whose weights are a file of the machine."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    _save(path, helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [], outputs, [tensor]))


def _save(path: Path, graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(made.SerializeToString())


class Pair:
    """A node with the good `lathe`, and the place of `press` beside it for whatever is hostile."""

    def __init__(self, node: Any, state: Path) -> None:
        self.node, self.state, self.bundles = node, state, NODE.Bundles(state)
        self._refused: dict[Callable[[Path], None], Any] = {}
        folders = {name: str(state / name / "lathe") for name in ("records_dir", "work_dir")}
        node.start()
        node.ask("ensure", activation=self.bundles.activation(1) | {"bundle": "lathe", "model": "lathe"} | folders)
        self.put("loop")
        NODE.eventually(lambda: self.state_of("lathe") == "serving", "the good one serves")
        NODE.eventually(lambda: self.state_of("press") == "serving", "the other one serves too")

    def put(self, model: str) -> None:
        """Another model in the hostile one's place."""
        self.node.ask("ensure", activation=self.bundles.activation(2 if model == "bomb" else 1, model=model))

    def refuse(self, make: Callable[[Path], None]) -> str:
        """A model that must not be loaded in that place; returns why it is not."""
        if make not in self._refused:
            self._refused[make] = self.bundles.activation(3 + len(self._refused))
            make(Path(self._refused[make]["model_path"]))
        self.node.ask("ensure", activation=self._refused[make])
        return str(self.figures("press")["reason"])

    def told(self) -> Any:
        return self.node.ask("tell")

    def figures(self, bundle: str) -> Any:
        return next((one for one in self.told()["telemetry"] if one["bundle"] == bundle), None)

    def state_of(self, bundle: str) -> str:
        found = self.figures(bundle)
        return found["state"] if found else ""

    def pid_of(self, bundle: str) -> int:
        found = [worker["pid"] for worker in self.told()["workers"] if worker["bundle"] == bundle]
        return int(found[0]) if found else 0

    def connect(self, name: str) -> Any:
        return NODE.Client(self.state / "run" / f"{name}.sock")

    # -- harm, once each

    def crash(self) -> None:
        if pid := self.pid_of("press"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSEGV)

    def hang(self) -> None:
        with contextlib.closing(self.connect("m-press")) as client, contextlib.suppress(OSError):
            client.infer(101, 1, 1, 1)

    def allocate(self) -> None:
        with contextlib.closing(self.connect("m-press")) as client, contextlib.suppress(OSError):
            client.infer(BOMB_BYTES, 0, 0, 0)

    def nest(self) -> None:
        self.refuse(nested)

    def reach_out(self) -> None:
        self.refuse(external)


HARMS: dict[str, tuple[str, Callable[[Pair], None]]] = {
    "crash": ("loop", Pair.crash),
    "hang": ("loop", Pair.hang),
    "allocation": ("bomb", Pair.allocate),
    "nested control flow": ("", Pair.nest),
    "external data": ("", Pair.reach_out),
}


@contextlib.contextmanager
def a_pair(*, hang_s: float = 5.0) -> Iterator[Pair]:
    """Real launcher, real workers; gone at the end. A worker that hangs is ended after `hang_s`."""
    state = Path(tempfile.mkdtemp(prefix="os-", dir="/tmp"))
    (state / "node.toml").write_text(f"[worker]\nhang_s = {hang_s}\n")
    node = NODE.Node(state, "double_runtime.py")
    try:
        yield Pair(node, state)
    finally:
        node.end()
        shutil.rmtree(state)


def p99_ms(pair: Pair, turn_s: float) -> float:
    """What one in a hundred requests of the neighbour's client takes, over one turn. Every answer must be right."""
    took: list[float] = []
    end_s = time.monotonic() + turn_s
    with contextlib.closing(pair.connect("m-lathe")) as client:
        while (began_s := time.monotonic()) < end_s:
            assert client.value(len(took), 1, 1, 1, model="lathe") == 1003 + len(took)
            took.append(time.monotonic() - began_s)
            time.sleep(ASKED_EVERY_S)
    return statistics.quantiles(took, n=100)[98] * 1_000


def beside(pair: Pair, harm: Callable[[Pair], None], turn_s: float) -> tuple[float, int]:
    """The same while a process of its own does harm again and again; and how often it did."""
    forking = multiprocessing.get_context("fork")
    over, done = forking.Event(), forking.Value("i", 0)

    def go_on() -> None:
        while not over.wait(AGAIN_S):
            done.value += 1
            harm(pair)

    doing = forking.Process(target=go_on)
    doing.start()
    try:
        return p99_ms(pair, turn_s), done.value
    finally:
        over.set()
        doing.join()
        assert doing.exitcode == 0, "the harm could not be done; its error is above"


def turns(pair: Pair, kind: str, *, rounds: int, turn_s: float) -> Turns:
    """Quiet, harm, quiet, harm."""
    model, harm = HARMS[kind]
    found = Turns(kind, [], [], 0)
    for _ in range(rounds):
        pair.put(model or "loop")
        NODE.eventually(lambda: pair.state_of("press") == "serving", "the other one serves")
        if not model:
            harm(pair)  # The file is made before it is measured.
            pair.put("loop")
            NODE.eventually(lambda: pair.state_of("press") == "serving", "the other one serves again")
        found.quiet_ms.append(p99_ms(pair, turn_s))
        p99, done = beside(pair, harm, turn_s)
        found.beside_ms.append(p99)
        found = found._replace(done=found.done + done)
    return found


def harmed(pair: Pair, kind: str, *, rounds: int = 1, turn_s: float = 0.8) -> tuple[Turns, list[str]]:
    """One kind of harm, and whether it stayed where it belongs."""
    before = pair.told()["pid"], pair.pid_of("lathe"), pair.figures("lathe")["restarts_total"]
    found = turns(pair, kind, rounds=rounds, turn_s=turn_s)
    wrong = [] if found.done else [f"{kind}: no harm was done"]
    if (pair.told()["pid"], pair.pid_of("lathe"), pair.figures("lathe")["restarts_total"]) != before:
        wrong.append(f"I8: after {kind} the supervisor or the neighbour's worker is another one than before")
    return found, wrong


def run(*, rounds: int = 5, turn_s: float = 2.0) -> tuple[list[Turns], list[str]]:
    """Every kind of harm, and what does not hold."""
    found, wrong = [], []
    with a_pair() as pair:
        for kind in HARMS:
            one, bad = harmed(pair, kind, rounds=rounds, turn_s=turn_s)
            print(f"{one}, harm done {one.done} times", file=sys.stderr, flush=True)
            found.append(one)
            wrong += bad
            wrong += one.judged()
    return found, wrong
