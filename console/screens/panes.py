"""The tabs of a node: each draws one thing and knows what to fetch for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from console import figures
from console.client.clocks import made_us
from console.fleet.board import NodeState
from console.records.labels import offered
from console.screens.deployment import state_role, state_words
from nodeagent.protocol import (
    ContextTelemetry,
    Deployment,
    Record,
    ReviewQueue,
    SinkTelemetry,
    SourceTelemetry,
    StageTelemetry,
)
from widgets.look import Look, Role, Span
from widgets.table import GROUP_MARK, Column, Row, Table

_QUALITY = ("good", "uncertain", "bad")
_QUALITY_ROLES: tuple[Role, ...] = ("dim", "warn", "alarm")

STAGES = (
    Column("name", "STAGE", 20, flex=1, width_max=34),
    Column("state", "STATE", 9),
    Column("total", "PASSED", 10, right=True),
    Column("rate", "PER S", 6, fold=2, right=True),
    Column("marked", "MARKED", 6, fold=3, right=True),
    Column("last", "LAST VALUE", 16, fold=1, flex=3),
)
RECORDS = (
    Column("at", "TIME", 8),
    Column("score", "SCORE", 7, right=True),
    Column("label", "LABEL", 14, flex=1, width_max=24),
    Column("decision", "DECISION", 10, flex=1, width_max=16),
    Column("quality", "QUALITY", 9),
    Column("latency", "MS", 6, fold=1, right=True),
    Column("revision", "REV", 5, fold=2, right=True),
    Column("reason", "REASON", 14, fold=3, flex=2),
    Column("context", "CONTEXT", 18, fold=4, flex=1, width_max=40),
    Column("key", "KEY", 16, fold=5, right=True),
)
DEPLOYMENTS = (
    Column("at", "WHEN", 12),
    Column("bundle", "BUNDLE", 16, flex=2, width_max=30),
    Column("state", "STATE", 24, flex=1, width_max=34),
    Column("revision", "REV", 10, fold=1),
    Column("actor", "DEPLOYER", 8, flex=1, width_max=16),
    Column("gap", "GAP ms", 6, fold=2, right=True),
    Column("reach", "REACHED", 8, fold=3),
    Column("error", "WHY", 20, fold=4, flex=3),
)


class PipelinePane(Table):
    """Each stage with its rate, what it marked, and the last value that left it."""

    def __init__(self, look: Look) -> None:
        super().__init__(STAGES, self._stage_row, look)
        self._stages: dict[str, Row] = {}
        self._before: dict[str, tuple[int, float, str]] = {}

    def draw_state(self, state: NodeState, now_s: float) -> None:
        """Shows the pipelines of a node."""
        rows: dict[str, Row] = {}
        for bundle in state.bundles:
            rows[GROUP_MARK + bundle.bundle] = Row(
                {"group": (f"{bundle.bundle} {bundle.version}", "strong"), "totals": (f"model {bundle.model}", "dim")}
            )
            prefix = bundle.bundle + "/"
            sources = {f"source {source.id}": source for source in bundle.sources}
            for name, source in sources.items():
                rows[prefix + name] = _source_row(source)
            for i, stage in enumerate(bundle.stages):
                key = f"{prefix}{i}/{stage.name}"
                row = self._step_row(stage, key, now_s)
                if stage.name in sources:
                    key, row = prefix + stage.name, _joined(rows[prefix + stage.name], row)
                rows[key] = row
            now = bundle.last.context if bundle.last is not None else ""
            for context in reversed(bundle.contexts):
                rows[f"{prefix}context/{context.context}"] = _context_row(context, now)
            for sink in bundle.sinks:
                rows[f"{prefix}sink/{sink.type}"] = _sink_row(sink)
        note = "Nothing installed." if state.known else state.reason
        self.empty = (note,)
        changed = [key for key, row in rows.items() if self._stages.get(key) != row]
        self._stages = rows
        self.set_keys(list(rows))
        self.touch(changed)

    def stage(self) -> tuple[str, str] | None:
        """Bundle and name of the stage under the cursor; None for a sink, a context or a line between bundles."""
        bundle, slash, rest = (self.key or "").partition("/")
        if not slash or bundle.startswith(GROUP_MARK) or rest.startswith(("sink/", "context/")):
            return None
        return bundle, rest if rest.startswith("source ") else rest.partition("/")[2]

    def _stage_row(self, key: str) -> Row:
        return self._stages.get(key, Row({}))

    def _step_row(self, stage: StageTelemetry, key: str, now_s: float) -> Row:
        total, at_s, rate = self._before.get(key, (stage.frames_total, now_s, ""))
        if now_s - at_s >= 1.0:
            rate = figures.rate((stage.frames_total - total) / (now_s - at_s))
        if now_s - at_s >= 1.0 or key not in self._before:
            self._before[key] = (stage.frames_total, now_s, rate)
        word = _QUALITY[stage.quality] if 0 <= stage.quality < 3 else figures.UNKNOWN
        return Row(
            {
                "name": (f"  {stage.name}", "base"),
                "state": (word, _QUALITY_ROLES[stage.quality] if 0 <= stage.quality < 3 else "unknown"),
                "total": (f"{stage.frames_total:,}", "base"),
                "rate": (rate or figures.NONE, "base"),
                "marked": (f"{stage.marked_total:,}", "base"),
                "last": (f"{stage.last} {stage.reason}".strip(), "base"),
            }
        )


def _joined(source: Row, stage: Row) -> Row:
    """A source and the stage of its name in one row: how the connection is, and what comes over it."""
    value = stage.cells["last"][0]
    last = f"{value}  {source.cells['last'][0]}" if value else source.cells["last"][0]
    return Row(source.cells | {"rate": stage.cells["rate"], "last": (last, "base")})


def _source_row(source: SourceTelemetry) -> Row:
    up = source.state == "up"
    bad = f"bad: {', '.join(source.bad_items)}" if source.bad_items else ""
    age = f"{figures.age(source.age_s)} ago" if source.age_s is not None else "never"
    return Row(
        {
            "name": (f"  source {source.id}", "strong"),
            "state": (source.state, "dim" if up else "warn"),
            "total": (f"{source.samples_total:,}", "base"),
            "marked": (f"{source.drops_total:,}", "base"),
            "last": (f"{source.type}  {age}  {source.reason} {bad}".strip(), "base"),
        }
    )


def _context_row(context: ContextTelemetry, now: str) -> Row:
    """What the pipeline did under one product and the like; the one at work says so."""
    seen = context.outcomes_total
    good = f"good {100 * context.good_total / seen:.1f} %" if seen else ""
    p95 = f"p95 {figures.number(context.latency_ms_p95)} ms" if context.latency_ms_p95 is not None else ""
    alarms = f"{context.alarms_total:,} alarms" if context.alarms_total else ""
    return Row(
        {
            "name": (f"  {context.context}", "base"),
            "state": ("now", "strong") if context.context == now else ("", "dim"),
            "total": (f"{context.predictions_total:,}", "base"),
            "rate": (
                figures.NONE if context.inferences_per_s is None else figures.rate(context.inferences_per_s),
                "base",
            ),
            "marked": (f"{seen - context.good_total:,}", "base"),
            "last": ("  ".join(part for part in (p95, good, alarms) if part), "base"),
        }
    )


def _sink_row(sink: SinkTelemetry) -> Row:
    lost = f"lost {sink.dropped_total:,}" if sink.dropped_total else ""
    room = f" of {sink.waiting_max:,}" if sink.waiting_max else ""
    waiting = f"{sink.waiting:,}{room} waiting"
    return Row(
        {
            "name": (f"  sink {sink.type}", "strong"),
            "state": (sink.state, "dim" if sink.state == "up" else "warn"),
            "total": (f"{sink.delivered_total:,}", "base"),
            "marked": (f"{sink.dropped_total:,}", "warn" if sink.dropped_total else "base"),
            "last": (f"{waiting}  {lost} {sink.reason}".strip(), "base"),
        }
    )


class RecordsPane(Table):
    """The newest records, newest first."""

    def __init__(self, look: Look) -> None:
        super().__init__(RECORDS, self._record_row, look)
        self.records: dict[str, Record] = {}
        self.offset_s: float | None = None
        self.older: int | None = None
        self.why: dict[str, str] = {}
        self.empty = ("No records yet.",)

    def add(self, records: Sequence[Record], older: int | None, offset_s: float | None, *, anew: bool) -> None:
        """Shows a page: instead of what was there, or after it."""
        if anew:
            self.records = {}
        self.records |= {str(record.key): record for record in records}
        self.why = {}
        self.older, self.offset_s = older, offset_s
        self.set_keys(list(self.records))
        self.refresh()

    def show_queue(self, queue: ReviewQueue, offset_s: float | None) -> None:
        """Shows what waits to be labelled instead, the most telling first."""
        self.add([item.record for item in queue.items], None, offset_s, anew=True)
        self.why = {str(item.record.key): item.why for item in queue.items}
        self.refresh()

    def labelled(self, record: Record, label: str) -> None:
        """Shows a label that a person has just given; in the queue the next record is under the cursor."""
        key = str(record.key)
        if key in self.records:
            self.records[key] = msgspec.structs.replace(record, label=label)
            self.touch([key])
        if key in self.why and self.key == key:
            self.action_step(1)

    @property
    def record(self) -> Record | None:
        """The record under the cursor."""
        return self.records.get(self.key or "")

    def labels(self) -> list[str]:
        """The labels that a digit can give."""
        return offered(list(self.records.values()))

    def _record_row(self, key: str) -> Row:
        r = self.records[key]
        bad = r.decision.casefold() in ("alarm", "reject", "fail", "bad")
        cells: dict[str, Span] = {
            "at": (figures.moment(made_us(r, self.offset_s)), "dim"),
            "score": (figures.number(r.score) if r.score is not None else figures.NONE, "base"),
            "label": (r.label, "strong" if bad else "base"),
            "decision": (r.decision, "strong" if bad else "base"),
            "quality": (_QUALITY[min(2, max(0, r.quality))], _QUALITY_ROLES[min(2, max(0, r.quality))]),
            "latency": (figures.number(r.latency_us / 1e3), "base"),
            "revision": (f"r{r.revision}", "dim"),
            "reason": (f"{self.why.get(key, '')} {r.reason}".strip(), "dim"),
            "context": (r.context, "dim"),
            "key": (str(r.key), "dim"),
        }
        return Row(cells)


class DeploymentsPane(Table):
    """What was deployed here, newest first, and how it ended."""

    def __init__(self, look: Look) -> None:
        super().__init__(DEPLOYMENTS, self._deployment_row, look)
        self.deployments: dict[str, Deployment] = {}
        self.empty = ("No deployments yet.", "d deploys a bundle")

    def show(self, deployments: Sequence[Deployment]) -> None:
        """Shows these."""
        self.deployments = {d.id: d for d in deployments}
        self.set_keys(list(self.deployments))
        self.refresh()

    @property
    def deployment(self) -> Deployment | None:
        """The deployment under the cursor."""
        return self.deployments.get(self.key or "")

    def _deployment_row(self, key: str) -> Row:
        d = self.deployments[key]
        before = f"r{d.previous_revision}" if d.previous_revision else figures.NONE
        return Row(
            {
                "at": (figures.day_and_time(d.created_us), "dim"),
                "bundle": (f"{d.bundle} {d.version}", "base"),
                "state": (state_words(d), state_role(d)),
                "revision": (f"{before}>r{d.revision}" if d.revision else figures.NONE, "base"),
                "actor": (d.actor, "base"),
                "gap": (figures.whole(d.switch_gap_ms) if d.switch_gap_ms is not None else figures.NONE, "base"),
                "reach": (d.reachability or figures.NONE, "dim"),
                "error": (f"{d.error.message} ({d.error.code})" if d.error else "", "base"),
            }
        )
