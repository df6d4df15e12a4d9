"""`python -m nodeagent.model.model_facts`: an ONNX file on standard input, its facts as JSON on standard output.

For whoever builds a bundle where this package is installed: the same walk, under the same limits, that a node makes
before it takes the model. Exit code 1 and the reason on standard error when a node would refuse it.
"""

from __future__ import annotations

import sys

import msgspec

from nodeagent.deployment.intake import limit
from nodeagent.model.onnx_walk import Tensor, WalkLimits, walk_bytes
from nodeagent.model.wire import Refused


def facts_of(model: bytes) -> dict[str, object]:
    """The fields of `store.bundle.ModelFacts`. Raises Refused."""
    found = walk_bytes(model)
    return {
        "ir_version": found.ir_version,
        "opsets": found.opsets,
        "operators": sorted(found.operators),
        "inputs": [_tensor(tensor) for tensor in found.inputs],
        "outputs": [_tensor(tensor) for tensor in found.outputs],
    }


def _tensor(tensor: Tensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape or ())}


def main() -> int:
    """Reads one model; returns the exit code."""
    limit()
    most = WalkLimits().file_bytes_max
    model = sys.stdin.buffer.read(most + 1)
    try:
        if len(model) > most:
            raise Refused(f"the file has more than {most} bytes")
        sys.stdout.buffer.write(msgspec.json.encode(facts_of(model)))
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
