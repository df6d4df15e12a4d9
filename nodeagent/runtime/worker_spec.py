"""From an activation to how its worker is started: document, sockets, limits, a name that no other worker had."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec

from nodeagent.processes.children import SpawnSpec
from nodeagent.processes.limits import Limits
from nodeagent.settings import Settings
from nodeagent.spec import Activation, Role, WorkerDocument


class WorkerSpecs:
    """Makes spawn specs. `run` is the folder of the sockets, `generation` differs from one supervisor to the next."""

    def __init__(self, run: Path, settings: Settings, generation: str) -> None:
        self._run = run
        self._settings = settings
        self._generation = generation
        self._numbers = itertools.count(1)

    def make(self, activation: Activation, role: Role, *, held: bool) -> SpawnSpec:
        """The spec of a new worker."""
        worker = f"{self._generation}-{next(self._numbers)}"
        limits = self._settings.worker
        document = WorkerDocument(
            worker=worker,
            role=role,
            activation=activation,
            fds={},
            hold=held,
            deadline_s=limits.request_deadline_s,
        )
        return SpawnSpec(
            worker=worker,
            bundle=activation.bundle,
            revision=activation.revision,
            role=role,
            document=msgspec.to_builtins(document),
            listeners={"model": f"m-{activation.bundle}", "control": f"w-{worker}"},
            limits=Limits(
                memory_bytes=limits.memory_bytes_max + activation.peak_memory_bytes if limits.memory_bytes_max else 0,
                nice=limits.nice,
            ),
        )

    def control_path(self, worker: str) -> Path:
        """The worker's control socket."""
        return self._run / f"w-{worker}.sock"

    def model_path(self, bundle: str) -> Path:
        """The model's own socket."""
        return self._run / f"m-{bundle}.sock"


def activation_of(spec: SpawnSpec) -> Activation:
    """The activation that a running worker was started with. Raises msgspec.ValidationError."""
    return msgspec.convert(spec.document["activation"], Activation)
