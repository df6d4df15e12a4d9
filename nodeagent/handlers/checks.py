"""The node looks at itself: what `outstation-agent check` and the console's checks screen show."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from collections.abc import Awaitable, Callable
from typing import Literal

from nodeagent.api import Call, Endpoints
from nodeagent.health.host import disk
from nodeagent.parts import Parts
from nodeagent.protocol import Check, WorkerState
from nodeagent.state.database import Condition
from nodeagent.state.logs import Log
from nodeagent.state.state_folder import read_id
from store import ledger
from store.node import revisions

Verdict = Literal["ok", "warn", "bad", "unknown"]
YEAR_MIN = 2025


@dataclasses.dataclass(frozen=True)
class CheckHandlers:
    """One route; each check answers by itself and none of them changes anything."""

    parts: Parts
    log: Log
    node_id: str
    signers: Callable[[], int]

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/checks"): self.checks}

    async def checks(self, call: Call) -> list[Check]:
        each: list[Callable[[], Awaitable[Check]]] = [
            self._identity, self._database, self._ledger, self._blobs, self._disk, self._signers, self._clock,
            self._workers, self._log,
        ]  # fmt: skip
        return [await check() for check in each]

    async def _identity(self) -> Check:
        on_disk = await asyncio.to_thread(read_id, self.parts.state)
        if on_disk == self.node_id:
            return Check(name="identity", verdict="ok", text=self.node_id)
        text = f"node.db says {self.node_id}, node.id says {on_disk or 'nothing'}"
        return Check(name="identity", verdict="bad", text=text, advice="Was this disk copied from another node?")

    async def _database(self) -> Check:
        database = self.parts.database
        if database.condition is Condition.WRITABLE:
            return Check(name="database", verdict="ok", text="can be written")
        text = f"{database.condition}: {database.reason}"
        return Check(name="database", verdict="bad", text=text, advice="Serving goes on. Look at the node's disk.")

    async def _ledger(self) -> Check:
        if self.parts.database.condition is Condition.SAFE:
            return Check(name="ledger", verdict="unknown", text="node.db cannot be read")
        broken = await self.parts.database.read(ledger.verify)
        if broken is None:
            head = await self.parts.database.read(ledger.head)
            return Check(name="ledger", verdict="ok", text=f"{head.seq} entries, the chain is whole")
        return Check(
            name="ledger", verdict="bad", text=f"the chain breaks at {broken}", advice="The history was edited."
        )

    async def _blobs(self) -> Check:
        if self.parts.database.condition is Condition.SAFE:
            return Check(name="blobs", verdict="unknown", text="node.db cannot be read")
        damaged = []
        rows = await self.parts.database.read(revisions.all_active)
        for active in rows:
            row = await self.parts.switcher.revision(active.bundle, active.revision)
            if row is not None and not await self.parts.activations.intact(row.digest, row.signature):
                damaged.append(f"{row.bundle} r{row.revision}")
        if damaged:
            advice = "Deploy the bundle again, and check the disk."
            return Check(name="blobs", verdict="bad", text=f"damaged: {', '.join(damaged)}", advice=advice)
        return Check(name="blobs", verdict="ok", text=f"{len(rows)} active bundle(s), every blob is its digest")

    async def _disk(self) -> Check:
        total, free = disk(self.parts.state)
        if free is None or total is None:
            return Check(name="disk", verdict="unknown", text="the file system does not tell")
        least = self.parts.settings.disk.bytes_free_min
        verdict: Verdict = "bad" if free < least else "warn" if free < 2 * least else "ok"
        ballast = "" if self.parts.database.ballast.held() else "; the ballast is given up"
        text = f"{free / 1e6:.0f} MB of {total / 1e6:.0f} MB free{ballast}"
        return Check(name="disk", verdict=verdict, text=text, advice="" if verdict == "ok" else "Free space.")

    async def _signers(self) -> Check:
        count = self.signers()
        if count:
            return Check(name="trust", verdict="ok", text=f"{count} allowed signer(s)")
        advice = "Run outstation-agent init --allow-signer FILE."
        return Check(
            name="trust", verdict="warn", text="no allowed signers: every deployment is refused", advice=advice
        )

    async def _clock(self) -> Check:
        now = datetime.datetime.fromtimestamp(self.parts.clock.wall_us() / 1e6, datetime.UTC)
        text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
        if now.year >= YEAR_MIN:
            return Check(name="clock", verdict="ok", text=text)
        advice = "Nothing on the node depends on it; times shown are wrong."
        return Check(name="clock", verdict="warn", text=f"{text} cannot be right", advice=advice)

    async def _workers(self) -> Check:
        bundles = self.parts.runtimes.telemetry()
        ill = [item for item in bundles if item.state is not WorkerState.SERVING]
        if not ill:
            return Check(name="workers", verdict="ok", text=f"{len(bundles)} serving")
        text = "; ".join(f"{item.bundle}: {item.state} {item.reason}".strip() for item in ill)
        return Check(name="workers", verdict="bad", text=text, advice="Read the node's log.")

    async def _log(self) -> Check:
        lost = self.log.unwritten_total
        if lost:
            return Check(name="log", verdict="warn", text=f"{lost} lines are in memory only", advice="Free space.")
        return Check(name="log", verdict="ok", text="written")
