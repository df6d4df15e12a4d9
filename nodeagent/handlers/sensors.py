"""What a person did in the plant: a sensor was replaced or recalibrated, a device that changed is the right one."""

from __future__ import annotations

import dataclasses
from typing import Any

from nodeagent.api import Call, Endpoints
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import SourceAccepted, SourceAcceptRequest, TagMark, TagMarkRequest
from nodeagent.runtime.runtime import Refused
from store import ledger

NOTE_CHARS_MAX = 512
TAG_CHARS_MAX = 256


@dataclasses.dataclass(frozen=True)
class SensorHandlers:
    """Two routes. The ledger entry comes first: what the worker does after it may be done twice."""

    parts: Parts

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "/agent/v1/tags/mark"): self.mark,
            ("POST", "/agent/v1/sources/accept"): self.accept,
        }

    async def mark(self, call: Call) -> TagMark:
        request: TagMarkRequest = call.body
        note = request.note.strip()[:NOTE_CHARS_MAX]
        if not note or not 0 < len(request.tag) <= TAG_CHARS_MAX:
            raise HttpError("REQUEST.MALFORMED", "a mark names its tag and has a note: what was done, and why")
        names = [bundle.bundle for bundle in self.parts.runtimes.telemetry()]
        answers = {name: await self._order(name, "tags") for name in names}
        found = [name for name, answer in answers.items() if request.tag in (answer or {}).get("tags", ())]
        if not found:
            known = sorted({tag for answer in answers.values() for tag in (answer or {}).get("tags", ())})
            text = f"no bundle that runs here reads {request.tag!r}; they read {', '.join(known[:20]) or 'nothing'}"
            raise HttpError("TAG.UNKNOWN", text, "See the names with `outstation tap NODE BUNDLE`.")
        stamp = self.parts.standing.stamp(call.actor)
        detail = {"mark": request.mark, "note": note, "bundles": found}
        await self.parts.database.write(ledger.note, stamp, "tag.mark", request.tag, detail)
        for name in found:
            await self._order(name, "mark", tag=request.tag, mark=request.mark)
        return TagMark(
            tag=request.tag, mark=request.mark, note=note, by=call.actor, wall_us=stamp.wall_us, bundles=found
        )

    async def accept(self, call: Call) -> SourceAccepted:
        request: SourceAcceptRequest = call.body
        answer = await self._order(request.bundle, "device", source=request.source)
        if answer is None:
            raise HttpError("SOURCE.UNKNOWN", f"{request.bundle} does not run here", "See `outstation status NODE`.")
        if not (changed := str(answer["changed"])):
            text = f"{request.source} of {request.bundle} is as it was accepted, or tells nothing of itself"
            raise HttpError("SOURCE.UNKNOWN", text, "Sources that changed are in the bundle's list, with what changed.")
        stamp = self.parts.standing.stamp(call.actor)
        detail = {"bundle": request.bundle, "changed": changed, "note": request.note.strip()[:NOTE_CHARS_MAX]}
        await self.parts.database.write(ledger.note, stamp, "source.accept", request.source, detail)
        await self._order(request.bundle, "accept", source=request.source)
        return SourceAccepted(bundle=request.bundle, source=request.source, changed=changed, by=call.actor)

    async def _order(self, bundle: str, op: str, **body: str) -> dict[str, Any] | None:
        try:
            return await self.parts.runtimes.order(bundle, op, **body)
        except Refused as error:
            raise HttpError(error.code, error.message, error.hint) from error
