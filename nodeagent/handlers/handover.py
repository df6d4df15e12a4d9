"""Handover: who takes over what stands here at the change of a shift. Changes nothing but the ledger."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import Handover, HandoverRequest
from store.node import handover

ITEMS_MAX = 100
ITEM_CHARS_MAX = 200
NOTE_CHARS_MAX = 512


@dataclasses.dataclass(frozen=True)
class HandoverHandlers:
    """One route, which a login that may only watch may use too: a name under something is no change of it."""

    parts: Parts

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/handover"): self.take}

    async def take(self, call: Call) -> Handover:
        request: HandoverRequest = call.body
        items = list(dict.fromkeys(request.items))
        if not 1 <= len(items) <= ITEMS_MAX or not all(0 < len(item) <= ITEM_CHARS_MAX for item in items):
            text = f"items are 1 to {ITEMS_MAX}, of 1 to {ITEM_CHARS_MAX} characters each"
            raise HttpError("REQUEST.MALFORMED", text, "Take what `outstation handover` lists.")
        stamp = self.parts.standing.stamp(call.actor)
        await self.parts.database.write(handover.take, stamp, items, request.note[:NOTE_CHARS_MAX])
        return Handover(by=call.actor, items=items)
