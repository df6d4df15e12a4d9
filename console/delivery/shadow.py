"""A shadow from the console: a staged candidate fed live beside what runs, watched, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from console.client.client import AgentClient
from console.delivery import deploy
from console.delivery.deploy import BOTTOM, OnProgress, Progress, Reach
from console.delivery.gate import ShadowOrder, shadow_of
from console.delivery.lease import held_lease
from console.link.errors import LinkError
from nodeagent.protocol import Deployment, DeploymentState, ShadowVerdict

LOOK_S: Final = 2.0


async def begin(
    fleet: Reach, node: str, deployment: str, order: ShadowOrder, *, operator: str, on_progress: OnProgress
) -> Deployment:
    """Preflight of what is staged, then the shadow; it runs on without this console. Raises as `deploy` does."""
    client = fleet.client(node)
    async with held_lease(client, operator) as lease:
        on_progress(Progress("preflight", node))
        found = await client.advance(deployment, "preflight", lease=await lease.keep())
        if found.state in BOTTOM:
            error = found.error
            message = error.message if error else f"the deployment is {found.state}"
            raise deploy.DeployFailed(node, "preflight", message, error.hint if error else "", deployment=found)
        if found.state is not DeploymentState.PREFLIGHT_OK:
            return found
        on_progress(Progress("shadow", node))
        return await client.shadow(
            deployment,
            lease=await lease.keep(),
            seconds=order.seconds,
            rows_min=order.rows_min,
            agreement_min=order.agreement_min,
            score_shift_max=order.score_shift_max,
            latency_ratio_max=order.latency_ratio_max,
        )


async def end(client: AgentClient, deployment: str, *, operator: str) -> Deployment:
    """Ends a shadow now; the answer has its verdict."""
    async with held_lease(client, operator) as lease:
        return await client.shadow(deployment, lease=lease.token, seconds=0.0)


async def watched(client: AgentClient, deployment: str, on_look: Callable[[ShadowVerdict], None]) -> Deployment:
    """Looks until it is over, whatever the link does meanwhile. Raises AgentError."""
    while True:
        try:
            found = await client.deployment(deployment)
        except LinkError:
            await asyncio.sleep(LOOK_S)
            continue
        verdict = shadow_of(found.preflight)
        if verdict is None or not verdict.running:
            return found
        on_look(verdict)
        await asyncio.sleep(LOOK_S)
