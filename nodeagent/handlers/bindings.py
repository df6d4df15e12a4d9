"""The node's bindings: shown with secrets hidden, changed over the revision that was read."""

from __future__ import annotations

import dataclasses

import msgspec

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import bindings
from nodeagent.deployment.binder import Binder
from nodeagent.deployment.binding_store import BindingStore
from nodeagent.deployment.policy import ChangePolicy
from nodeagent.protocol import BindAnswer, Bindings, BindRequest
from nodeagent.state.standing import Standing
from store.change import digest_of


@dataclasses.dataclass(frozen=True)
class BindingHandlers:
    """Two routes."""

    store: BindingStore
    binder: Binder
    standing: Standing
    policy: ChangePolicy

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/bindings"): self.show, ("PUT", "/agent/v1/bindings"): self.bind}

    async def show(self, call: Call) -> Bindings:
        return Bindings(
            revision=self.store.revision,
            values=bindings.hide(self.store.values),
            missing=await self.binder.missing(),
        )

    async def bind(self, call: Call) -> BindAnswer:
        request: BindRequest = call.body
        fence, digest = self.standing.fence(request.lease), self._digest(request)
        if not request.dry_run:
            id_ = f"bindings-{request.base_revision + 1}-{digest[7:15]}"
            await self.policy.admit(request, call.actor, fence, subject=digest, id_=id_)
        return msgspec.structs.replace(await self.binder.bind(request, call.actor, fence), digest=digest)

    def _digest(self, request: BindRequest) -> str:
        """What a second person signs: this change, on top of this revision, on this node."""
        change = {"set": request.set, "unset": sorted(request.unset), "base_revision": request.base_revision}
        return digest_of({"node_id": request.node_id, **change})
