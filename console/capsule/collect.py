"""What is fetched of one node: what was, at once, and what comes until the capsule's end, as it comes.

What was is fetched first and kept, because the node may not be there any more when the end is reached.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

import msgspec

from console.capsule.content import NodeCapsule
from console.client.client import AgentClient
from console.client.clocks import measure
from console.client.wire import AgentError
from console.failure import account
from console.fleet.view import NodeAddress
from console.ledgers.visits import Book, in_words, visit
from console.link.errors import LinkError
from nodeagent.protocol import PAGE_ROWS_MAX, Gap, LedgerEntry, LogLine, Record, Telemetry, Trend

FRAMES_MAX: Final = 4_000
LOG_PAGES_MAX: Final = 10
RECORD_PAGES_MAX: Final = 10
RECORDS_WITH_INPUTS: Final = 500
LEDGER_ENTRIES: Final = 500
ALERTS: Final = 500
TREND_POINTS: Final = 720
AGAIN_S: Final = 2.0

T = TypeVar("T")


class Collecting:
    """One node, from `first_s` to `last_s` of this console's clock, which `now_s` reads."""

    def __init__(
        self,
        client: AgentClient,
        address: NodeAddress,
        book: Book,
        first_s: float,
        last_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._address, self._book, self._now_s = client, address, book, now_s
        self._first_s, self._last_s = first_s, last_s
        self._frames: dict[tuple[str, int, int], Telemetry] = {}
        self._missing: list[str] = []

    async def finish(self, before: NodeCapsule) -> NodeCapsule:
        """`before`, and everything until the end; returns when that is reached."""
        await self._follow()
        return merged(before, await self.fetch())

    # -- as it comes

    async def _follow(self) -> None:
        """Telemetry until the end, over losses of the link."""
        while (left_s := self._last_s - self._now_s()) > 0:
            try:
                async with asyncio.timeout(left_s), aclosing(self._stream()) as lines:
                    async for frame in lines:
                        self._keep(frame)
                        if self._now_s() >= self._last_s:
                            return
            except TimeoutError:
                return
            except (LinkError, AgentError) as error:
                self._note("telemetry", error)
            await asyncio.sleep(min(AGAIN_S, max(0.0, self._last_s - self._now_s())))

    def _stream(self) -> AsyncGenerator[Telemetry, None]:
        newest = next(reversed(self._frames.values()), None)
        if newest is None:
            return self._client.telemetry()
        return self._client.telemetry(newest.cursor, started_us=newest.started_us)

    def _keep(self, frame: Telemetry) -> None:
        self._frames.setdefault((frame.boot_id, frame.started_us, frame.cursor), frame)
        if len(self._frames) > FRAMES_MAX:
            # Every second one goes: the whole time stays, less finely.
            self._frames = dict(list(self._frames.items())[::2])

    # -- what was

    async def fetch(self) -> NodeCapsule:
        """What there is by now. A node that is not reached is in the capsule with the reason."""
        self._missing = []
        address, client = self._address, self._client
        found: dict[str, Any] = {
            "name": address.name, "node_id": address.node_id, "site": address.site, "line": address.line,
            "machine": address.machine, "labels": list(address.labels), "collected_s": self._now_s(),
        }  # fmt: skip
        status = await self._ask("everything", client.status())
        if status is None:
            return NodeCapsule(**found, frames=self._sorted(), missing=self._missing)
        offset = await self._ask("the clock's offset", measure(client))
        offset_s = offset.seconds if offset is not None else 0.0
        first_us, last_us = (round((at + offset_s) * 1e6) for at in (self._first_s, self._last_s))
        await self._ask("telemetry of before", self._ring(status.telemetry))
        bundles = [bundle.bundle for bundle in status.telemetry.bundles]
        records, gaps = await self._records(bundles, first_us, last_us)
        alerts = await self._ask("alerts", client.alert_history(limit=ALERTS))
        page = await self._ask("deployments", client.deployments())
        return NodeCapsule(
            **{**found, "node_id": status.node_id},
            offset_s=offset.seconds if offset is not None else None,
            offset_error_s=offset.error_s if offset is not None else None,
            status=status,
            frames=[frame for frame in self._sorted() if first_us <= frame.wall_us <= last_us],
            trends=await self._trends(bundles),
            logs=await self._ask("logs", self._logs(first_us, last_us)) or [],
            records=records,
            gaps=gaps,
            alerts=[a for a in alerts or () if a.raised_us <= last_us and (a.cleared_us or last_us) >= first_us],
            deployments=page.deployments if page is not None else [],
            revisions=await self._ask("revisions", client.revisions()) or [],
            bindings=await self._ask("bindings", client.bindings()),
            **await self._ledger(),
            missing=self._missing,
        )

    def _sorted(self) -> list[Telemetry]:
        return sorted(self._frames.values(), key=lambda frame: (frame.wall_us, frame.cursor))

    async def _ask(self, what: str, asked: Awaitable[T]) -> T | None:
        try:
            return await asked
        except (LinkError, AgentError) as error:
            self._note(what, error)
            return None

    def _note(self, what: str, error: LinkError | AgentError) -> None:
        told = f"{what}: {account(error).what}"
        if told not in self._missing:
            self._missing.append(told)

    async def _ring(self, now: Telemetry) -> None:
        """The lines of telemetry that the node still has of this run."""
        self._keep(now)
        async with aclosing(self._client.telemetry(0, started_us=now.started_us)) as lines:
            async for frame in lines:
                self._keep(frame)
                if frame.cursor >= now.cursor or frame.started_us != now.started_us:
                    return

    async def _trends(self, bundles: Sequence[str]) -> dict[str, Trend]:
        hours = max(60.0, self._now_s() - self._first_s) / 3_600
        found = {}
        for bundle in ("", *bundles):
            asked = self._client.trend(bundle, hours=hours, points=TREND_POINTS)
            if (trend := await self._ask(f"trend of {bundle or 'the host'}", asked)) is not None:
                found[bundle] = trend
        return found

    async def _logs(self, first_us: int, last_us: int) -> list[LogLine]:
        """Lines of the time, and of the newest at most so many pages."""
        found: list[LogLine] = []
        page = await self._client.logs(limit=PAGE_ROWS_MAX)
        for _ in range(LOG_PAGES_MAX):
            found = page.lines + found
            if not page.lines or page.lines[0].wall_us < first_us:
                break
            page = await self._client.logs(before=page.lines[0].cursor, limit=PAGE_ROWS_MAX)
        else:
            self._missing.append(f"logs: only the newest {len(found)} lines")
        return [line for line in found if first_us <= line.wall_us <= last_us]

    async def _records(
        self, bundles: Sequence[str], first_us: int, last_us: int
    ) -> tuple[dict[str, list[Record]], dict[str, list[Gap]]]:
        records, gaps = {}, {}
        for bundle in bundles:
            found = await self._ask(f"records of {bundle}", self._records_of(bundle, first_us))
            rows, lost = found or ([], [])
            records[bundle] = sampled([row for row in rows if first_us <= row.wall_us <= last_us])
            gaps[bundle] = lost
        return records, gaps

    async def _records_of(self, bundle: str, first_us: int) -> tuple[list[Record], list[Gap]]:
        rows: list[Record] = []
        gaps: list[Gap] = []
        before = None
        for _ in range(RECORD_PAGES_MAX):
            page = await self._client.records(bundle, before=before, limit=PAGE_ROWS_MAX, newest_first=True)
            rows += page.records
            gaps += page.gaps
            if len(page.records) < PAGE_ROWS_MAX or page.records[-1].wall_us < first_us:
                return rows, gaps
            before = page.records[-1].key
        self._missing.append(f"records of {bundle}: only the newest {len(rows)}")
        return rows, gaps

    async def _ledger(self) -> dict[str, Any]:
        seen = await self._ask("ledger", visit(self._client, self._book))
        if seen is None:
            return {"ledger_verdict": "not verified"}
        entries = await self._book.ask(lambda histories: histories.newest(seen.node_id, LEDGER_ENTRIES))
        verdict = "verified" if seen.broken is None else in_words(seen.broken)
        told = [LedgerEntry(**entry._asdict()) for entry in entries]
        return {"ledger": told, "ledger_head": (seen.head.seq, seen.head.hash), "ledger_verdict": verdict}


def sampled(rows: Sequence[Record]) -> list[Record]:
    """All rows, oldest first, with inputs and outputs of some, and of what was decided as far as there is room."""
    every = max(1, -(-len(rows) // RECORDS_WITH_INPUTS))
    kept = 0
    found = []
    for number, row in enumerate(rows):
        telling = row.decision in ("alarm", "reject", "review") and kept < RECORDS_WITH_INPUTS
        if number % every == 0 or telling:
            kept += 1
            found.append(row)
        else:
            found.append(msgspec.structs.replace(row, inputs=None, outputs=None))
    return found[::-1]


def merged(before: NodeCapsule, after: NodeCapsule) -> NodeCapsule:
    """What was fetched at first and at the end. Where the end has nothing, the first stays, and that is said."""
    if after.status is None:
        missing = [*before.missing, *(f"at the end, {told}" for told in after.missing)]
        return msgspec.structs.replace(before, frames=after.frames or before.frames, missing=missing)
    changes: dict[str, Any] = {
        "logs": _by(before.logs, after.logs, lambda line: line.cursor),
        "frames": _by(before.frames, after.frames, lambda frame: (frame.boot_id, frame.started_us, frame.cursor)),
        "records": {
            bundle: _by(before.records.get(bundle, []), after.records.get(bundle, []), lambda record: record.key)
            for bundle in sorted({*before.records, *after.records})
        },
        "trends": {**before.trends, **after.trends},
    }
    for name in ("alerts", "deployments", "revisions", "bindings", "ledger"):
        if not getattr(after, name):
            changes[name] = getattr(before, name)
    return msgspec.structs.replace(after, **changes)


def _by(first: Sequence[T], second: Sequence[T], key: Callable[[T], Any]) -> list[T]:
    """Both, each once; what came later wins."""
    return list({key(one): one for one in (*first, *second)}.values())
