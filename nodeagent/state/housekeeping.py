"""What is done now and then: old blobs and records go, the ballast is taken again, clocks and trends are kept."""

from __future__ import annotations

import asyncio

from nodeagent.deployment.imports import Imports
from nodeagent.deployment.last_known_good import LastKnownGood, write
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.health.host import disk
from nodeagent.parts import Parts
from nodeagent.protocol import TrendPoint
from nodeagent.state import crashpoints
from nodeagent.state.database import Condition, NotWritable
from store import records
from store.blobs import Blobs
from store.bundle import MANIFEST_BYTES_MAX
from store.errors import StoreError
from store.node import identity, revisions, trend
from store.node.identity import Boot

EVERY_S = 60.0
REOPEN_S = 5.0
# A wall clock that moved by more than this against CLOCK_BOOTTIME gets a new pair in the clock table.
CLOCK_STEP_US = 500_000


class Housekeeping:
    """The chores of one node. Each can fail, says so in the log, and is done again the next time."""

    def __init__(self, parts: Parts, blobs: Blobs, boot: Boot, node_id: str) -> None:
        self._parts = parts
        self._blobs = blobs
        self._boot = boot
        self._node_id = node_id
        self._offset_us = boot.wall_us - boot.boottime_us
        self._rollups: dict[int, list[tuple[str, trend.Point]]] = {}
        self.disk_days_left: float | None = None

    async def run(self) -> None:
        """Does the chores for ever."""
        while True:
            await self.chores()
            await asyncio.sleep(EVERY_S)

    async def reopen(self) -> None:
        """Looks for ever whether a database that could not be written can be written again."""
        while True:
            await asyncio.sleep(REOPEN_S)
            database = self._parts.database
            unwritable = database.condition in (Condition.READ_ONLY, Condition.DISK_FULL)
            if unwritable and await database.open() is Condition.WRITABLE:
                self._parts.log("info", "housekeeping", "the database can be written again")

    async def chores(self) -> None:
        """One round."""
        for chore in (self._keep_clock, self._keep_trends, self._retain_records, self._take_ballast):
            try:
                await chore()
            except (StoreError, NotWritable, OSError) as error:
                self._parts.log("warning", "housekeeping", f"{chore.__name__.strip('_')}: {error}")

    def keep_point(self, bundle: str, step_s: int, point: TrendPoint) -> None:
        """Takes one rollup to be written with the next round."""
        row = trend.Point(
            key=self._now_key(),
            wall_us=point.wall_us,
            inferences_per_s=point.inferences_per_s,
            latency_ms_p95=point.latency_ms_p95,
            cpu_percent=point.cpu_percent,
            memory_percent=point.memory_percent,
            rejects_per_s=point.rejects_per_s,
            score=point.score,
        )
        self._rollups.setdefault(step_s, []).append((bundle, row))

    async def collect(self) -> int:
        """Removes blobs that no active, previous, last good or open deployment needs; returns the bytes freed.

        What was imported last stays too. Where one manifest that is kept cannot be read, nothing is removed: what it
        names is not known.
        """
        parts = self._parts
        async with parts.rows.lock, parts.staging.blobs_lock:
            keep = parts.staging.pending_blobs() | await asyncio.to_thread(Imports(parts.state).blobs)
            for digest in await parts.database.read(revisions.digests_kept):
                keep.add(digest)
                try:
                    if not await asyncio.to_thread(self._is_signature, digest):
                        keep |= await parts.activations.blobs_of(digest)
                except (*UNUSABLE, ValueError) as error:
                    parts.log("warning", "housekeeping", f"no blobs are removed: {error}")
                    return 0
            crashpoints.reach("before:COLLECTED")
            freed = await asyncio.to_thread(self._blobs.collect, keep)
            crashpoints.reach("after:COLLECTED")
            return freed

    async def keep_last_known_good(self) -> None:
        """Writes what the node would serve without its database."""
        parts = self._parts
        activations = []
        for active in await parts.database.read(revisions.all_active):
            row = await parts.switcher.revision(active.bundle, active.good)
            if row is not None:
                activations.append(await parts.activations.of(row, trial=False))
        known = LastKnownGood(
            node_id=self._node_id,
            boot_number=self._boot.number,
            boot_id=self._boot.boot_id,
            activations=activations,
        )
        await asyncio.to_thread(write, parts.state, known, parts.bindings)

    def _is_signature(self, digest: str) -> bool:
        return self._blobs.read(digest, bytes_max=MANIFEST_BYTES_MAX).startswith(b"-----BEGIN SSH SIGNATURE-----")

    def _now_key(self) -> int:
        return self._boot.number << identity.KEY_SHIFT | self._parts.clock.boottime_us()

    async def _keep_clock(self) -> None:
        clock = self._parts.clock
        boottime_us, wall_us = clock.boottime_us(), clock.wall_us()
        if abs(wall_us - boottime_us - self._offset_us) < CLOCK_STEP_US:
            return
        await self._parts.database.write(
            identity.add_clock_pair, self._boot.number, boottime_us=boottime_us, wall_us=wall_us
        )
        self._offset_us = wall_us - boottime_us

    async def _keep_trends(self) -> None:
        rollups, self._rollups = self._rollups, {}
        for step_s, rows in rollups.items():
            await self._parts.database.write(trend.add, step_s, rows)

    async def _retain_records(self) -> None:
        limits = self._parts.settings.records
        now_key = self._now_key()
        _, free = disk(self._parts.state)
        root = self._parts.state / "records"
        folders = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []

        def retain() -> list[float]:
            days = []
            for folder in folders:
                records.retain(folder, bytes_max=limits.bytes_max, days_max=limits.days_max, now_key=now_key)
                left = records.forecast_days(folder, bytes_max=limits.bytes_max, bytes_free=free or 0, now_key=now_key)
                if left is not None:
                    days.append(left)
            return days

        self.disk_days_left = min(await asyncio.to_thread(retain), default=None)

    async def _take_ballast(self) -> None:
        ballast = self._parts.database.ballast
        _, free = disk(self._parts.state)
        if not ballast.held() and free is not None and free > self._parts.settings.disk.bytes_free_min:
            await asyncio.to_thread(ballast.create)
