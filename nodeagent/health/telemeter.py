"""The node's telemetry: one reading a period for everybody who listens, encoded once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec

from nodeagent.clock import Clock
from nodeagent.health.alert_board import AlertBoard
from nodeagent.health.host import HostMonitor
from nodeagent.health.telemetry_ring import TelemetryRing
from nodeagent.protocol import BundleTelemetry, HostHealth, Telemetry, Trial
from nodeagent.state.standing import Standing

PERIOD_S = 1.0
PERIOD_S_MAX = 60.0


class Telemeter:
    """Makes telemetry. `bundles`: what the workers tell; `trial`: the running trial of a bundle, if any."""

    def __init__(
        self,
        *,
        node_id: str,
        clock: Clock,
        host: HostMonitor,
        standing: Standing,
        board: AlertBoard,
        bundles: Callable[[], list[BundleTelemetry]],
        trial: Callable[[str], Trial | None],
        is_safe: Callable[[], bool],
    ) -> None:
        self._node_id = node_id
        self._clock = clock
        self._host = host
        self._standing = standing
        self._board = board
        self._bundles = bundles
        self._trial = trial
        self._is_safe = is_safe
        self._started_us = clock.boottime_us()
        self._cursor = 0
        self._news = asyncio.Event()
        self._ring = TelemetryRing()
        self.disk_days_left: float | None = None
        self.host = HostHealth()
        self.latest = self._read()

    async def run(self, heard: Callable[[Telemetry], Awaitable[None]]) -> None:
        """Reads once a period for ever; `heard` is told of each reading before the listeners are."""
        while True:
            self.latest = self._read()
            await heard(self.latest)
            self._publish(self.latest)
            await asyncio.sleep(PERIOD_S)

    def now(self) -> Telemetry:
        """The last reading with what people ordered as it is this moment."""
        latest = self.latest
        return msgspec.structs.replace(
            latest,
            hold=self._standing.hold,
            out_of_service=self._standing.out_of_service,
            lease=self._standing.lease,
            alerts=self._board.standing,
            bundles=self._with_trials(),
        )

    async def follow(
        self, period_s: float, *, after: int | None = None, started_us: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Encoded readings in order, one a period. Without `after`, or with that of another run: from the latest on.

        After a cursor of this run every line that the ring still holds comes first, nothing twice. A listener that
        falls further behind than the ring reaches misses lines; their cursors tell how many.
        """
        every = max(1, round(min(period_s, PERIOD_S_MAX) / PERIOD_S))
        ours = after is not None and after <= self._cursor and started_us in (None, self._started_us)
        seen = after if ours and after is not None else self._ring.newest - every
        while True:
            news = self._news
            found = self._ring.following(seen, every)
            if found is None:
                await news.wait()
            else:
                seen, line = found
                yield line

    def _publish(self, telemetry: Telemetry) -> None:
        self._ring.add(telemetry.cursor, msgspec.json.encode(telemetry))
        self._news.set()
        self._news = asyncio.Event()

    def _with_trials(self) -> list[BundleTelemetry]:
        return [
            bundle if (trial := self._trial(bundle.bundle)) is None else msgspec.structs.replace(bundle, trial=trial)
            for bundle in self._bundles()
        ]

    def _read(self) -> Telemetry:
        self._cursor += 1
        boottime_us = self._clock.boottime_us()
        self.host = self._host.read(boottime_us=boottime_us, disk_days_left=self.disk_days_left)
        return Telemetry(
            cursor=self._cursor,
            node_id=self._node_id,
            boot_id=self._clock.boot_id(),
            started_us=self._started_us,
            boottime_us=boottime_us,
            wall_us=self._clock.wall_us(),
            period_s=PERIOD_S,
            mode="safe" if self._is_safe() else "normal",
            host=self.host,
            bundles=self._with_trials(),
            alerts=self._board.standing,
            hold=self._standing.hold,
            out_of_service=self._standing.out_of_service,
            lease=self._standing.lease,
        )
