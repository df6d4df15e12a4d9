"""ONNX models on onnxruntime: loading under a policy, running with a deadline. The one file that imports onnxruntime.

One thread a run by default; more threads never spin, since a spinning pool burns a core on an idle node
(measured: 20.7 against 9.8 ms of CPU a call). Deadlines end a run by RunOptions.terminate, between two operators.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

# Since 1.29 it writes an id of the device and its use of models into the account's cache and sends them to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

from nodeagent.model.onnx_walk import WalkLimits, walk
from nodeagent.model.tensors import DTYPES, Array, TensorSpec
from nodeagent.model.watchdog import Lane, Watchdog
from nodeagent.model.wire import Refused

DEADLINE_S = 10.0
SHRINK_WEIGHT_BYTES = 16 << 20  # from here on a run gives its memory back, or one large batch stays resident for ever

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class ModelRefused(Exception):
    """The model cannot be loaded here. The text says why."""


class RunFailed(Exception):
    """A run that gave no outputs. `by_input`: the runtime says that the inputs are wrong for the model."""

    def __init__(self, text: str, *, by_input: bool = False) -> None:
        super().__init__(text)
        self.by_input = by_input


class DeadlineExceeded(RunFailed):
    """A run that was ended because it took too long."""


class RunPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is loaded and run. `threads` above 1 do not spin. `walk` bounds what may be loaded at all."""

    threads: int = 1
    deadline_s: float = DEADLINE_S
    walk: WalkLimits = WalkLimits()
    shrink: bool | None = None  # None: by the size of the weights


class _RunLane(Lane):
    __slots__ = ("options",)

    def __init__(self, shrink: bool) -> None:
        self.options = ort.RunOptions()
        if shrink:
            self.options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        super().__init__(self._end_run)

    def _end_run(self) -> None:
        self.options.terminate = True


class Model:
    """A loaded model. `run` may be called from several threads; runtime and weights are shared."""

    def __init__(self, session: Any, name: str, policy: RunPolicy, *, shrink: bool) -> None:
        self.name = name
        self.policy = policy
        self.inputs = _specs(session.get_inputs())
        self.outputs = [spec for spec in _specs(session.get_outputs()) if spec.datatype]
        unfed = [spec.name for spec in self.inputs if not spec.datatype]
        if unfed:
            raise ModelRefused(f"input {unfed[0]!r} has a type that cannot be sent to a model here")
        if not self.outputs:
            raise ModelRefused("the model has no output that is a tensor")
        self.symbols = [tuple(node.shape or ()) for node in session.get_inputs()]
        self.runs_total = 0
        self._session = session
        self._input_names = [spec.name for spec in self.inputs]
        self._output_names = [spec.name for spec in self.outputs]
        self._shrink = shrink
        self._watchdog = Watchdog()
        self._lanes: list[_RunLane] = []

    @classmethod
    def load(cls, path: str | Path, *, name: str = "", policy: RunPolicy | None = None) -> Model:
        """Walks the file (nodeagent.model.onnx_walk), then loads it on the CPU. Raises ModelRefused.

        `walk` refuses what the runtime would follow or expand: external data, foreign operators, sizes over the limits.
        """
        policy = policy or RunPolicy()
        try:
            facts = walk(path, policy.walk)
        except (Refused, OSError) as error:
            raise ModelRefused(str(error)) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = policy.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if policy.threads > 1:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelRefused(f"onnxruntime {ort.__version__} does not load it: {first_line(error)}") from error
        shrink = policy.shrink if policy.shrink is not None else facts.weight_bytes >= SHRINK_WEIGHT_BYTES
        return cls(session, name or Path(path).stem, policy, shrink=shrink)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, inputs={self._input_names}, outputs={self._output_names})"

    def run(self, feeds: Mapping[str, Array], *, deadline_s: float | None = None) -> dict[str, Array]:
        """The outputs by name. Raises RunFailed, or DeadlineExceeded after `deadline_s` (default: the policy's)."""
        outputs = self.run_list([feeds[name] for name in self._input_names], deadline_s=deadline_s)
        return dict(zip(self._output_names, outputs, strict=True))

    def run_list(self, feeds: Sequence[Array], *, deadline_s: float | None = None) -> list[Array]:
        """As `run`, inputs and outputs in the model's order."""
        lane = self._lanes.pop() if self._lanes else self._new_lane()
        self.runs_total += 1
        lane.begin(time.monotonic() + (self.policy.deadline_s if deadline_s is None else deadline_s))
        self._watchdog.wake()
        try:
            fed = dict(zip(self._input_names, feeds, strict=True))
            outputs: list[Array] = self._session.run(self._output_names, fed, lane.options)
        except Exception as error:
            lane.end()
            raise _translated(error, lane.expired) from error
        finally:
            lane.end()
            if lane.expired:
                self._watchdog.remove(lane)
            else:
                self._lanes.append(lane)
        return outputs

    def close(self) -> None:
        """Ends the model's watchdog; the model must not run any more."""
        self._watchdog.close()

    def _new_lane(self) -> _RunLane:
        lane = _RunLane(self._shrink)
        self._watchdog.add(lane)
        return lane


def runtime_version() -> str:
    """The version of onnxruntime, for the passport."""
    return str(ort.__version__)


def first_line(error: BaseException) -> str:
    """An exception's text in one bounded line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def zeros(specs: Sequence[TensorSpec], rows: int = 1) -> list[Array]:
    """Inputs of zeros, `rows` in the first dimension where any size goes and 1 elsewhere."""
    out = []
    for spec in specs:
        sizes = [size if size >= 0 else 1 for size in spec.shape or ()]
        if spec.shape and spec.shape[0] < 0:
            sizes[0] = rows
        dtype = DTYPES[spec.datatype]
        out.append(np.full(sizes, "", dtype=dtype) if dtype.kind == "O" else np.zeros(sizes, dtype))
    return out


def _specs(nodes: Sequence[Any]) -> list[TensorSpec]:
    """`datatype` is empty where a type is not a tensor of the protocol. onnxruntime shows an unknown rank as ()."""
    out = []
    for node in nodes:
        shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape or ())
        out.append(TensorSpec(node.name, _DATATYPES.get(node.type, ""), shape or None))
    return out


def _translated(error: Exception, expired: bool) -> RunFailed:
    if expired:
        return DeadlineExceeded("the model took longer than it may")
    return RunFailed(first_line(error), by_input=type(error).__name__ == "InvalidArgument")
