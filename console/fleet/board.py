"""The fleet judged at one moment: each node's condition and why, the counts, the alerts in order. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from console.figures import clock
from console.fleet.view import Condition, LinkState, NodeView
from nodeagent.protocol import Alert, AlertState, BundleTelemetry, OutOfService, Telemetry, Trial, WorkerState

URGENT_PRIORITY: Final = 2
_BROKEN: Final = (WorkerState.BACKOFF, WorkerState.STOPPED)
_ACTIVE: Final = (AlertState.RAISED, AlertState.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node and what the operator is shown of it. `known`: live values may be shown; `stale`: dimmed."""

    view: NodeView
    condition: Condition
    reason: str
    known: bool
    stale: bool

    @property
    def bundles(self) -> list[BundleTelemetry]:
        """What runs there, trials first; empty when that is not known now."""
        if not self.known or self.view.telemetry is None:
            return []
        return sorted(self.view.telemetry.bundles, key=lambda b: (b.trial is None, b.bundle))

    @property
    def trial(self) -> Trial | None:
        """The trial that runs there; None where none does, or that is not known now."""
        return next((bundle.trial for bundle in self.bundles if bundle.trial is not None), None)


@dataclass(frozen=True, slots=True)
class BoardAlert:
    """One alert, by a node (`id` > 0) or by this console about a node it cannot reach (`id` 0)."""

    node: str
    id: int
    code: str
    priority: int
    state: AlertState
    subject: str
    message: str
    advice: str
    since_s: float
    acknowledged_by: str = ""
    shelved_by: str = ""
    shelved_s_left: float | None = None
    note: str = ""
    suppressed: str = ""

    @property
    def key(self) -> str:
        """The same alert, from one look to the next."""
        return f"{self.node}/{self.id}/{self.code}"

    @property
    def urgent(self) -> bool:
        return self.priority <= URGENT_PRIORITY

    @property
    def active(self) -> bool:
        return self.state in _ACTIVE and not self.suppressed

    @property
    def waits(self) -> bool:
        """Whether nobody has acknowledged it yet. What is suppressed by design waits for nobody."""
        if self.suppressed:
            return False
        return self.state is AlertState.RAISED or (self.state is AlertState.CLEARED and not self.acknowledged_by)


@dataclass(frozen=True, slots=True)
class Board:
    """What every screen draws from. `now_s` is monotonic, `wall_s` the console's clock."""

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    counts: Mapping[Condition, int] = field(default_factory=dict)
    alerts: tuple[BoardAlert, ...] = ()
    now_s: float = 0.0
    wall_s: float = 0.0

    @property
    def waiting(self) -> tuple[BoardAlert, ...]:
        """Active alerts that nobody has acknowledged: the highest priority first, of these the newest."""
        return tuple(a for a in self.alerts if a.state is AlertState.RAISED and not a.suppressed)

    @property
    def rtt_ms(self) -> float | None:
        """The middle round trip over all links that are up."""
        times = sorted(s.view.rtt_ms for s in self.nodes.values() if s.known and s.view.rtt_ms is not None)
        return times[len(times) // 2] if times else None


def survey(
    views: Mapping[str, NodeView], now_s: float, wall_s: float, acknowledged: Mapping[str, str] | None = None
) -> Board:
    """Judges every node. `acknowledged` holds who acknowledged the console's own alerts, by key."""
    nodes = {name: judge(view, now_s) for name, view in views.items()}
    counts = Counter(state.condition for state in nodes.values())
    alerts = [alert for state in nodes.values() if state.known for alert in _alerts_of(state.view)]
    alerts += _unreachable(nodes, acknowledged or {})
    alerts.sort(key=lambda a: (not a.waits, not a.active, a.priority, -a.since_s, a.node, a.id))
    return Board(nodes, {c: counts.get(c, 0) for c in Condition}, tuple(alerts), now_s, wall_s)


def judge(view: NodeView, now_s: float) -> NodeState:
    """The condition of one node and the reason for it. What is not known is never OK."""
    known = view.is_known(now_s)
    if view.ledger_break:
        return NodeState(view, Condition.ALARM, view.ledger_break, known, view.is_stale(now_s))
    if not known or view.telemetry is None:
        return NodeState(view, Condition.UNKNOWN, unknown_reason(view, now_s), False, True)
    condition, reason = _judge_known(view)
    return NodeState(view, condition, reason, True, view.is_stale(now_s))


def _judge_known(view: NodeView) -> tuple[Condition, str]:
    telemetry = view.telemetry
    assert telemetry is not None
    if (out := suppressing(telemetry)) is not None:
        owner = f", {out.owner} brings it back" if out.owner else ""
        return Condition.MAINTENANCE, f"out of service by {out.by}: {out.reason}{owner}"
    if telemetry.mode == "safe":
        return Condition.ALARM, "safe mode: outputs at the safe value, no model runs"
    active = [a for a in telemetry.alerts if a.state in _ACTIVE]
    active.sort(key=lambda a: a.priority)
    if active and active[0].priority <= URGENT_PRIORITY:
        return Condition.ALARM, active[0].message
    for bundle in telemetry.bundles:
        if bundle.state in _BROKEN:
            return Condition.ALARM, f"{bundle.bundle} {bundle.state.value}: {bundle.reason or 'no reason given'}"
    if telemetry.hold is not None:
        return Condition.WARN, f"held by {telemetry.hold.by}: {telemetry.hold.reason or 'no reason given'}"
    if active:
        return Condition.WARN, active[0].message
    for bundle in telemetry.bundles:
        if bundle.state is WorkerState.STARTING:
            return Condition.WARN, f"{bundle.bundle} is starting"
        for source in bundle.sources:
            if source.state != "up":
                return Condition.WARN, f"source {source.id} {source.state}: {source.reason or 'no data'}"
    return Condition.OK, ""


def suppressing(telemetry: Telemetry) -> OutOfService | None:
    """Who took the node out of service, while its alerts are suppressed by design (ISA-18.2): up to the end named."""
    out = telemetry.out_of_service
    return None if out is None or (out.until_us is not None and telemetry.wall_us > out.until_us) else out


def unknown_reason(view: NodeView, now_s: float) -> str:
    """Since when and why a node's state is not known."""
    if view.link is LinkState.CONNECTING and view.telemetry_at_s is None and not view.link_error:
        return "connecting"
    age_s = view.age_s(now_s)
    since = f"unknown since {clock(view.link_since_wall_s)}" if view.link_since_wall_s else "unknown"
    if view.link is LinkState.ONE_WAY:
        return f"one-way: {view.link_error or 'nothing is known of it'}"
    if view.link in (LinkState.UP, LinkState.STALE):
        return f"{since}, no telemetry" if age_s is not None else "up, no telemetry yet"
    why = f"{view.link.value}: {view.link_error}" if view.link_error else view.link.value
    return f"{since}, {why}"


def _alerts_of(view: NodeView) -> list[BoardAlert]:
    assert view.telemetry is not None
    out = suppressing(view.telemetry)
    return [_alert(view, alert, f"out of service by {out.by}" if out else "") for alert in view.telemetry.alerts]


def _alert(view: NodeView, alert: Alert, suppressed: str) -> BoardAlert:
    return BoardAlert(
        node=view.name,
        id=alert.id,
        code=alert.code,
        priority=alert.priority,
        state=alert.state,
        subject=alert.subject,
        message=alert.message,
        advice=alert.advice,
        since_s=alert.raised_us / 1e6 - (view.clock_offset_s or 0.0),
        acknowledged_by=alert.acknowledged_by,
        suppressed=suppressed,
        shelved_by=alert.shelved_by,
        shelved_s_left=alert.shelved_s_left,
        note=alert.note,
    )


def _unreachable(nodes: Mapping[str, NodeState], acknowledged: Mapping[str, str]) -> list[BoardAlert]:
    """One alert a node that does not answer; one for a jump host behind which none does."""
    lost = [s for s in nodes.values() if not s.known and s.view.link is not LinkState.CONNECTING]
    behind: dict[str, list[NodeState]] = defaultdict(list)
    reached = {s.view.address.jumps[0] for s in nodes.values() if s.known and s.view.address.jumps}
    for state in lost:
        if state.view.address.jumps and state.view.address.jumps[0] not in reached:
            behind[state.view.address.jumps[0]].append(state)
    found: list[BoardAlert] = []
    for jump, states in sorted(behind.items()):
        if len(states) > 1:
            found.append(_link_alert(states[0], f"{len(states)} nodes behind {jump} do not answer", acknowledged))
            lost = [s for s in lost if s not in states]
    return found + [_link_alert(s, s.reason, acknowledged) for s in lost]


def _link_alert(state: NodeState, message: str, acknowledged: Mapping[str, str]) -> BoardAlert:
    view = state.view
    refused = view.link is LinkState.REFUSED
    alert = BoardAlert(
        node=view.name,
        id=0,
        code=f"LINK.{view.link.name}",
        priority=2 if refused else 3,
        state=AlertState.RAISED,
        subject="link",
        message=message,
        advice=view.link_hint or "see that the node has power and network; its last state is not shown",
        since_s=view.link_since_wall_s,
    )
    who = acknowledged.get(alert.key, "")
    if not who:
        return alert
    return BoardAlert(
        **{f: getattr(alert, f) for f in BoardAlert.__slots__ if f not in ("state", "acknowledged_by")},
        state=AlertState.ACKNOWLEDGED,
        acknowledged_by=who,
    )
