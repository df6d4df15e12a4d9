"""What a shift was, node by node: what ran, who changed what, alerts, how the models did, what is not known. Pure.

Times are of this console's clock: what a node says is moved by the offset of its clock.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from console.client.clean import clean_all
from console.ledgers.past import past
from nodeagent.protocol import Alert, BundleTelemetry, Record, Status, Trend
from store.ledger import Entry

CHANGES_MAX: Final = 500
ALERTS_MAX: Final = 500
GAPS_MAX: Final = 50
TEXT_CHARS_MAX: Final = 300
GAP_STEPS: Final = 2.5
# The agent's own word of alerts: they are told as alerts.
_NOT_CHANGES: Final = ("alert.raise", "alert.clear")
# Of an entry's detail: what has a column of its own, and what only the machine needs.
_TOLD_ELSEWHERE: Final = ("change_number", "boot_id", "deadline_us", "window_us", "tries", "from")
_RUNS: Final = ("deployment.trial", "deployment.committed", "deployment.rolled_back")


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One revision as it ran. `since_s` before the shift: it ran at its beginning."""

    bundle: str
    version: str
    revision: int | None
    state: str
    since_s: float
    by: str
    signer: str
    digest: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the node's ledger."""

    seq: int
    at_s: float
    who: str
    what: str
    of: str
    number: str
    detail: str


class AlertSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One alert from when to when; `cleared_s` None: it stands. Durations are within the shift."""

    code: str
    priority: int
    subject: str
    message: str
    raised_s: float
    cleared_s: float | None
    stood_s: float
    acknowledged_by: str
    note: str


class BundleShift(msgspec.Struct, frozen=True, kw_only=True):
    """How one bundle did. Counts of predictions and rejects are integrals of rates: None where no rate is known.

    `decisions` are of `decided_of` records from `decided_since_s` on. `unknown_s`: how long nothing is known of it.
    """

    bundle: str
    version: str
    revision: int
    state: str
    drift: str
    predictions: float | None
    rejects: float | None
    restarts_total: int
    records_lost_total: int
    decisions: dict[str, int]
    decided_of: int
    decided_since_s: float | None
    decided_all: bool
    latency_ms_worst: float | None
    unknown_s: float
    gaps: list[tuple[float, float]]
    trend: Trend


class NodeShift(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the report. `unknown`: what is not known of it, each with its reason; `reached` False: nothing is."""

    node: str
    site: str
    reached: bool
    unknown: list[str] = []
    agent_version: str = ""
    uptime_s: float | None = None
    offset_s: float | None = None
    mode: str = ""
    ledger: str = ""
    ran: list[Stretch] = []
    changes: list[Change] = []
    alerts: list[AlertSpan] = []
    bundles: list[BundleShift] = []


class ShiftReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, from `first_s` to `last_s`, made by `by`."""

    first_s: float
    last_s: float
    by: str
    nodes: list[NodeShift]

    @property
    def not_reached(self) -> list[NodeShift]:
        return [node for node in self.nodes if not node.reached]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a node answered. `entries`: of the verified copy of its ledger, oldest first; `ledger`: how that stands."""

    status: Status
    offset_s: float
    entries: Sequence[Entry]
    ledger: str
    alerts: Sequence[Alert]
    alerts_all: bool
    trends: dict[str, Trend]
    records: dict[str, Sequence[Record]]
    records_all: dict[str, bool]
    unknown: list[str]


def node_shift(name: str, site: str, seen: Seen, first_s: float, last_s: float) -> NodeShift:
    """The node's part of the report."""
    telemetry, offset_s = seen.status.telemetry, seen.offset_s
    changes, left = _changes(seen.entries, first_s, offset_s)
    unknown = list(seen.unknown)
    if left:
        unknown.append(f"{left} older changes of this shift are not listed: outstation ledger show {name}")
    if not seen.alerts_all:
        unknown.append(f"only the newest {len(seen.alerts)} alerts were fetched; there may have been older ones")
    spans = [_span(alert, first_s, last_s, offset_s) for alert in seen.alerts]
    inside = [span for span in spans if span.cleared_s is None or span.cleared_s >= first_s]
    if len(inside) > ALERTS_MAX:
        unknown.append(f"{len(inside) - ALERTS_MAX} more alerts are not listed")
    return NodeShift(
        node=name,
        site=site,
        reached=True,
        unknown=unknown,
        agent_version=seen.status.agent_version,
        uptime_s=telemetry.host.uptime_s,
        offset_s=offset_s,
        mode=telemetry.mode,
        ledger=seen.ledger,
        ran=_ran(seen.entries, first_s, offset_s),
        changes=changes,
        alerts=sorted(inside, key=lambda span: span.raised_s)[-ALERTS_MAX:],
        bundles=[_bundle(bundle, seen, first_s, last_s) for bundle in telemetry.bundles],
    )


def _changes(entries: Sequence[Entry], first_s: float, offset_s: float) -> tuple[list[Change], int]:
    """What was changed in the shift, oldest first, and how many entries were left out."""
    found = []
    for entry in entries:
        at_s = entry.wall_us / 1e6 - offset_s
        if at_s < first_s or entry.action in _NOT_CHANGES:
            continue
        plain = clean_all(entry._asdict(), TEXT_CHARS_MAX)
        detail = {k: v for k, v in plain["detail"].items() if v not in ("", None) and k not in _TOLD_ELSEWHERE}
        found.append(Change(
            seq=entry.seq, at_s=at_s, who=plain["actor"], what=plain["action"], of=plain["subject"],
            number=str(plain["detail"].get("change_number", "")),
            detail=", ".join(f"{name} {value}" for name, value in detail.items())[:TEXT_CHARS_MAX],
        ))  # fmt: skip
    return found[-CHANGES_MAX:], max(0, len(found) - CHANGES_MAX)


def _ran(entries: Sequence[Entry], first_s: float, offset_s: float) -> list[Stretch]:
    """What ran at the beginning, and everything that began since."""
    first_us = round((first_s + offset_s) * 1e6)
    moments = [first_us] + [e.wall_us for e in entries if e.wall_us > first_us and e.action in _RUNS]
    found: dict[tuple[str, float, int | None], Stretch] = {}
    for moment in moments[:CHANGES_MAX]:
        for ran in past(entries, moment).ran:
            plain = clean_all([ran.bundle, ran.version, ran.state, ran.by, ran.signer, ran.digest], TEXT_CHARS_MAX)
            bundle, version, state, by, signer, digest = plain
            since_s = ran.since_us / 1e6 - offset_s
            found[bundle, since_s, ran.revision] = Stretch(
                bundle=bundle, version=version, revision=ran.revision, state=state, since_s=since_s, by=by,
                signer=signer, digest=digest,
            )  # fmt: skip
    return sorted(found.values(), key=lambda one: (one.bundle, one.since_s))


def _span(alert: Alert, first_s: float, last_s: float, offset_s: float) -> AlertSpan:
    raised_s = alert.raised_us / 1e6 - offset_s
    cleared_s = None if alert.cleared_us is None else alert.cleared_us / 1e6 - offset_s
    end_s = last_s if cleared_s is None else min(cleared_s, last_s)
    return AlertSpan(
        code=alert.code, priority=alert.priority, subject=alert.subject, message=alert.message, raised_s=raised_s,
        cleared_s=cleared_s, stood_s=max(0.0, end_s - max(raised_s, first_s)), acknowledged_by=alert.acknowledged_by,
        note=alert.note,
    )  # fmt: skip


def _bundle(now: BundleTelemetry, seen: Seen, first_s: float, last_s: float) -> BundleShift:
    trend = seen.trends.get(now.bundle, Trend(bundle=now.bundle, step_s=1.0, points=[]))
    records = [r for r in seen.records.get(now.bundle, ()) if _at_s(r, seen.offset_s) >= first_s]
    latencies = [p.latency_ms_p95 for p in trend.points if p.latency_ms_p95 is not None]
    found = gaps(trend, first_s, last_s, seen.offset_s)
    return BundleShift(
        bundle=now.bundle,
        version=now.version,
        revision=now.revision,
        state=now.state,
        drift=now.drift,
        predictions=_integral((p.inferences_per_s for p in trend.points), trend.step_s),
        rejects=_integral((p.rejects_per_s for p in trend.points), trend.step_s),
        restarts_total=now.restarts_total,
        records_lost_total=now.records_lost_total,
        decisions=dict(Counter(record.decision for record in records).most_common(20)),
        decided_of=len(records),
        decided_since_s=min((_at_s(record, seen.offset_s) for record in records), default=None),
        decided_all=seen.records_all.get(now.bundle, False),
        latency_ms_worst=max(latencies, default=None),
        unknown_s=sum(end - begin for begin, end in found),
        gaps=found[-GAPS_MAX:],
        trend=trend,
    )


def _at_s(record: Record, offset_s: float) -> float:
    return record.at_us / 1e6 if record.at_us is not None else record.wall_us / 1e6 - offset_s


def _integral(rates: Iterable[float | None], step_s: float) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) * step_s if known else None


def gaps(trend: Trend, first_s: float, last_s: float, offset_s: float) -> list[tuple[float, float]]:
    """From when to when nothing is known, where that is longer than the trend's own steps."""
    known = sorted(p.wall_us / 1e6 - offset_s for p in trend.points if p.inferences_per_s is not None)
    edges = [first_s, *(at for at in known if first_s <= at <= last_s), last_s]
    wide_s = GAP_STEPS * trend.step_s
    return [(begin, end) for begin, end in itertools.pairwise(edges) if end - begin > wide_s]
