"""What is known of the nodes before a plan is made: each is asked once, side by side. Before any byte moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from console.client.wire import AgentError
from console.delivery.deploy import Clients, check_passport
from console.fleet.view import LinkState, NodeAddress
from console.link.errors import LinkError
from console.rollout.plan import NodeFacts, Running
from console.rollout.planner import selected
from console.rollout.policy import Policy
from console.seat.prompts import Prompter
from nodeagent.protocol import ASKS_NUMBER, ASKS_PERSON, Status
from store.archive import Archive

AT_ONCE = 16


@dataclass
class Noting:
    """Asks the same person, and notes for which node: the rollout will need that person again."""

    inner: Prompter
    asked: dict[str, str] = field(default_factory=dict)

    async def secret(self, node: str, text: str) -> str | None:
        self.asked[node] = "a secret is typed at its login"
        return await self.inner.secret(node, text)

    async def accept_host_key(self, node: str, host: str, algorithm: str, fingerprint: str) -> bool:
        return await self.inner.accept_host_key(node, host, algorithm, fingerprint)

    async def yes_no(self, node: str, text: str) -> bool:
        self.asked[node] = "a question is answered at its login"
        return await self.inner.yes_no(node, text)


async def survey(
    fleet: Clients, addresses: Sequence[NodeAddress], policy: Policy, archive: Archive, noted: Noting
) -> list[NodeFacts]:
    """The facts of every node that the policy may select. Never raises for one node: that is a fact too."""
    room = asyncio.Semaphore(AT_ONCE)
    known = [_known(address) for address in addresses]

    async def one(fact: NodeFacts) -> NodeFacts:
        async with room:
            found = await _ask(fleet, fact, policy, archive)
        return replace(found, person=noted.asked.get(fact.name, ""))

    return await asyncio.gather(*(one(fact) for fact in known if selected(policy, fact)))


def _known(address: NodeAddress) -> NodeFacts:
    return NodeFacts(
        name=address.name,
        node_id=address.node_id,
        site=address.site,
        line=address.line,
        machine=address.machine,
        labels=address.labels,
        jumps=address.jumps,
    )


async def _ask(fleet: Clients, fact: NodeFacts, policy: Policy, archive: Archive) -> NodeFacts:
    client = fleet.client(fact.name)
    try:
        fact = _told(fact, await client.status())
        name = archive.facts().name
        if policy.select.running and all(run.bundle != name for run in fact.runs):
            return fact
        began_s = time.monotonic()
        passport = await check_passport(client, archive)
    except (LinkError, AgentError) as error:
        if isinstance(error, LinkError) and error.state is LinkState.ONE_WAY:
            return replace(fact, fits=False, unfit=error.message, fix=error.hint)
        return replace(fact, reached=False, why_not=getattr(error, "message", str(error)))
    wrong = [item for item in passport.items if item.verdict == "no"]
    return replace(
        fact,
        rtt_s=round(time.monotonic() - began_s, 1),
        fits=passport.fits,
        unfit="; ".join(f"{item.name}: {item.text}" for item in wrong),
        fix="; ".join(item.fix for item in wrong if item.fix),
        asks=tuple(item.name for item in passport.items if item.name in (ASKS_NUMBER, ASKS_PERSON)),
    )


def _told(fact: NodeFacts, status: Status) -> NodeFacts:
    telemetry = status.telemetry
    out, hold = telemetry.out_of_service, telemetry.hold
    return replace(
        fact,
        node_id=status.node_id,
        runs=tuple(
            Running(bundle=item.bundle, version=item.version, digest=item.digest, revision=item.revision)
            for item in telemetry.bundles
        ),
        out_of_service=f"{out.by}: {out.reason}" if out else "",
        hold=f"{hold.by}: {hold.reason}" if hold else "",
    )
