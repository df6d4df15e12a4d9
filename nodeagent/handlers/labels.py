"""Labels: every one that was given, oldest first, and what a person should label next."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from nodeagent import review_queue
from nodeagent.api import Call, Endpoints
from nodeagent.handlers.records import KEY_MAX, RecordHandlers
from nodeagent.protocol import PAGE_ROWS_MAX, LabelRow, LabelsPage, Record, ReviewQueue
from store.node import labels

LOOKED_AT = 2_000
OF_EACH = 200
QUEUE_MAX = 200


@dataclasses.dataclass(frozen=True)
class LabelHandlers:
    """Query of the list: `bundle`, `after` (a label's id), `limit`. `pipeline_of`: the active pipeline of a bundle."""

    records: RecordHandlers
    pipeline_of: Callable[[str], Awaitable[str]]

    def endpoints(self) -> Endpoints:
        return {
            ("GET", "/agent/v1/labels"): self.page,
            ("GET", "/agent/v1/labels/queue"): self.queue,
        }

    async def page(self, call: Call) -> LabelsPage:
        bundle = self.records.bundle(call.query_text("bundle"))
        limit = call.query_int("limit", PAGE_ROWS_MAX, minimum=1, maximum=PAGE_ROWS_MAX)
        after = call.query_int("after", 0, maximum=KEY_MAX)
        found = await self.records.database.read(labels.page, bundle, after, limit)
        rows = [
            LabelRow(
                id=label.id,
                key=label.record_key,
                label=label.label,
                note=label.note,
                actor=label.actor,
                wall_us=label.wall_us,
                **({} if facts is None else facts._asdict()),
            )
            for label, facts in found
        ]
        return LabelsPage(bundle=bundle, labels=rows, next=rows[-1].id if len(rows) == limit else None)

    async def queue(self, call: Call) -> ReviewQueue:
        """Of the newest records; alarms and reviews are looked for further back."""
        bundle = self.records.bundle(call.query_text("bundle"))
        limit = call.query_int("limit", 50, minimum=1, maximum=QUEUE_MAX)
        found: list[Record] = []
        for decision in ("alarm", "reject", "review"):
            found += (await self.records.find(bundle, decision=decision, limit=OF_EACH, newest_first=True)).records
        found += (await self.records.find(bundle, limit=LOOKED_AT, newest_first=True)).records
        given = await self.records.database.read(labels.people, bundle, [record.key for record in found])
        band = review_queue.band_of(await self.pipeline_of(bundle))
        items = review_queue.queue(found, given, call.actor, band, limit)
        return ReviewQueue(bundle=bundle, looked_at=len(found), items=items)
