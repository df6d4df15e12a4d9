"""The passport: does a bundle fit this node, before any byte of it moves."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections import Counter
from collections.abc import Awaitable, Callable

import psutil

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import write_conflicts
from nodeagent.deployment.binder import Binder
from nodeagent.deployment.passport import NodeFacts, judge
from nodeagent.health.host import disk
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import Passport, PassportRequest
from nodeagent.runtime.arriving import arriving
from nodeagent.state import installed
from nodeagent.state.database import Condition
from store.blobs import Blobs
from store.node import deployments

# Distribution that brings onnxruntime -> what its builds can run on.
RUNTIMES = {
    "onnxruntime": ("CPUExecutionProvider",),
    "onnxruntime-gpu": ("CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"),
    "onnxruntime-openvino": ("OpenVINOExecutionProvider", "CPUExecutionProvider"),
}


@dataclasses.dataclass(frozen=True)
class PassportHandlers:
    """One route. The runtime's version is read from its installation: importing it is a worker's business."""

    parts: Parts
    blobs: Blobs
    binder: Binder
    signers: Callable[[], int]
    pipeline_of: Callable[[str], Awaitable[str]]

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/passport"): self.passport}

    async def passport(self, call: Call) -> Passport:
        request: PassportRequest = call.body
        name = str(request.facts.get("name", ""))
        try:
            facts = await self._facts(name, request.blob_sizes)
            if request.facts.get("tags"):
                seen = await arriving(self.parts.runtimes, self.pipeline_of)
                facts = dataclasses.replace(facts, arriving=seen)
            return judge(request.facts, request.blob_sizes, facts)
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
            raise HttpError("REQUEST.MALFORMED", f"the facts are not a bundle's: {error}") from error

    async def _facts(self, bundle: str, blob_sizes: dict[str, int]) -> NodeFacts:
        runtime, providers = _runtime()
        _, free = disk(self.parts.state)
        out = self.parts.standing.out_of_service
        values = self.parts.bindings.values
        used = await self.binder.names_by_bundle()
        read_only = self.parts.database.condition is Condition.READ_ONLY
        others = Counter(
            str(values[name]) for user, names in used.items() if user != bundle for name in names if name in values
        )
        whole = await asyncio.to_thread(lambda: dict(self.blobs.whole()))
        trial = await self.parts.database.read(deployments.trial)
        hold = self.parts.standing.hold
        return NodeFacts(
            runtime=runtime,
            providers=providers,
            memory_bytes_available=psutil.virtual_memory().available,
            disk_bytes_free=free,
            disk_bytes_free_min=self.parts.settings.disk.bytes_free_min,
            disk_writable=not read_only and os.access(self.parts.state, os.W_OK),
            held=frozenset(whole.keys() & blob_sizes.keys()),
            kept_bytes=sum(whole.values()),
            bindings=values,
            signers=self.signers(),
            out_of_service="" if out is None else f"{out.by}: {out.reason}",
            endpoints=others,
            trial="" if trial is None else f"{trial.bundle} {trial.version} is in its trial ({trial.id})",
            hold="" if hold is None else f"{hold.by}: {hold.reason}",
            written=await write_conflicts.written(self.parts),
            asks_number=self.parts.settings.policy.change_number,
            asks_person=self.parts.settings.policy.second_person,
        )


def _runtime() -> tuple[str | None, tuple[str, ...]]:
    for package, providers in RUNTIMES.items():
        if (found := installed.version(package)) is not None:
            return found, providers
    return None, ()
