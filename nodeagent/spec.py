"""What a worker is started with: one activation of one bundle on this node, complete, so that it asks nobody."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["active", "candidate", "safe"]


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a bundle with everything it needs. `bindings` are resolved and hold secrets: never log one.

    `pipeline_path` may be "": the bundle then answers HTTP inference only (each prediction is recorded as well).
    """

    bundle: str
    model: str
    version: str
    revision: int
    digest: str
    model_path: str
    pipeline_path: str
    baseline_path: str | None
    golden_path: str | None
    model_digest: str
    pipeline_digest: str
    bindings: dict[str, Any]
    binding_revision: int
    peak_memory_bytes: int
    boot_number: int
    trial: bool
    write_back: Literal["dry_run", "armed"]
    records_dir: str
    work_dir: str
    node_id: str
    node_name: str
    site: str
    more_models: dict[str, str] = {}

    def armed(self, on: bool) -> Activation:
        """The same with write-back armed or in dry run."""
        return msgspec.structs.replace(self, write_back="armed" if on else "dry_run")

    def __repr__(self) -> str:
        return f"Activation({self.bundle} {self.version} r{self.revision})"


class WorkerDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The file behind `worker --spec`: the activation, the part to play, and the inherited descriptors by name.

    `fds` holds `model` (the model's listening socket) and `control` (the worker's own). `hold`: outputs start held.
    `deadline_s` ends one run of the model.
    """

    worker: str
    role: Role
    activation: Activation
    fds: dict[str, int]
    hold: bool = False
    deadline_s: float = 10.0
