"""The node's bindings: shown with secrets hidden, changed over the revision that was read."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import bindings
from nodeagent.deployment.binder import Binder
from nodeagent.deployment.binding_store import BindingStore
from nodeagent.protocol import BindAnswer, Bindings
from nodeagent.state.standing import Standing


@dataclasses.dataclass(frozen=True)
class BindingHandlers:
    """Two routes."""

    store: BindingStore
    binder: Binder
    standing: Standing

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/bindings"): self.show, ("PUT", "/agent/v1/bindings"): self.bind}

    async def show(self, call: Call) -> Bindings:
        return Bindings(
            revision=self.store.revision,
            values=bindings.hide(self.store.values),
            missing=await self.binder.missing(),
        )

    async def bind(self, call: Call) -> BindAnswer:
        return await self.binder.bind(call.body, call.actor, self.standing.fence(call.body.lease))
