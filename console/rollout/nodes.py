"""How a rollout speaks to nodes: a Protocol, and the one over the fleet's links. Each method is one request's worth."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Protocol

from msgspec.structs import replace

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery import deploy
from console.delivery.deploy import DeployFailed, Progress, Reach
from console.delivery.gate import ShadowOrder
from console.delivery.shadow import begin
from console.rollout.alike import ContextSample
from console.rollout.gates import Sample
from console.rollout.numbered import Numbered
from console.rollout.policy import Policy
from console.transfer.shipping import Shipping
from nodeagent.protocol import Deployment, Status, Trend
from store.archive import Archive

RECORDS = 200
WINDOW_S = 300.0
ROLLUPS_MIN = 3


class Nodes(Protocol):
    """Raises LinkError where it is not known whether it happened, AgentError and DeployFailed for a no."""

    async def stage(self, node: str, deployment: str, window_s: float) -> Deployment:
        """Brings the bundle there, verified. The same id goes on where it was."""
        ...

    async def activate(self, node: str, deployment: str) -> Deployment:
        """Preflight, recorder gate and switch; the trial begins."""
        ...

    async def shadow(self, node: str, deployment: str) -> Deployment:
        """Preflight, and the candidate is fed live beside what runs; the node ends it by itself."""
        ...

    async def look(self, node: str, deployment: str) -> Deployment | None:
        """What the node says of it; None: it does not know it."""
        ...

    async def sample(self, node: str) -> Sample:
        """What the bundle's active revision did so far; an empty digest where none is active."""
        ...

    async def confirm(self, node: str, deployment: str) -> Deployment:
        """Over a login made now."""
        ...

    async def rollback(self, node: str, deployment: str, reason: str) -> Deployment:
        """Ends its trial, or withdraws what was only staged."""
        ...

    async def revert(self, node: str, deployment: str, window_s: float, reason: str) -> Deployment:
        """A trial of the revision before; only where the rollout's bundle is still active."""
        ...


class LiveNodes:
    """Over a fleet's links. `on_progress` hears of uploads; `change`: the number that every write carries."""

    def __init__(
        self,
        fleet: Reach,
        archive: Archive,
        *,
        operator: str,
        policy: Policy,
        on_progress: Callable[[Progress], None] = lambda _: None,
        shipping: Shipping = deploy.WHOLE,
        change: str = "",
    ) -> None:
        self._fleet: Reach = Numbered(fleet, change) if change else fleet
        self._archive, self._operator = archive, operator
        self._scores, self._on_progress = policy.gate.score_share_rise_max is not None, on_progress
        self._gate, self._shadow = policy.recorder.order(), policy.shadow.order() or ShadowOrder()
        self._shipping = shipping
        self._bundle = archive.facts().name

    async def stage(self, node: str, deployment: str, window_s: float) -> Deployment:
        return await deploy.stage(
            self._fleet,
            node,
            self._archive,
            window_s=window_s,
            operator=self._operator,
            on_progress=self._on_progress,
            deployment=deployment,
            shipping=self._shipping,
        )

    async def activate(self, node: str, deployment: str) -> Deployment:
        return await deploy.start_trial(
            self._fleet,
            node,
            deployment,
            operator=self._operator,
            on_progress=self._on_progress,
            gate=self._gate,
        )

    async def shadow(self, node: str, deployment: str) -> Deployment:
        return await begin(
            self._fleet, node, deployment, self._shadow, operator=self._operator, on_progress=self._on_progress
        )

    async def look(self, node: str, deployment: str) -> Deployment | None:
        try:
            return await self._fleet.client(node).deployment(deployment)
        except AgentError as error:
            if error.error.code == "DEPLOYMENT.UNKNOWN":
                return None
            raise

    async def sample(self, node: str) -> Sample:
        client = self._fleet.client(node)
        status = await client.status()
        found = sample_of(status, self._bundle)
        if found.digest:
            found = await self._over_a_window(client, found, status.telemetry.wall_us)
        if not self._scores or not found.digest:
            return found
        page = await client.records(self._bundle, limit=RECORDS, newest_first=True)
        decisions = [record.decision for record in page.records if record.revision == found.revision]
        if not decisions:
            return found
        share = sum(decision == "alarm" for decision in decisions) / len(decisions)
        return replace(found, score_share=share)

    async def _over_a_window(self, client: AgentClient, found: Sample, now_us: int) -> Sample:
        """Rate and latency over the time in which this revision ran, so that an idle machine is no slow model."""
        try:
            trend = await client.trend(self._bundle, hours=WINDOW_S / 3_600)
        except AgentError as error:
            if error.error.code == "REQUEST.UNKNOWN_PATH":
                return found
            raise
        began_us = now_us - round(WINDOW_S * 1e6)
        for revision in await client.revisions():
            if revision.bundle == self._bundle and revision.revision == found.revision:
                began_us = max(began_us, revision.since_us)
        return windowed(found, trend, began_us)

    async def confirm(self, node: str, deployment: str) -> Deployment:
        return await deploy.confirm(self._fleet, node, deployment, operator=self._operator)

    async def rollback(self, node: str, deployment: str, reason: str) -> Deployment:
        return await deploy.rollback(self._fleet, node, deployment, operator=self._operator, reason=reason)

    async def revert(self, node: str, deployment: str, window_s: float, reason: str) -> Deployment:
        if await self.look(node, deployment) is None:
            active = next(
                (r for r in await self._fleet.client(node).revisions() if r.active and self._is_ours(r.bundle)), None
            )
            if active is None or active.digest != self._archive.manifest_digest:
                runs = f"{active.bundle} {active.version}" if active else "nothing of it"
                raise DeployFailed(node, "revert", f"it runs {runs} now, which this rollout did not bring")
        return await deploy.revert(
            self._fleet,
            node,
            self._bundle,
            operator=self._operator,
            window_s=window_s,
            reason=reason,
            deployment=deployment,
        )

    def _is_ours(self, bundle: str) -> bool:
        return bundle == self._bundle


def windowed(found: Sample, trend: Trend, began_us: int) -> Sample:
    """The sample with medians over the rollups since `began_us` (the node's wall clock) that made predictions.

    With fewer than ROLLUPS_MIN of them it stays what it is.
    """
    ran = [point for point in trend.points if point.wall_us > began_us and point.inferences_per_s]
    if len(ran) < ROLLUPS_MIN:
        return found
    latencies = [point.latency_ms_p95 for point in ran if point.latency_ms_p95 is not None]
    return replace(
        found,
        rate=median(point.inferences_per_s or 0.0 for point in ran),
        latency_ms_p95=median(latencies) if latencies else found.latency_ms_p95,
        running_s=len(ran) * trend.step_s,
    )


def sample_of(status: Status, bundle: str) -> Sample:
    """The bundle's telemetry in a status."""
    telemetry = status.telemetry
    found = next((item for item in telemetry.bundles if item.bundle == bundle), None)
    if found is None:
        return Sample(digest="", boot_id=telemetry.boot_id, boottime_us=telemetry.boottime_us)
    return Sample(
        digest=found.digest,
        version=found.version,
        revision=found.revision,
        boot_id=telemetry.boot_id,
        boottime_us=telemetry.boottime_us,
        predictions=found.predictions_total,
        errors=found.errors_total,
        rejects=found.rejects_total,
        restarts=found.restarts_total,
        rate=found.inferences_per_s,
        latency_ms_p95=found.latency_ms_p95,
        quality_good_share=found.quality_good_share,
        contexts=tuple(
            ContextSample(
                context=each.context,
                predictions=each.predictions_total,
                rejects=each.rejects_total,
                alarms=each.alarms_total,
                outcomes=each.outcomes_total,
                good=each.good_total,
                rate=each.inferences_per_s,
                latency_ms_p95=each.latency_ms_p95,
            )
            for each in found.contexts
        ),
    )
