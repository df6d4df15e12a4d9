"""Review: another person has looked at what was done on the node as an emergency; only that ends its alert."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from nodeagent.api import Call, Endpoints
from nodeagent.deployment.policy import EMERGENCY, person, same_person
from nodeagent.health.alert_board import AlertBoard
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import Status
from store.node import change_control

NOTE_CHARS_MAX = 512


@dataclasses.dataclass(frozen=True)
class ReviewHandlers:
    """One route. What a person did themselves waits on for somebody else."""

    parts: Parts
    board: AlertBoard
    status: Callable[[Call], Awaitable[Status]]

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/review"): self.review}

    async def review(self, call: Call) -> Status:
        name, proven = person(call.actor)
        if self.parts.settings.policy.second_person and not proven:
            text = f"{call.actor}: who reviews must be known, and this name is only said"
            raise HttpError("CHANGE.UNPROVEN", text, "Log in with a key whose forced command names you.")
        waiting = await self.parts.database.read(change_control.pending)
        if not waiting:
            raise HttpError("CHANGE.NOTHING", "no emergency waits for a review on this node")
        others = [found for found in waiting if not same_person(found.actor, name)]
        if not others:
            raise HttpError("CHANGE.SAME_PERSON", f"{name} did it: another person reviews it", "Ask a colleague.")
        ids, note = [found.id for found in others], call.body.note[:NOTE_CHARS_MAX]
        await self.parts.database.write(change_control.review, self.parts.standing.stamp(call.actor), ids, note)
        left = {found.subject for found in await self.parts.database.read(change_control.pending)}
        await self.board.settle(EMERGENCY, {found.subject for found in others} - left)
        return await self.status(call)
