"""Records: pages of predictions with the gaps between them, and what people say of one."""

from __future__ import annotations

import array
import asyncio
import dataclasses
import re
import sys
from pathlib import Path

from nodeagent.api import Call, Endpoints
from nodeagent.http.message import HttpError
from nodeagent.protocol import NAME_PATTERN, PAGE_ROWS_MAX, Gap, LabelRequest, Record, RecordsPage
from nodeagent.state.database import NodeDatabase
from nodeagent.state.standing import Standing
from store import records
from store.errors import StoreError
from store.node import labels, revisions
from store.node.axis import Axis

KEY_MAX = (1 << 63) - 1
LABEL_CHARS_MAX = 64
NOTE_CHARS_MAX = 512
DEADLINE_S = 2.0
_NAME = re.compile(NAME_PATTERN)


@dataclasses.dataclass(frozen=True)
class RecordHandlers:
    """Query: `bundle`, `after`, `before`, `limit`, `decision`, `label`, `quality`, `context`, `newest_first=true`,
    `values=0`. `context`: `product=A4 shift=2`, pairs that all must hold."""

    folder: Path
    database: NodeDatabase
    standing: Standing
    axis: Axis = dataclasses.field(default_factory=Axis)

    def endpoints(self) -> Endpoints:
        return {
            ("GET", "/agent/v1/records"): self.page,
            ("POST", "/agent/v1/records/{key}/label"): self.label,
        }

    async def page(self, call: Call) -> RecordsPage:
        bundle = self.bundle(call.query_text("bundle"))
        quality = call.query_int("quality", -1, minimum=-1, maximum=2)
        newest = call.query_text("newest_first") == "true"
        return await self.find(
            bundle,
            values=call.query_text("values") != "0",
            after=call.query_int("after", 0, maximum=KEY_MAX),
            before=call.query_int("before", KEY_MAX, maximum=KEY_MAX),
            limit=call.query_int("limit", 100, minimum=1, maximum=PAGE_ROWS_MAX),
            decision=call.query_text("decision") or None,
            label=call.query_text("label") or None,
            quality=None if quality < 0 else quality,
            context=call.query_text("context") or None,
            newest_first=newest,
        )

    async def find(self, bundle: str, *, values: bool = True, **wanted: object) -> RecordsPage:
        """Records with the label that counts; `wanted` as in store.records.query. Raises HttpError."""
        found = await self._query(bundle, **wanted)
        given = await self._labels(bundle, [row.key for row in found.records])
        await self.database.read(self.axis.follow)
        return RecordsPage(
            records=[_record(row, given.get(row.key, row.label), self.axis, values=values) for row in found.records],
            gaps=[
                Gap(key_from=gap.key_from, key_to=gap.key_to, count=gap.lost, reason=gap.reason) for gap in found.gaps
            ],
            next=found.next,
        )

    async def label(self, call: Call) -> Record:
        """Appends a label; the same one by the same person again changes nothing."""
        request: LabelRequest = call.body
        text = call.path["key"]
        if not 0 < len(request.label) <= LABEL_CHARS_MAX or len(request.note) > NOTE_CHARS_MAX:
            raise HttpError("REQUEST.MALFORMED", f"a label has 1 to {LABEL_CHARS_MAX} characters")
        key = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
        bundle = self.bundle(request.bundle)
        found = await self._query(bundle, after=key - 1, limit=1) if 0 < key <= KEY_MAX else None
        if found is None or not found.records or found.records[0].key != key:
            raise HttpError("RECORD.UNKNOWN", f"{bundle} has no record {text[:24]}", "It may be past its retention.")
        given = await self.database.read(labels.of_record, bundle, key)
        last = given[-1] if given else None
        if last is None or (last.label, last.note, last.actor) != (request.label, request.note, call.actor):
            stamp = self.standing.stamp(call.actor)
            await self.database.write(
                labels.add,
                stamp,
                bundle=bundle,
                record_key=key,
                label=request.label,
                note=request.note,
                facts=await self._facts(bundle, found.records[0]),
            )
        await self.database.read(self.axis.follow)
        return _record(found.records[0], request.label, self.axis, values=True)

    def bundle(self, name: str) -> str:
        """The bundle asked for; the only one where none is named."""
        if not name:
            present = (
                sorted(path.name for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else []
            )
            if len(present) != 1:
                raise HttpError("REQUEST.MALFORMED", f"bundle is one of: {', '.join(present) or 'none yet'}")
            return present[0]
        if not _NAME.match(name):
            raise HttpError("REQUEST.MALFORMED", "bundle is not a bundle's name")
        return name

    async def _query(self, bundle: str, **wanted: object) -> records.Page:
        folder = self.folder / bundle
        if not folder.is_dir():
            return records.Page([], [], None)
        try:
            return await asyncio.to_thread(records.query, folder, deadline_s=DEADLINE_S, **wanted)  # type: ignore[arg-type]
        except StoreError as error:
            raise HttpError("LIMIT.BUSY", str(error), "Ask for fewer records.") from error

    async def _facts(self, bundle: str, row: records.Record) -> labels.Facts:
        known = await self.database.read(revisions.revision, bundle, row.revision)
        version = known.version if known is not None else ""
        return labels.Facts(row.revision, version, row.decision, row.score, row.context)

    async def _labels(self, bundle: str, keys: list[int]) -> dict[int, str]:
        return await self.database.read(labels.newest_of, bundle, keys) if keys else {}


def _record(row: records.Record, label: str, axis: Axis, *, values: bool) -> Record:
    return Record(
        key=row.key,
        bundle=row.bundle,
        revision=row.revision,
        wall_us=row.wall_us,
        at_us=axis.at_us(row.key, row.wall_us),
        source_us=row.source_us,
        latency_us=row.latency_us,
        score=row.score,
        label=label,
        model_label=row.label if label != row.label else "",
        decision=row.decision,
        quality=row.quality,
        reason=row.reason,
        inputs=_floats(row.inputs) if values else None,
        outputs=_floats(row.outputs) if values else None,
        digest=row.digest,
        config=row.config,
        context=row.context,
    )


def _floats(data: bytes | None) -> list[float] | None:
    if data is None:
        return None
    found = array.array("f", data[: len(data) // 4 * 4])
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()
