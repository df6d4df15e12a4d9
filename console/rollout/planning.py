"""From a policy, a bundle and the nodes of the catalog to a stored plan: every selected node is asked once."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from console.delivery.deploy import Clients
from console.fleet.view import NodeAddress
from console.rollout.plan import BundleFacts, Plan
from console.rollout.planner import PlanRefused, plan, wrong_number
from console.rollout.policy import Policy
from console.rollout.survey import Noting, survey
from store.archive import Archive


async def planned(
    fleet: Clients,
    addresses: Sequence[NodeAddress],
    policy: Policy,
    archive: Archive,
    noted: Noting,
    *,
    change: str = "",
) -> Plan:
    """Asks, then computes; nothing is changed and nothing stored. `change`: its number. Raises PlanRefused."""
    if wrong := wrong_number(change):
        raise PlanRefused(wrong, "--change NUMBER")
    facts = await survey(fleet, addresses, policy, archive, noted)
    told, size_bytes = archive.facts(), sum(size for _, size in archive.blobs.values())
    bundle = BundleFacts(name=told.name, version=told.version, digest=archive.manifest_digest, size_bytes=size_bytes)
    return plan(policy, facts, bundle, change=change)


def narrowed(policy: Policy, nodes: Sequence[str]) -> Policy:
    """The policy for these nodes by name, whatever it selected; as it is where none are named."""
    if not nodes:
        return policy
    return replace(policy, select=replace(policy.select, nodes=tuple(sorted(nodes)), sites=(), lines=(), machines=(),
                                          labels={}))  # fmt: skip
