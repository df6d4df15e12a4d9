"""One bundle to one node, as the command line and the app both do it: every step asks, none infers.

passport -> lease -> stage -> upload what is missing -> preflight -> activate; later confirm, by a new login.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery.gate import GateOrder, in_full, verdict_of
from console.delivery.lease import HeldLease, held_lease
from console.delivery.upload import Meter
from console.link.errors import LinkError
from console.transfer.seeding import Seeds
from console.transfer.shipping import Contents, Shipping
from nodeagent.protocol import Deployment, DeploymentState, GateVerdict, Passport, PassportItem
from store import bundle
from store.archive import Archive
from store.bundle import blobs_named

ASKS_MAX = 5
STAGES_MAX = 6
SMALL_BYTES_MAX = 128 << 10
PAUSE_S = 1.0
# How long a switch waits for the machine to be as the bundle asks; the node waits up to 30 s at each asking.
MACHINE_S_MAX = 600.0
WHOLE = Shipping()
UNSIGNED = PassportItem(
    name="signature", verdict="warn", text="the bundle is not signed yet", fix="sign it with `outstation bundle sign`"
)
BOTTOM = {DeploymentState.REFUSED, DeploymentState.ROLLED_BACK}


class Clients(Protocol):
    """How nodes are asked; a LiveFleet is one, and so is every Reach."""

    def client(self, name: str) -> AgentClient: ...


class Reach(Clients, Seeds, Protocol):
    """How nodes are changed; an OperateLane is one."""

    def bulk_client(self, name: str) -> AbstractAsyncContextManager[AgentClient]: ...
    def fresh_client(self, name: str) -> AbstractAsyncContextManager[AgentClient]: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a deployment is. `rate` in bytes a second; None: not known. `verdict` of the recorder gate."""

    step: str
    node: str
    done_bytes: int = 0
    total_bytes: int = 0
    rate: float | None = None
    eta_s: float | None = None
    text: str = ""
    verdict: GateVerdict | None = None


OnProgress = Callable[[Progress], None]


class DeployFailed(Exception):
    """The node said no, truthfully and finally. `passport` or `deployment` holds its reasons."""

    def __init__(
        self,
        node: str,
        step: str,
        message: str,
        hint: str = "",
        *,
        passport: Passport | None = None,
        deployment: Deployment | None = None,
    ) -> None:
        super().__init__(f"{node}: {step}: {message}")
        self.node, self.step, self.message, self.hint = node, step, message, hint
        self.passport, self.deployment = passport, deployment


async def check_passport(client: AgentClient, archive: Archive) -> Passport:
    """Whether the bundle fits the node, before any byte moves. Raises AgentError, LinkError.

    The pipeline's text goes along, for the places that it writes; an older agent passes over it.
    """
    facts = msgspec.to_builtins(archive.facts())
    if (pipeline := archive.manifest.layer("pipeline")) is not None and pipeline.size <= SMALL_BYTES_MAX:
        facts["pipeline"] = archive.open_blob(pipeline.digest).read().decode("utf-8", "replace")
    found = await client.passport(facts, blobs_named(archive.manifest))
    if archive.signature_bytes is None:
        return msgspec.structs.replace(found, items=[*found.items, UNSIGNED])
    return found


async def deploy(
    fleet: Reach,
    node: str,
    archive: Archive,
    *,
    window_s: float,
    operator: str,
    on_progress: OnProgress,
    deployment: str = "",
    allow_gap: bool = False,
    break_lease: bool = False,
    gate: GateOrder | None = None,
    shipping: Shipping = WHOLE,
) -> Deployment:
    """Brings a bundle up to its trial and returns the deployment, in TRIAL. The same `deployment` id goes on with it.

    `break_lease` takes the node's lease from whoever holds it; the node's ledger names both. `gate`: what the candidate
    has to show on the node's records before the switch; where it fails, DeployFailed.
    Raises DeployFailed, AgentError, LinkError; what the node holds by then stays, and the next try goes on there.
    """
    id_ = deployment or uuid.uuid4().hex
    await _check_fit(fleet.client(node), archive, on_progress)
    on_progress(Progress("lease", node))
    async with held_lease(fleet.client(node), operator, break_held=break_lease) as lease:
        await _bring(fleet, node, archive, id_, window_s, lease, on_progress, shipping)
        return await _try(fleet, node, id_, lease, on_progress, allow_gap=allow_gap, gate=gate)


async def stage(
    fleet: Reach,
    node: str,
    archive: Archive,
    *,
    window_s: float,
    operator: str,
    on_progress: OnProgress,
    deployment: str,
    shipping: Shipping = WHOLE,
) -> Deployment:
    """The first half of `deploy`: the node has the bundle, verified, and nothing on it runs differently."""
    await _check_fit(fleet.client(node), archive, on_progress)
    async with held_lease(fleet.client(node), operator) as lease:
        return await _bring(fleet, node, archive, deployment, window_s, lease, on_progress, shipping)


async def start_trial(
    fleet: Reach,
    node: str,
    deployment: str,
    *,
    operator: str,
    on_progress: OnProgress,
    allow_gap: bool = False,
    gate: GateOrder | None = None,
) -> Deployment:
    """The second half: preflight, gate, and the switch. Returns the deployment in TRIAL; raises as `deploy` does."""
    async with held_lease(fleet.client(node), operator) as lease:
        return await _try(fleet, node, deployment, lease, on_progress, allow_gap=allow_gap, gate=gate)


async def _check_fit(client: AgentClient, archive: Archive, on_progress: OnProgress) -> None:
    node = client.node
    if archive.signature_bytes is None:
        raise DeployFailed(node, "sign", "the bundle is not signed", "sign it with `outstation bundle sign`")
    on_progress(Progress("passport", node))
    passport = await check_passport(client, archive)
    if not passport.fits:
        reasons = "; ".join(f"{item.name}: {item.text}" for item in passport.items if item.verdict == "no")
        fixes = "; ".join(item.fix for item in passport.items if item.verdict == "no" and item.fix)
        raise DeployFailed(node, "passport", reasons or "the bundle does not fit", fixes, passport=passport)


async def _try(
    fleet: Reach,
    node: str,
    id_: str,
    lease: HeldLease,
    on_progress: OnProgress,
    *,
    allow_gap: bool,
    gate: GateOrder | None = None,
) -> Deployment:
    client = fleet.client(node)
    for verb, goal in (("preflight", DeploymentState.PREFLIGHT_OK), ("activate", DeploymentState.TRIAL)):
        on_progress(Progress(verb, node))
        found = await _when_the_machine_is_there(
            partial(_advance, client, id_, verb, goal, lease, allow_gap=allow_gap), node, on_progress
        )
        _raise_if_ended(node, verb, found)
        if gate is not None and verb == "preflight" and found.state is DeploymentState.PREFLIGHT_OK:
            await _pass_gate(client, id_, gate, lease, on_progress)
    on_progress(Progress("trial", node, text=f"trial of {found.window_s:g} s"))
    return found


async def _when_the_machine_is_there(
    act: Callable[[], Awaitable[Deployment]], node: str, on_progress: OnProgress
) -> Deployment:
    """`act`, again and again while the node says that the machine is not in the state that the bundle asks for."""
    end_s = time.monotonic() + MACHINE_S_MAX
    while True:
        try:
            return await act()
        except AgentError as error:
            if error.error.code != "DEPLOYMENT.MACHINE_STATE" or time.monotonic() >= end_s:
                raise
            on_progress(Progress("waits for the machine", node, text=error.error.message))
            await asyncio.sleep(PAUSE_S)


async def _pass_gate(client: AgentClient, id_: str, gate: GateOrder, lease: HeldLease, on_progress: OnProgress) -> None:
    """Raises DeployFailed where the gate stops it, and the candidate leaves the node's memory; the verdict stays."""
    on_progress(Progress("gate", client.node))
    try:
        found = await client.gate(
            id_,
            lease=await lease.keep(),
            rows=gate.rows,
            rows_min=gate.rows_min,
            agreement_min=gate.agreement_min,
            score_shift_max=gate.score_shift_max,
            latency_ms_p95_max=gate.latency_ms_p95_max,
            latency_ratio_max=gate.latency_ratio_max,
        )
    except AgentError as error:
        if error.error.code != "REQUEST.UNKNOWN_PATH":
            raise
        text = "gate unknown: this agent is older than the gate"
        on_progress(Progress("gate verdict", client.node, text=text))
        if gate.stops(GateVerdict(verdict="unknown")):
            hint = f"update the agent: outstation bootstrap {client.node}"
            raise DeployFailed(client.node, "gate", text, hint) from error
        return
    verdict = verdict_of(found.preflight) or GateVerdict(verdict="unknown", reasons=["the node kept no verdict"])
    on_progress(Progress("gate verdict", client.node, text="\n".join(in_full(verdict)), verdict=verdict))
    if gate.stops(verdict):
        why = "; ".join(verdict.reasons)
        await _advance(client, id_, "rollback", DeploymentState.REFUSED, lease, reason=f"recorder gate: {why}"[:500])
        hint = "look at its worst rows; P in the app, or --past-gate, switches all the same, under your name"
        raise DeployFailed(client.node, "gate", why, hint, deployment=found)


async def _bring(
    fleet: Reach,
    node: str,
    archive: Archive,
    id_: str,
    window_s: float,
    lease: HeldLease,
    on_progress: OnProgress,
    shipping: Shipping,
) -> Deployment:
    """Stages and sends what the node asks for, until nothing is missing: all else only once it trusts the manifest."""
    client, meter = fleet.client(node), Meter(0)
    small = {bundle.digest_of(data): data for data in (archive.manifest_bytes, archive.signature_bytes or b"")}
    manifest, signature = small
    for _ in range(STAGES_MAX):
        on_progress(Progress("stage", node))
        token = await lease.keep()
        found = await client.stage(manifest, signature, window_s=window_s, lease=token, deployment=id_)
        _raise_if_ended(node, "stage", found)
        if not found.missing:
            return found
        await _send(fleet, node, Contents(archive, small), found.missing, meter, lease, on_progress, shipping)
    raise DeployFailed(node, "stage", f"the node still asks for blobs after {STAGES_MAX} rounds", deployment=found)


async def _send(
    fleet: Reach,
    node: str,
    contents: Contents,
    missing: list[str],
    meter: Meter,
    lease: HeldLease,
    on_progress: OnProgress,
    shipping: Shipping,
) -> None:
    """Uploads blobs, the small ones first; many bytes go over a connection of their own."""
    unknown = [digest for digest in missing if digest not in contents.sizes]
    if unknown:
        raise DeployFailed(node, "upload", f"the node asks for {unknown[0]}, which the bundle does not name")
    needed_bytes = sum(contents.sizes[digest] for digest in missing)
    meter.total_bytes += needed_bytes

    said = ""

    def note(text: str) -> None:
        nonlocal said
        said = text
        on_progress(Progress("upload", node, meter.done_bytes, meter.total_bytes, meter.rate, meter.eta_s, text))

    async def told() -> None:
        await lease.keep()
        note(said)

    live = nullcontext(fleet.client(node))
    async with live if needed_bytes <= SMALL_BYTES_MAX else fleet.bulk_client(node) as client:
        for digest in sorted(missing, key=lambda digest: contents.sizes[digest]):
            await shipping.bring(client, contents, digest, meter=meter, on_piece=told, note=note, seeds=fleet)
            await told()


async def _advance(
    client: AgentClient,
    id_: str,
    verb: str,
    goal: DeploymentState,
    lease: HeldLease,
    *,
    reason: str = "",
    allow_gap: bool = False,
) -> Deployment:
    """Asks for one transition. An answer that was lost on the way is asked for, never assumed."""

    async def once() -> Deployment:
        return await client.advance(id_, verb, lease=await lease.keep(), reason=reason, allow_gap=allow_gap)

    return await surely(once, lambda: client.deployment(id_), goal)


async def surely(
    act: Callable[[], Awaitable[Deployment]], ask: Callable[[], Awaitable[Deployment]], goal: DeploymentState
) -> Deployment:
    """`act`, and after a loss `ask` whether it happened before it is repeated. Raises the last LinkError."""
    for left in reversed(range(ASKS_MAX)):
        try:
            return await act()
        except LinkError:
            if left == 0:
                raise
        await asyncio.sleep(PAUSE_S)
        try:
            now = await ask()
        except LinkError:
            continue
        if now.state is goal or now.state in BOTTOM or now.state is DeploymentState.COMMITTED:
            return now
    raise AssertionError("the last pass returns or raises")


def _raise_if_ended(node: str, verb: str, found: Deployment) -> None:
    if found.state in BOTTOM:
        error = found.error
        message = error.message if error else f"the deployment is {found.state} {found.reason or ''}".strip()
        raise DeployFailed(node, verb, message, error.hint if error else "", deployment=found)


async def confirm(fleet: Reach, node: str, deployment: str, *, operator: str, break_lease: bool = False) -> Deployment:
    """Makes a trial permanent, over a login made now: it proves that the node can still be reached.

    Raises DeployFailed when the node went back already, AgentError, LinkError.
    """
    async with fleet.fresh_client(node) as client, held_lease(client, operator, break_held=break_lease) as lease:
        found = await _advance(client, deployment, "confirm", DeploymentState.COMMITTED, lease)
    _raise_if_ended(node, "confirm", found)
    return found


async def rollback(
    fleet: Reach, node: str, deployment: str, *, operator: str, reason: str, break_lease: bool = False
) -> Deployment:
    """Ends a trial: the previous revision takes over again. Raises AgentError, LinkError."""
    client = fleet.client(node)
    async with held_lease(client, operator, break_held=break_lease) as lease:
        return await _advance(client, deployment, "rollback", DeploymentState.ROLLED_BACK, lease, reason=reason)


async def revert(
    fleet: Reach,
    node: str,
    name: str,
    *,
    operator: str,
    window_s: float,
    reason: str,
    deployment: str = "",
    break_lease: bool = False,
) -> Deployment:
    """Activates the bundle that was there before, with a trial of its own; the same `deployment` id is done once.

    Raises AgentError, LinkError.
    """
    client = fleet.client(node)
    async with held_lease(client, operator, break_held=break_lease) as lease:
        return await client.revert(name, lease=lease.token, window_s=window_s, reason=reason, deployment=deployment)


async def extend(fleet: Reach, node: str, deployment: str, window_s: float, *, operator: str) -> Deployment:
    """Gives a trial a new window from now. Raises AgentError, LinkError."""
    client = fleet.client(node)
    async with held_lease(client, operator) as lease:
        return await client.extend(deployment, window_s, lease=lease.token)


def running_trial(deployments: list[Deployment]) -> Deployment | None:
    """The node's trial, of which there is at most one."""
    return next((found for found in deployments if found.state is DeploymentState.TRIAL), None)


__all__ = [
    "AgentError",
    "Clients",
    "DeployFailed",
    "Progress",
    "Reach",
    "check_passport",
    "confirm",
    "deploy",
    "extend",
    "revert",
    "rollback",
    "running_trial",
    "stage",
    "start_trial",
]
