"""What an ONNX file is, asked of the agent's own static reader in a process of its own: nothing is loaded or run."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from console.client.clean import clean
from store.builder import BuildRefused
from store.bundle import ModelFacts

READ_S = 180.0


def facts_from_model(model: bytes) -> ModelFacts:
    """The facts that a bundle carries. Blocks: for a thread. Raises BuildRefused with the reader's reason."""
    command = [sys.executable, "-m", "nodeagent.model.model_facts"]
    try:
        done = subprocess.run(command, input=model, capture_output=True, timeout=READ_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildRefused(f"reading the model did not end in {READ_S:g} s") from error
    if done.returncode != 0:
        reason = clean(done.stderr.decode("utf-8", "replace").strip()[-500:])
        raise BuildRefused(f"no node would take the model: {reason or f'its reader ended with {done.returncode}'}")
    return msgspec.json.decode(done.stdout, type=ModelFacts)
