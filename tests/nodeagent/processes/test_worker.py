"""What belongs to a worker process alone: its document, its imports, its size, frames and golden vectors as bytes."""

import subprocess
import sys

import msgspec
import numpy as np
import psutil
import pytest

from nodeagent.frame import Frame, good
from nodeagent.pipeline.state import StateRefused
from nodeagent.spec import Activation
from nodeagent.worker import frame_wire


def test_a_frame_arrives_as_it_was():
    frame = good(("a", "b"), [1.5, np.nan], source_us=5, received_us=6, blob=np.arange(6).reshape(2, 3), source="plc")
    back = frame_wire.decode(frame_wire.encode(frame))
    assert isinstance(back, Frame)
    np.testing.assert_array_equal(back.values, frame.values)
    np.testing.assert_array_equal(back.quality, frame.quality)
    np.testing.assert_array_equal(back.blob, frame.blob)
    assert (back.names, back.reasons, back.source_us, back.received_us, back.source) == (
        frame.names,
        frame.reasons,
        5,
        6,
        "plc",
    )


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\xc1", frame_wire.encode(good(("a",), [1], source_us=0, received_us=0))[:-3]]
)
def test_bytes_that_are_no_frame_are_refused(data):
    with pytest.raises(StateRefused):
        frame_wire.decode(data)


def test_an_activation_does_not_show_its_secrets(bundles):
    activation = msgspec.convert(bundles.activation(1, bindings={"password": "CANARY"}), Activation)
    assert "CANARY" not in repr(activation)


def test_the_supervisors_side_imports_neither_numpy_nor_the_runtime():
    code = (
        "import sys, nodeagent.runtime.runtime\n"
        "print([name for name in ('numpy', 'onnxruntime', 'sqlite_utils', 'sqlite3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_worker_has_its_limits_and_nobody_else_holds_the_models_connections(workers, bundles, connect):
    workers.start()
    workers.ask("ensure", activation=bundles.activation(1))
    (worker,) = workers.ask("tell")["workers"]
    process = psutil.Process(worker["pid"])
    assert process.rlimit(psutil.RLIMIT_AS)[0] == (1 << 30) + (64 << 20)
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert connect().value(1, 1, 1, 1) == 1004


def test_a_worker_without_a_document_says_what_is_missing(state):
    (state / "spec").write_text('{"worker": "1"}')
    command = [sys.executable, "-m", "nodeagent.worker", "--spec", str(state / "spec")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "missing required field" in done.stderr
