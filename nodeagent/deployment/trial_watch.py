"""One running trial as the supervisor watches it: its deadline, its worker's ends, what it did since the flip."""

from __future__ import annotations

import dataclasses

from nodeagent.deployment import deployment
from nodeagent.deployment.deployment import Event, GuardFacts, GuardLimits, TrialFacts
from nodeagent.protocol import BundleTelemetry, HostHealth
from nodeagent.settings import Settings
from store.node.deployments import Deployment

# A trial may be slower than what it replaces: it is ended above this many times the previous p99, and above the least.
LATENCY_TIMES_MAX = 10.0
LATENCY_MS_LEAST = 250.0


@dataclasses.dataclass
class TrialWatch:
    """`flip_us`: CLOCK_BOOTTIME of the flip, or the latest moment that it can have been at (after a restart).

    `retry_us`: its end could not be written; not before then again. 0: it was not tried.
    """

    id: str
    bundle: str
    revision: int
    facts: TrialFacts
    flip_us: int
    latency_ms_p99_before: float | None
    window_s: float
    previous_revision: int | None
    exits: int = 0
    tripped: str = ""
    base: tuple[int, int, int] | None = None
    retry_us: int = 0

    def renewed(self, row: Deployment) -> TrialWatch:
        """The same watch over the same trial with a new window."""
        assert row.deadline_us is not None
        facts = TrialFacts(boot_id=row.boot_id, deadline_us=row.deadline_us, resumes=row.tries)
        return dataclasses.replace(self, facts=facts, window_s=row.window_us / 1e6)

    def over(self, *, boot_id: str, now_us: int) -> Event | None:
        """Whether the clock ends it."""
        return deployment.judge(self.facts, boot_id=boot_id, now_us=now_us)

    def exited(self, revision: int | None, text: str, settings: Settings) -> None:
        """The bundle's worker ended by itself; of another revision it says nothing about the trial."""
        if revision is None or revision == self.revision:
            self.exits += 1
            if self.exits > settings.guard.worker_exits_max:
                self.tripped = f"the worker ended {self.exits} times: {text}"

    def guard(self, bundles: list[BundleTelemetry], host: HostHealth, settings: Settings) -> str | None:
        """Why the trial must end now, in words, or None."""
        if self.tripped:
            return self.tripped
        now = next((item for item in bundles if item.bundle == self.bundle and item.revision == self.revision), None)
        made = (0, 0, 0)
        if now is not None:
            counts = (now.predictions_total, now.errors_total, now.rejects_total)
            # Counters start with a worker, which may be older than the flip or younger than the last look.
            if self.base is None or any(count < base for count, base in zip(counts, self.base, strict=True)):
                self.base = counts if self.base is None else (0, 0, 0)
            made = (counts[0] - self.base[0], counts[1] - self.base[1], counts[2] - self.base[2])
        facts = GuardFacts(
            predictions=made[0],
            errors=made[1],
            rejects=made[2],
            latency_ms_p99=None if now is None else now.latency_ms_p99,
            disk_bytes_free=host.disk_bytes_free,
        )
        return deployment.guard(facts, self._limits(settings))

    def _limits(self, settings: Settings) -> GuardLimits:
        latency_ms = settings.guard.latency_ms_p99_max
        if not latency_ms and self.latency_ms_p99_before is not None:
            latency_ms = max(LATENCY_TIMES_MAX * self.latency_ms_p99_before, LATENCY_MS_LEAST)
        return GuardLimits(
            error_share_max=settings.guard.error_share_max,
            reject_share_max=settings.guard.reject_share_max,
            latency_ms_p99_max=latency_ms,
            samples_min=settings.guard.samples_min,
            # Deployments stop at the limit; a trial that runs already ends only when the disk is nearly full.
            disk_bytes_free_min=settings.disk.bytes_free_min // 8,
        )


def watch(row: Deployment, *, flip_us: int | None, latency_ms_p99_before: float | None) -> TrialWatch:
    """The watch over a TRIAL row. Without `flip_us` the flip lies one window before the deadline at the latest."""
    assert row.deadline_us is not None
    assert row.revision is not None
    return TrialWatch(
        id=row.id,
        bundle=row.bundle,
        revision=row.revision,
        facts=TrialFacts(boot_id=row.boot_id, deadline_us=row.deadline_us, resumes=row.tries),
        flip_us=row.deadline_us - row.window_us if flip_us is None else flip_us,
        latency_ms_p99_before=latency_ms_p99_before,
        window_s=row.window_us / 1e6,
        previous_revision=row.previous_revision,
    )
