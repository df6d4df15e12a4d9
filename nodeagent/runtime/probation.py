"""Preflight in a process of its own: load the model, run its golden vectors, under limits; never promoted.

It takes the activation on stdin and prints one JSON verdict. What the model does to this process instead (a crash, more
memory or processor time than allowed, no end) is the verdict too, and `nodeagent.runtime.probation_start` gives it.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from typing import Final

import msgspec

from nodeagent.clock import SystemClock
from nodeagent.model.golden import GoldenMismatch
from nodeagent.model.inference import ModelRefused, RunFailed, RunPolicy
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline.drift import BaselineRefused
from nodeagent.pipeline.errors import ConfigError
from nodeagent.processes.limits import Limits, tie_to_parent_of
from nodeagent.runtime.probation_start import TEXT_CHARS_MAX, Verdict
from nodeagent.spec import Activation
from nodeagent.worker.loading import load, read_pipeline

RUN_S_MAX: Final = 10.0


def attempt(activation: Activation) -> Verdict:
    """Loads, reproduces the golden vectors, measures."""
    began_s = time.monotonic()
    try:
        loaded = load(activation, SystemClock(), RunPolicy(deadline_s=RUN_S_MAX))
    except ModelRefused as error:
        return _refused("BUNDLE.MODEL_REFUSED", error)
    except ConfigError as error:
        return _refused(_whose_pipeline(activation), error)
    except BaselineRefused as error:
        return _refused("BUNDLE.PIPELINE", error)
    except (GoldenMismatch, RunFailed, MemoryError, OSError) as error:
        return _refused("DEPLOYMENT.PREFLIGHT", error)
    return Verdict(
        ok=True,
        latency_ms=loaded.profile.run_us / 1e3 if loaded.profile.run_us else None,
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        load_ms=(time.monotonic() - began_s) * 1e3,
        golden_cases=loaded.golden_cases,
        batch_rows_max=loaded.profile.batch_rows_max,
    )


def _whose_pipeline(activation: Activation) -> str:
    """A pipeline in order without its bindings and not with them has wrong bindings: the node's fault.

    One that is in order with both does not fit its model, and that is the bundle's.
    """
    try:
        with open(activation.pipeline_path, encoding="utf-8") as file:
            pipeline_config.load(file.read())
    except (ConfigError, OSError):
        return "BUNDLE.PIPELINE"
    try:
        read_pipeline(activation)
    except ConfigError:
        return "BINDING.MALFORMED" if activation.bindings else "BUNDLE.PIPELINE"
    return "BUNDLE.PIPELINE"


def _refused(code: str, error: BaseException) -> Verdict:
    return Verdict(ok=False, code=code, error=f"{error}"[:TEXT_CHARS_MAX] or type(error).__name__)


def main() -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="nodeagent.runtime.probation", description=__doc__)
    parser.add_argument("--memory-bytes", type=int, required=True, help="address space")
    parser.add_argument("--cpu-s", type=int, required=True, help="processor time")
    parser.add_argument("--parent", type=int, required=True, help="ends with this process")
    asked = parser.parse_args()
    tie_to_parent_of(asked.parent)
    Limits(memory_bytes=asked.memory_bytes, cpu_s=asked.cpu_s).apply()
    activation = msgspec.json.decode(sys.stdin.buffer.read(), type=Activation)
    verdict = msgspec.json.encode(attempt(activation))
    os.write(1, verdict)
    return 0


if __name__ == "__main__":
    sys.exit(main())
