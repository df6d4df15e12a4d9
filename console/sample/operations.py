"""Operations on the sample fleet: the same calls and answers as over a link, in memory, at once."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    Sequence,
)
from dataclasses import replace

import msgspec

from console.delivery.gate import GateOrder
from console.fleet.checks import Checked
from console.fleet.view import NodeView
from console.rollout.desk import Order
from console.rollout.planner import PlanRefused
from console.rollout.policy import PolicyError, parse_policy
from console.rollout.presets import PRESETS, PolicyEntry
from console.rollout.report import Report
from console.rollout.terms import PlanTerms
from console.sample.checks import sample_checks
from console.sample.fleet import SampleFleet, log_lines
from console.sample.plant import WALL_S, digest_of, on_trial
from console.sample.rollouts import sample_plan, sample_reports
from console.sample.rules import sample_rules
from console.sample.shelf import SampleShelf
from console.sample.trend import sample_trend
from console.sample.verdict import sample_verdict
from console.seat.operations import TREND_POINTS, BundleEntry, OnStep, OperationFailed, Step
from nodeagent.protocol import (
    Alert,
    AlertRules,
    AlertState,
    BundleTelemetry,
    Deployment,
    DeploymentState,
    Error,
    Hold,
    LogsPage,
    OutOfService,
    Passport,
    PassportItem,
    Record,
    RecordsPage,
    ReviewItem,
    ReviewQueue,
    RollbackReason,
    Tap,
    Telemetry,
    Trend,
)

CATALOG = (
    BundleEntry(
        "bearing",
        "2.2",
        digest_of("bearing", "2.2"),
        18_400,
        "release@plant",
        WALL_S - 3_600,
        "bearing-2.2.ostn",
        "vibration f32[8]",
        "score f32[1]",
    ),
    BundleEntry(
        "bearing",
        "2.1",
        digest_of("bearing", "2.1"),
        18_100,
        "release@plant",
        WALL_S - 900_000,
        "bearing-2.1.ostn",
        "vibration f32[8]",
        "score f32[1]",
    ),
    BundleEntry(
        "casting",
        "1.4",
        digest_of("casting", "1.4"),
        2_480_000,
        "release@plant",
        WALL_S - 500_000,
        "casting-1.4.ostn",
        "image u8[1,128,128]",
        "label f32[2]",
    ),
    BundleEntry(
        "pump",
        "3.0",
        digest_of("pump", "3.0"),
        22_700,
        "release@plant",
        WALL_S - 400_000,
        "pump-3.0.ostn",
        "sensors f32[6]",
        "residual f32[1]",
    ),
)
UPLOAD_STEPS = 4


class SampleOperations(SampleShelf):
    """Implements console.seat.operations.Operations on a SampleFleet."""

    def __init__(self, fleet: SampleFleet, operator: str = "alice") -> None:
        super().__init__(fleet)
        self._operator = operator
        self.catalog = list(CATALOG)
        self._deployments: dict[str, list[Deployment]] = {}
        self.labels: dict[int, str] = {}
        self.terms = PlanTerms()
        self.ordered: list[tuple[str, Order]] = []
        self.proved = False
        self.step_s = 0.0
        self.reports = sample_reports()

    @property
    def operator(self) -> str:
        return self._operator

    async def enter_operate(self) -> None:
        self.proved = True

    async def leave_operate(self) -> None:
        self.proved = False

    async def bundles(self) -> list[BundleEntry]:
        return list(self.catalog)

    async def rollouts(self) -> list[Report]:
        return list(self.reports)

    async def policies(self) -> list[PolicyEntry]:
        return list(PRESETS)

    async def plan_rollout(self, digest: str, policy: str, nodes: Sequence[str], terms: PlanTerms) -> str:
        entry, self.terms = self._entry(digest), terms
        try:
            made = sample_plan(self._fleet.views(), entry, terms.over(parse_policy(policy)), nodes, change=terms.change)
        except (PlanRefused, PolicyError) as error:
            raise OperationFailed("plan a rollout failed", why=[str(error), getattr(error, "hint", "")]) from error
        self.reports.insert(0, made)
        return made.id

    async def order_rollout(self, id_: str, order: Order, *, on_step: OnStep) -> Report | None:
        self.ordered.append((id_, order))
        return None

    async def passport(self, node: str, digest: str) -> Passport:
        entry = self._entry(digest)
        fits = not (entry.name == "casting" and node.startswith("pump"))
        items = [
            PassportItem(name="runtime", verdict="yes", text="onnxruntime 1.32, opset 17"),
            PassportItem(name="memory", verdict="yes", text="needs 61 MB, 2.4 GB free"),
            PassportItem(name="disk", verdict="yes", text=f"needs {entry.size_bytes:,} B, 19 GB free"),
            PassportItem(name="signers", verdict="yes", text=f"signed by {entry.signer}"),
            PassportItem(
                name="bindings",
                verdict="yes" if fits else "no",
                text="2 of 2 bound" if fits else "camera is not bound",
                fix="" if fits else f"outstation node bind {node} camera=...",
            ),
        ]
        return Passport(fits=fits, items=items)

    async def deploy(
        self, node: str, digest: str, *, window_s: float, on_step: OnStep, gate: GateOrder | None = None
    ) -> Deployment:
        entry, view = self._entry(digest), self._view(node)
        for name in ("passport", "lease", "stage"):
            on_step(Step(name, node, text="ok"))
        for i in range(UPLOAD_STEPS + 1):
            done = entry.size_bytes * i // UPLOAD_STEPS
            on_step(Step("upload", node, done, entry.size_bytes, 1.2e6, (entry.size_bytes - done) / 1.2e6))
            await asyncio.sleep(self.step_s)
        on_step(Step("preflight", node, text="golden vectors agree, 0.9 ms a run"))
        verdict = sample_verdict(entry.version, gate)
        if gate is not None and verdict is not None:
            on_step(Step("gate", node))
            on_step(Step("gate verdict", node, verdict=verdict))
            if gate.stops(verdict):
                raise OperationFailed("deploy failed", node=node, why=verdict.reasons, hint="P goes past the gate")
        on_step(Step("activate", node, text="switch gap 31 ms"))
        number = f"dep-{len(self._deployments.get(node, [])) + 3}"
        self._fleet.put(on_trial(view, entry.name, entry.version, number, window_s))
        deployment = Deployment(
            id=number,
            bundle=entry.name,
            version=entry.version,
            digest=digest,
            state=DeploymentState.TRIAL,
            revision=15,
            previous_revision=14,
            window_s=window_s,
            seconds_left=window_s,
            switch_gap_ms=31.0,
            actor=self._operator,
            created_us=int(WALL_S * 1e6),
            changed_us=int(WALL_S * 1e6),
            preflight={} if verdict is None else {"gate": msgspec.to_builtins(verdict)},
        )
        self._deployments.setdefault(node, []).insert(0, deployment)
        return deployment

    async def confirm(self, node: str, deployment: str) -> Deployment:
        done = self._settle(node, deployment, DeploymentState.COMMITTED)
        self._change_bundle(node, done.bundle, trial=None)
        return done

    async def rollback(self, node: str, deployment: str, reason: str) -> Deployment:
        done = self._settle(node, deployment, DeploymentState.ROLLED_BACK, RollbackReason.REVERTED)
        self._change_bundle(node, done.bundle, trial=None, version="2.1", revision=14)
        return done

    async def revert(self, node: str, bundle: str, *, window_s: float, reason: str) -> Deployment:
        self._fleet.put(on_trial(self._view(node), bundle, "2.0", "dep-9", window_s))
        return self._settle(node, "dep-9", DeploymentState.TRIAL)

    async def extend(self, node: str, deployment: str, window_s: float) -> Deployment:
        done = self._settle(node, deployment, DeploymentState.TRIAL)
        self._fleet.put(on_trial(self._view(node), done.bundle, done.version, deployment, window_s))
        return done

    async def hold(self, node: str, reason: str) -> None:
        held = Hold(by=self._operator, reason=reason, since_us=int(WALL_S * 1e6))
        self._change(node, hold=held)

    async def release(self, node: str, reason: str) -> None:
        self._change(node, hold=None)

    async def out_of_service(self, node: str, reason: str, *, hours: float | None, lift: bool) -> None:
        out = OutOfService(by=self._operator, reason=reason, since_us=int(WALL_S * 1e6))
        self._change(node, out_of_service=None if lift else out)

    async def acknowledge(self, node: str, alert: int, note: str) -> Alert:
        alerts = [
            msgspec.structs.replace(a, state=AlertState.ACKNOWLEDGED, acknowledged_by=self._operator)
            if a.id == alert
            else a
            for a in self._telemetry(node).alerts
        ]
        self._change(node, alerts=alerts)
        return next(a for a in alerts if a.id == alert)

    async def shelve(self, node: str, alert: int, hours: float, reason: str) -> Alert:
        state = AlertState.SHELVED if hours else AlertState.RAISED
        by = {"state": state, "shelved_by": self._operator, "shelved_s_left": hours * 3_600, "note": reason}
        alerts = [msgspec.structs.replace(a, **by) if a.id == alert else a for a in self._telemetry(node).alerts]
        self._change(node, alerts=alerts)
        return next(a for a in alerts if a.id == alert)

    async def label(self, node: str, bundle: str, key: int, label: str) -> None:
        self.labels[key] = label

    async def deployments(self, node: str) -> list[Deployment]:
        at = int((WALL_S - 260_000) * 1e6)
        first = Deployment(
            id="dep-1",
            bundle="bearing",
            version="2.1",
            digest=digest_of("bearing", "2.1"),
            revision=14,
            state=DeploymentState.COMMITTED,
            previous_revision=13,
            actor="bob",
            created_us=at,
            changed_us=at + 420_000_000,
            switch_gap_ms=28.0,
            reachability="proved",
            ended_by="carol",
            preflight={
                "seconds": 3.2,
                "allow_gap": False,
                "gate": msgspec.to_builtins(sample_verdict("2.1", GateOrder())),
            },
        )
        late = msgspec.structs.replace(
            first,
            id="dep-0",
            version="2.0",
            revision=None,
            reason=RollbackReason.UNCONFIRMED,
            state=DeploymentState.ROLLED_BACK,
            error=Error(
                code="DEPLOYMENT.GUARD",
                message="no confirm came within 10:00; the figures up to then were within the limits of its guard",
                hint="deploy it again and confirm it while its trial runs",
                owner="operator",
            ),
            ended_by="agent",
            reachability="",
            actor="alice",
            created_us=at - 90_000_000_000,
            changed_us=at - 89_400_000_000,
        )
        now = int((WALL_S - 408) * 1e6)
        trial = msgspec.structs.replace(
            first,
            id="dep-2",
            version="2.2",
            revision=15,
            previous_revision=14,
            actor="alice",
            state=DeploymentState.TRIAL,
            created_us=now,
            changed_us=now,
            reachability="",
            ended_by="",
            preflight={"seconds": 3.2, "allow_gap": False},
            seconds_left=192.0,
        )
        return [*self._deployments.get(node, []), *([trial] if node == "mill-11" else []), first, late]

    async def records(self, node: str, bundle: str, *, before: int | None, limit: int) -> RecordsPage:
        last = 400 if before is None else before - 1
        records = [_record(bundle, key, self.labels.get(key)) for key in range(last, max(0, last - limit), -1)]
        return RecordsPage(records=records, next=records[-1].key if records and records[-1].key > 1 else None)

    async def tap(self, node: str, bundle: str, stage: str) -> AsyncGenerator[Tap, None]:
        self._view(node)
        for beat in range(40):
            values = [round(2.0 + 0.1 * (beat % 7), 3), None if beat % 9 == 8 else 61.5]
            reasons = ["temperature: stale"] if values[1] is None else []
            yield Tap(
                stage=stage, wall_us=int((WALL_S + beat) * 1e6), names=["vibration", "temperature"], values=values,
                quality=[0, 2 if values[1] is None else 0], reasons=reasons,
            )  # fmt: skip

    async def review_queue(self, node: str, bundle: str) -> ReviewQueue:
        page = await self.records(node, bundle, before=None, limit=200)
        alarms = [record for record in page.records if record.decision == "alarm" and record.key not in self.labels]
        items = [ReviewItem(why="alarm", record=record) for record in alarms]
        return ReviewQueue(bundle=bundle, looked_at=len(page.records), items=items)

    async def trend(self, node: str, bundle: str, *, hours: float = 1.0, points: int = TREND_POINTS) -> Trend:
        self._view(node)
        return sample_trend(bundle, wall_s=WALL_S, hours=hours, points_max=points)

    async def checks(self, node: str) -> Checked:
        self._view(node)
        return sample_checks(node)

    async def alert_rules(self, node: str) -> AlertRules:
        self._view(node)
        return sample_rules()

    async def logs(self, node: str, *, after: int | None, limit: int) -> LogsPage:
        lines = [line for line in log_lines(node) if after is None or line.cursor > after][-limit:]
        return LogsPage(lines=lines, next=lines[-1].cursor if lines else after or 0)

    async def make_capsule(self, nodes: Sequence[str], path: str, *, on_step: OnStep) -> str:
        for left_s in (600.0, 1.0):
            on_step(Step("capsule", nodes[0], text="the next minutes are recorded", eta_s=left_s))
            await asyncio.sleep(self.step_s)
        return f"{path}: {len(nodes)} nodes, signed"

    def _entry(self, digest: str) -> BundleEntry:
        for entry in self.catalog:
            if entry.digest == digest:
                return entry
        raise OperationFailed("no such bundle in the catalog", why=(digest,), hint="import it")

    def _view(self, node: str) -> NodeView:
        view = self._fleet.views().get(node)
        if view is None or view.telemetry is None:
            raise OperationFailed("the node does not answer", node=node, hint="see that it has power and network")
        return view

    def _telemetry(self, node: str) -> Telemetry:
        telemetry = self._view(node).telemetry
        assert telemetry is not None
        return telemetry

    def _change(self, node: str, **changes: object) -> None:
        telemetry = msgspec.structs.replace(self._telemetry(node), **changes)
        self._fleet.put(replace(self._view(node), telemetry=telemetry))

    def _change_bundle(self, node: str, name: str, **changes: object) -> None:
        bundles: list[BundleTelemetry] = [
            msgspec.structs.replace(b, **changes) if b.bundle == name else b for b in self._telemetry(node).bundles
        ]
        self._change(node, bundles=bundles)

    def _settle(
        self, node: str, number: str, state: DeploymentState, reason: RollbackReason | None = None
    ) -> Deployment:
        listed = self._deployments.setdefault(node, [])
        found = next((d for d in listed if d.id == number), None)
        if found is None:
            found = Deployment(
                id=number,
                bundle="bearing",
                version="2.2",
                digest=digest_of("bearing", "2.2"),
                state=state,
                actor=self._operator,
                window_s=600.0,
            )
            listed.insert(0, found)
        settled = msgspec.structs.replace(found, state=state, reason=reason, seconds_left=None)
        listed[listed.index(found)] = settled
        return settled


def _record(bundle: str, key: int, label: str | None) -> Record:
    odd = key % 37 == 0
    return Record(
        key=key,
        bundle=bundle,
        revision=14,
        wall_us=int((WALL_S - (400 - key) * 0.15) * 1e6),
        source_us=None,
        latency_us=1_400 + 17 * (key % 23),
        score=0.71 if odd else 0.02 + 0.003 * (key % 11),
        label=label or ("outer race" if odd else "healthy"),
        decision="alarm" if odd else "normal",
        quality=1 if key % 53 == 0 else 0,
        reason="gap filled" if key % 53 == 0 else "",
        inputs=[0.118 + 0.002 * (key % 7), 3.1, 0.41, 0.08, 1.9 if odd else 0.2, 0.03, 0.6, 12.0],
        outputs=[0.71 if odd else 0.02],
        digest=digest_of(bundle, "2.1"),
        context=f"product={'A7' if key % 200 < 120 else 'B2'} shift=2",
    )
