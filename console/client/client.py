"""The agent's API as methods: protocol structs in, protocol structs out, every text cleaned. One client a node."""

from __future__ import annotations

import copy
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from console.client.dataclient import DataClient
from console.client.identity import check_node_id, read_greeting
from console.client.wire import AgentError, decode, lines, refusal
from console.delivery.mandate import Mandate
from console.fleet.view import LinkState
from console.link.errors import LinkError
from console.link.transport import Answer, Body
from nodeagent.protocol import (
    API,
    AcknowledgeRequest,
    AgentUpgrade,
    Alert,
    BindAnswer,
    Bindings,
    BindRequest,
    BlobState,
    Check,
    ClockReading,
    ClockRequest,
    ClockSet,
    Deployment,
    DeploymentRequest,
    DeploymentsPage,
    ExtendRequest,
    GateRequest,
    Handover,
    HandoverRequest,
    Hold,
    HoldRequest,
    Imported,
    ImportRequest,
    LabelRequest,
    Lease,
    LeaseRequest,
    LedgerPage,
    LogLine,
    LogsPage,
    OutOfServiceRequest,
    Passport,
    PassportRequest,
    PatchRequest,
    Probe,
    ProbeRequest,
    Record,
    RecordsPage,
    Rehearsal,
    RehearseRequest,
    RevertRequest,
    ReviewRequest,
    Revision,
    ShadowRequest,
    SourceAccepted,
    SourceAcceptRequest,
    StageRequest,
    Status,
    TagMark,
    TagMarkRequest,
    Tap,
    Telemetry,
    Trend,
    Trust,
    TrustRequest,
    UpgradeEnd,
    UpgradeRequest,
    Write,
)

__all__ = ["AgentClient", "AgentError", "Exchange"]

REQUEST_S = 20.0
SLOW_REQUEST_S = 180.0
GATE_REQUEST_S = 600.0
PATCH_REQUEST_S = 900.0
TELEMETRY_SILENCE_S = 30.0
PROBE_S = 100.0

# Fields that came after version 1.0 of the protocol; an agent refuses what it does not know.
_LATER = frozenset({"change_number", "permit", "approval", "emergency", "owner", "brought"})
T = TypeVar("T")
Query = dict[str, str | int | float | bool | None]


class Exchange(Protocol):
    """What carries requests to one agent; a NodeLink does."""

    async def request(self, method: str, target: str, *, body: Body = None, timeout_s: float) -> Answer: ...

    def stream(
        self, method: str, target: str, *, body: Body = None, timeout_s: float | None
    ) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]: ...


class AgentClient(DataClient):
    """Raises AgentError where the agent refuses, LinkError where it is not reached or not understood."""

    def __init__(self, exchange: Exchange, node: str, *, node_id: str = "", mandate: Mandate | None = None) -> None:
        self.node = node
        self._mandate = mandate or Mandate()
        self._exchange = exchange
        self._pinned = node_id
        self._identified = ""

    def __repr__(self) -> str:
        return f"<AgentClient {self.node} {self._identified or 'not identified'}>"

    # -- plain requests

    async def get_json(self, kind: type[T], path: str, query: Query | None = None, *, cleaned: bool = True) -> T:
        """One GET under the API's prefix."""
        return await self._ask(kind, "GET", _target(path, query), cleaned=cleaned)

    async def stream_lines(self, kind: type[T], path: str, query: Query | None = None) -> AsyncGenerator[T, None]:
        """An NDJSON stream until the agent ends it. Close it (`aclosing`) to stop early."""
        target = _target(path, query)
        silence_s = TELEMETRY_SILENCE_S if path == "/telemetry" else None
        async with self._exchange.stream("GET", target, timeout_s=silence_s) as (status, chunks):
            if status >= 300:
                raise refusal(status, b"".join([chunk async for chunk in chunks]), self.node, f"GET {path}")
            async with aclosing(lines(chunks, self.node)) as found:
                async for line in found:
                    yield decode(kind, line, self.node, f"GET {path}")

    async def _ask(
        self,
        kind: type[T],
        method: str,
        target: str,
        *,
        body: Body = None,
        timeout_s: float = REQUEST_S,
        cleaned: bool = True,
    ) -> T:
        answer = await self._exchange.request(method, target, body=body, timeout_s=timeout_s)
        what = f"{method} {target.partition('?')[0]}"
        if not 200 <= answer.status < 300:
            raise refusal(answer.status, answer.body, self.node, what)
        return decode(kind, answer.body, self.node, what, cleaned=cleaned)

    async def _post(self, kind: type[T], path: str, request: Any, *, timeout_s: float = REQUEST_S) -> T:
        return await self._send(kind, "POST", path, request, timeout_s=timeout_s)

    async def _send(self, kind: type[T], method: str, path: str, request: Any, *, timeout_s: float = REQUEST_S) -> T:
        return await self._ask(kind, method, _target(path), body=self._body(request), timeout_s=timeout_s)

    def _body(self, request: Any) -> bytes:
        """The request under this client's mandate. What an older agent does not know is named only where it is used."""
        plain = msgspec.to_builtins(request)
        if isinstance(request, Write | OutOfServiceRequest):
            plain["change_number"] = self._mandate.change_number
        return msgspec.json.encode({name: told for name, told in plain.items() if told or name not in _LATER})

    def numbered(self, change_number: str) -> AgentClient:
        """This client, over the same exchange, with this change number in each of its writes."""
        found = copy.copy(self)
        found._mandate = replace(self._mandate, change_number=change_number)
        return found

    # -- who it is

    async def status(self) -> Status:
        """Who the node is and how it does. Raises LinkError for a changed node id or another protocol."""
        answer = await self._exchange.request("GET", f"{API}/status", timeout_s=REQUEST_S)
        if answer.status != 200:
            raise refusal(answer.status, answer.body, self.node, "GET /status")
        greeting = read_greeting(self.node, answer.body)
        check_node_id(self.node, self._pinned, greeting.node_id)
        self._identified = greeting.node_id
        return decode(Status, answer.body, self.node, "GET /status")

    async def identify(self) -> str:
        """The node's id, asked for once; every write names it."""
        if not self._identified:
            await self.status()
        return self._identified

    async def ping(self) -> None:
        """The smallest question there is."""
        await self.lease()

    # -- reading

    def telemetry(self, after: int | None = None, *, started_us: int | None = None) -> AsyncGenerator[Telemetry, None]:
        """One line a period; behind `after` of the run `started_us`, every line that the node still has comes first."""
        return self.stream_lines(Telemetry, "/telemetry", {"after": after, "started_us": started_us})

    async def trend(self, bundle: str = "", *, hours: float | None = None, points: int | None = None) -> Trend:
        """Rollups of a bundle, or of the host, of the last hours; `points`: about so many at most."""
        return await self.get_json(Trend, "/trend", {"bundle": bundle or None, "hours": hours, "points": points})

    async def logs(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        level: str | None = None,
        search: str | None = None,
    ) -> LogsPage:
        """A page of log lines in order."""
        query: Query = {"after": after, "before": before, "limit": limit, "level": level, "search": search}
        return await self.get_json(LogsPage, "/logs", query)

    def follow_logs(self, after: int | None = None, *, level: str | None = None) -> AsyncGenerator[LogLine, None]:
        """Log lines as they come."""
        return self.stream_lines(LogLine, "/logs/stream", {"after": after, "level": level})

    async def records(
        self,
        bundle: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        decision: str | None = None,
        quality: int | None = None,
        label: str | None = None,
        context: str | None = None,
        newest_first: bool = False,
    ) -> RecordsPage:
        """A page of what a bundle's models saw and said. `context`: pairs that all must hold, `product=A4 shift=2`."""
        query: Query = {
            "bundle": bundle,
            "after": after,
            "before": before,
            "limit": limit,
            "decision": decision,
            "quality": quality,
            "label": label,
            "context": context,
            "newest_first": newest_first or None,
        }
        return await self.get_json(RecordsPage, "/records", query)

    async def ledger(self, *, after: int = 0, limit: int | None = None, raw: bool = False) -> LedgerPage:
        """A page of the node's history. `raw` leaves texts as they were hashed: verify, then clean."""
        return await self.get_json(LedgerPage, "/ledger", {"after": after, "limit": limit}, cleaned=not raw)

    async def alerts(self) -> list[Alert]:
        """Alerts that stand, and those cleared and not acknowledged."""
        return await self.get_json(list[Alert], "/alerts")

    async def alert_history(self, *, limit: int | None = None) -> list[Alert]:
        """The newest alerts, cleared ones included, newest first."""
        return await self.get_json(list[Alert], "/alerts", {"all": 1, "limit": limit})

    async def revisions(self) -> list[Revision]:
        """What was active when."""
        return await self.get_json(list[Revision], "/revisions")

    async def checks(self) -> list[Check]:
        """Runs the node's checks."""
        return await self._ask(list[Check], "GET", _target("/checks"), timeout_s=SLOW_REQUEST_S)

    async def probe(self, request: ProbeRequest) -> Probe:
        """What an address of the plant has to tell, as the node sees it."""
        return await self._post(Probe, "/sources/probe", request, timeout_s=PROBE_S)

    async def clock(self) -> ClockReading:
        """The node's clocks as they are now."""
        return await self.get_json(ClockReading, "/clock")

    def tap(self, bundle: str, *, stage: str | None = None) -> AsyncGenerator[Tap, None]:
        """Sweeps of a running pipeline as they pass a stage."""
        return self.stream_lines(Tap, f"/tap/{_segment(bundle)}", {"stage": stage})

    async def deployments(self) -> DeploymentsPage:
        """Deployments of the node, newest first."""
        return await self.get_json(DeploymentsPage, "/deployments")

    async def deployment(self, deployment: str) -> Deployment:
        """One deployment as it stands."""
        return await self.get_json(Deployment, f"/deployments/{_segment(deployment)}")

    async def bindings(self) -> Bindings:
        """The node's own addresses and limits; secrets read `***`."""
        return await self.get_json(Bindings, "/bindings")

    async def trust(self) -> Trust:
        """Who may sign on the node."""
        return await self.get_json(Trust, "/trust")

    async def change_trust(self, change: str, signature: str, *, lease: int | None) -> Trust:
        """Sends a signed change of the allowed signers; the answer is the new list."""
        node_id = await self.identify()
        request = TrustRequest(
            node_id=node_id,
            lease=lease,
            change=change,
            signature=signature,
            approval=self._mandate.paper("approval", f"sha256:{sha256(change.encode()).hexdigest()}", node_id),
            emergency=self._mandate.emergency,
        )
        return await self._post(Trust, "/trust", request)

    async def lease(self) -> Lease | None:
        """Who may change deployments now."""
        return await self.get_json(Lease | None, "/lease")  # type: ignore[arg-type]

    # -- writing; every request names the node it is meant for

    async def acknowledge(self, alert: int, note: str = "") -> Alert:
        """Takes note of an alert, under the operator's name."""
        request = AcknowledgeRequest(node_id=await self.identify(), note=note)
        return await self._post(Alert, f"/alerts/{alert}/acknowledge", request)

    async def label(self, key: int, bundle: str, label: str, note: str = "") -> Record:
        """Appends a person's label to a record."""
        request = LabelRequest(node_id=await self.identify(), bundle=bundle, label=label, note=note)
        return await self._post(Record, f"/records/{key}/label", request)

    async def hold(self, reason: str) -> Hold:
        """Outputs to the safe value, now."""
        return await self._post(Hold, "/hold", HoldRequest(node_id=await self.identify(), reason=reason))

    async def release(self, reason: str = "") -> Status:
        """Ends a hold."""
        return await self._post(Status, "/hold/release", HoldRequest(node_id=await self.identify(), reason=reason))

    async def out_of_service(
        self, reason: str = "", *, owner: str = "", hours: float | None = None, lift: bool = False
    ) -> Status:
        """Takes the node out of service, or lifts it."""
        node_id = await self.identify()
        request = OutOfServiceRequest(node_id=node_id, reason=reason, owner=owner, hours=hours, lift=lift)
        return await self._post(Status, "/out-of-service", request)

    async def review(self, note: str = "") -> Status:
        """Says that another person has looked at what was done as an emergency."""
        return await self._post(Status, "/review", ReviewRequest(node_id=await self.identify(), note=note))

    async def take_over(self, items: list[str], note: str = "") -> Handover:
        """Says in the node's ledger that the operator takes these over from the last shift."""
        request = HandoverRequest(node_id=await self.identify(), items=items, note=note)
        return await self._post(Handover, "/handover", request)

    async def mark_tag(self, tag: str, mark: Literal["replaced", "recalibrated"], note: str) -> TagMark:
        """Says that the sensor behind a tag is not what it was: drift of the bundles that see it begins anew."""
        request = TagMarkRequest(node_id=await self.identify(), tag=tag, mark=mark, note=note)
        return await self._post(TagMark, "/tags/mark", request)

    async def accept_source(self, bundle: str, source: str, note: str = "") -> SourceAccepted:
        """Says that the changed device behind a source is the right one."""
        request = SourceAcceptRequest(node_id=await self.identify(), bundle=bundle, source=source, note=note)
        return await self._post(SourceAccepted, "/sources/accept", request)

    async def take_lease(
        self, holder: str, *, token: int | None = None, release: bool = False, break_held: bool = False
    ) -> Lease:
        """Takes, renews (`token`) or gives back the right to change deployments."""
        request = LeaseRequest(
            node_id=await self.identify(), holder=holder, token=token, release=release, break_held=break_held
        )
        return await self._post(Lease, "/lease", request)

    async def give_clock(self, *, wall_us: int, error_us: int, lease: int | None, only_note: bool = False) -> ClockSet:
        """Sets the node's clock, or notes how far it is off."""
        request = ClockRequest(
            node_id=await self.identify(), lease=lease, wall_us=wall_us, error_us=error_us, set=not only_note
        )
        return await self._post(ClockSet, "/clock", request)

    async def rehearse(self, budget_s: float) -> Rehearsal:
        """Each active bundle as after a power cut."""
        request = RehearseRequest(node_id=await self.identify(), budget_s=budget_s)
        return await self._post(Rehearsal, "/rehearse", request, timeout_s=GATE_REQUEST_S)

    async def upgrade(self) -> AgentUpgrade:
        """Which versions of the agent are there, and where an upgrade stands."""
        return await self.get_json(AgentUpgrade, "/upgrade")

    async def begin_upgrade(
        self, upgrade: str, version: str, *, window_s: float, lease: int | None, brought: str = ""
    ) -> AgentUpgrade:
        """Puts an installed version on trial; the agent's supervisor restarts behind the answer."""
        request = UpgradeRequest(
            node_id=await self.identify(), lease=lease, id=upgrade, version=version, window_s=window_s, brought=brought
        )
        return await self._post(AgentUpgrade, "/upgrade", request)

    async def end_upgrade(self, upgrade: str, verb: str, *, lease: int | None) -> AgentUpgrade:
        """`verb` is confirm or rollback."""
        request = UpgradeEnd(node_id=await self.identify(), lease=lease, id=upgrade)
        return await self._post(AgentUpgrade, f"/upgrade/{verb}", request)

    async def passport(self, facts: dict[str, Any], blob_sizes: dict[str, int]) -> Passport:
        """Does a bundle with these facts fit the node."""
        request = PassportRequest(node_id=await self.identify(), facts=facts, blob_sizes=blob_sizes)
        return await self._post(Passport, "/passport", request)

    async def blob(self, digest: str) -> BlobState:
        """How much of a blob the node holds."""
        return await self.get_json(BlobState, f"/blobs/{digest}")

    async def put_blob(self, digest: str, *, offset: int, total: int, data: bytes, timeout_s: float) -> BlobState:
        """One piece of a blob at its offset."""
        query: Query = {"offset": offset, "total": total, "node_id": await self.identify()}
        return await self._ask(BlobState, "PUT", _target(f"/blobs/{digest}", query), body=data, timeout_s=timeout_s)

    async def patch_blob(self, digest: str, *, old: str, delta: str) -> BlobState:
        """Lets the node make a blob of one that it holds and a difference that was sent to it."""
        request = PatchRequest(node_id=await self.identify(), old=old, delta=delta)
        return await self._post(BlobState, f"/blobs/{digest}/patch", request, timeout_s=PATCH_REQUEST_S)

    async def import_bundle(self, manifest: str, signature: str) -> Imported:
        """Lets the node verify and keep a bundle whose blobs are there; the answer lists those that are missing."""
        request = ImportRequest(node_id=await self.identify(), manifest=manifest, signature=signature)
        return await self._post(Imported, "/imports", request, timeout_s=SLOW_REQUEST_S)

    async def stage(
        self, manifest: str, signature: str, *, window_s: float, lease: int | None, deployment: str = ""
    ) -> Deployment:
        """Announces a bundle by the digests of its manifest and signature; the answer lists missing blobs."""
        node_id = await self.identify()
        request = StageRequest(
            node_id=node_id,
            permit=self._mandate.paper("permit", manifest, node_id),
            brought=self._mandate.brought(manifest),
            lease=lease,
            id=deployment or uuid.uuid4().hex,
            manifest=manifest,
            signature=signature,
            window_s=window_s,
        )
        return await self._post(Deployment, "/deployments", request)

    async def advance(
        self, deployment: str, verb: str, *, lease: int | None, reason: str = "", allow_gap: bool = False
    ) -> Deployment:
        """`verb` is preflight, activate, confirm or rollback."""
        request = DeploymentRequest(node_id=await self.identify(), lease=lease, reason=reason, allow_gap=allow_gap)
        if verb == "activate":
            holds = self._mandate.find is not None
            subject = (await self.deployment(deployment)).digest if holds else ""
            approval = self._mandate.paper("approval", subject, request.node_id)
            request = msgspec.structs.replace(request, approval=approval, emergency=self._mandate.emergency)
        path = f"/deployments/{_segment(deployment)}/{verb}"
        return await self._post(Deployment, path, request, timeout_s=SLOW_REQUEST_S)

    async def gate(
        self,
        deployment: str,
        *,
        lease: int | None,
        rows: int,
        agreement_min: float,
        rows_min: int = 50,
        score_shift_max: float | None = None,
        latency_ms_p95_max: float | None = None,
        latency_ratio_max: float | None = None,
    ) -> Deployment:
        """Tries a candidate on the node's last recorded inputs; the verdict is `preflight["gate"]` of the answer."""
        request = GateRequest(
            node_id=await self.identify(),
            lease=lease,
            rows=rows,
            rows_min=rows_min,
            agreement_min=agreement_min,
            score_shift_max=score_shift_max,
            latency_ms_p95_max=latency_ms_p95_max,
            latency_ratio_max=latency_ratio_max,
        )
        path = f"/deployments/{_segment(deployment)}/gate"
        return await self._post(Deployment, path, request, timeout_s=GATE_REQUEST_S)

    async def shadow(
        self,
        deployment: str,
        *,
        lease: int | None,
        seconds: float,
        rows_min: int = 50,
        agreement_min: float = 0.9,
        score_shift_max: float | None = None,
        latency_ms_p95_max: float | None = None,
        latency_ratio_max: float | None = None,
    ) -> Deployment:
        """Feeds a candidate live beside what runs for `seconds`, 0 ends that; `preflight["shadow"]` tells how it is."""
        request = ShadowRequest(
            node_id=await self.identify(),
            lease=lease,
            seconds=seconds,
            rows_min=rows_min,
            agreement_min=agreement_min,
            score_shift_max=score_shift_max,
            latency_ms_p95_max=latency_ms_p95_max,
            latency_ratio_max=latency_ratio_max,
        )
        return await self._post(Deployment, f"/deployments/{_segment(deployment)}/shadow", request)

    async def extend(self, deployment: str, window_s: float, *, lease: int | None) -> Deployment:
        """Gives a trial a new window from now."""
        request = ExtendRequest(node_id=await self.identify(), lease=lease, window_s=window_s)
        return await self._post(Deployment, f"/deployments/{_segment(deployment)}/extend", request)

    async def revert(
        self, bundle: str, *, lease: int | None, window_s: float, reason: str = "", deployment: str = ""
    ) -> Deployment:
        """Activates the previous bundle again, with a trial of its own; the same `deployment` id is done once."""
        id_ = deployment or uuid.uuid4().hex
        request = RevertRequest(node_id=await self.identify(), lease=lease, id=id_, window_s=window_s, reason=reason)
        path = f"/bundles/{_segment(bundle)}/revert"
        return await self._post(Deployment, path, request, timeout_s=SLOW_REQUEST_S)

    async def bind(
        self,
        changes: dict[str, Any],
        *,
        base_revision: int,
        lease: int | None,
        unset: list[str] | None = None,
        window_s: float = 600.0,
        dry_run: bool = False,
        digest: str = "",
    ) -> BindAnswer:
        """Changes the node's bindings; with `dry_run`, only says what would change, and the change's `digest`."""
        node_id = await self.identify()
        request = BindRequest(
            node_id=node_id,
            lease=lease,
            base_revision=base_revision,
            set=changes,
            unset=unset or [],
            window_s=window_s,
            dry_run=dry_run,
            approval=self._mandate.paper("approval", digest, node_id) if digest else None,
            emergency="" if dry_run else self._mandate.emergency,
        )
        return await self._send(BindAnswer, "PUT", "/bindings", request, timeout_s=SLOW_REQUEST_S)


def _segment(text: str) -> str:
    return quote(text, safe="")


def _target(path: str, query: Query | None = None) -> str:
    """The request target; parameters that are None are left out."""
    pairs = {k: str(v).lower() if isinstance(v, bool) else v for k, v in (query or {}).items() if v is not None}
    return f"{API}{path}" + (f"?{urlencode(pairs)}" if pairs else "")


def not_reached(error: LinkError) -> bool:
    """Whether `error` says that a node was not reached, rather than that it refused us."""
    return error.state in (LinkState.DOWN, LinkState.NO_AGENT, LinkState.CONNECTING)
