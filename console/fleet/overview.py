"""The overview of a node as lines: what is wrong, what runs, how it does, what changed in the last day. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console import figures
from console.charts.chart import P95, RATE, points_of
from console.charts.latency import bins_of, fitted
from console.fleet.board import Board, NodeState
from console.fleet.query import disk_percent
from console.fleet.view import Condition, LinkState
from nodeagent.protocol import BundleTelemetry, Deployment, Trend
from widgets.cells import cut, pad, wrap
from widgets.histogram import bars
from widgets.look import Look, Role, Span, Spans
from widgets.status import ALARM, OK, UNKNOWN, WARN, State, glyph
from widgets.trend import chart, meter

DAY_US: Final = 86_400 * 1_000_000
CHART_LINES: Final = (3, 5, 8)
LABEL_CELLS: Final = 10
HISTOGRAM_WIDTH: Final = 120
BAR_CELLS_MAX: Final = 3
_CONDITIONS: Final[dict[Condition, State]] = {
    Condition.ALARM: ALARM,
    Condition.WARN: WARN,
    Condition.UNKNOWN: UNKNOWN,
    Condition.OK: OK,
}


def overview(
    state: NodeState,
    board: Board,
    trends: dict[str, Trend],
    deployments: Sequence[Deployment] | None,
    width: int,
    look: Look,
    height: int = 20,
) -> list[Spans]:
    """The page of one node at a width; charts are as high as there is room."""
    chart_lines = CHART_LINES[0 if height < 26 or len(state.bundles) > 1 else 1 if height < 34 else 2]
    lines = _trouble(state, board, width, look)
    if not state.known:
        lines += _not_known(state, width)
        return [*lines, (), *_changes(state, board, deployments, width)]
    for bundle in state.bundles:
        lines += [*_bundle(bundle, state, trends.get(bundle.bundle), width, look, chart_lines), ()]
    if not state.bundles:
        lines += [((" nothing installed", "strong"), ("   d deploys a bundle", "dim")), ()]
    lines += [*_host(state, width, look), ()]
    return lines + _changes(state, board, deployments, width)


def _label(text: str) -> Span:
    return (f" {text}".ljust(LABEL_CELLS), "dim")


def _trouble(state: NodeState, board: Board, width: int, look: Look) -> list[Spans]:
    lines: list[Spans] = []
    role: Role = _CONDITIONS.get(state.condition, OK).role
    if state.view.ledger_break:
        lines += [((f" {glyph(ALARM, look)} {line}" if i == 0 else f"   {line}", ALARM.role),)
                  for i, line in enumerate(wrap(state.view.ledger_break, width - 4))]  # fmt: skip
    if state.condition is Condition.MAINTENANCE:
        lines.append(((f" {state.reason}", "maintenance"),))
    for alert in board.alerts:
        if alert.node == state.view.name and alert.active:
            sign = ALARM if alert.urgent else WARN
            by = f", acknowledged by {alert.acknowledged_by}" if alert.acknowledged_by else ""
            lines.append(((" ", "base"), (f"{glyph(sign, look)} {alert.subject}", sign.role),
                          (f" {cut(alert.message, width - len(alert.subject) - 6)}", "strong")))  # fmt: skip
            note = f"since {figures.clock(alert.since_s)}{by}. Do: {alert.advice}"
            lines += [((f"   {line}", "base"),) for line in wrap(note, width - 4)]
    if not lines and state.reason:
        lines = [((f" {line}", role),) for line in wrap(state.reason, width - 2)]
    return [*lines, ()] if lines else []


def _not_known(state: NodeState, width: int) -> list[Spans]:
    view = state.view
    address = view.address
    way = " via ".join([f"{address.user or ''}@{address.host}:{address.port}".lstrip("@"), *reversed(address.jumps)])
    lines: list[Spans] = [(_label("link"), (view.link.value, "strong"), (f"  {view.link_error}", "base"))]
    if view.link is not LinkState.ONE_WAY:
        lines.append((_label("address"), (cut(way, width - LABEL_CELLS), "base")))
    if view.link_hint:
        lines += [(_label("do" if i == 0 else ""), (line, "base")) for i, line in
                  enumerate(wrap(view.link_hint, width - LABEL_CELLS - 1))]  # fmt: skip
    lines.append((_label(""), ("nothing that was known before is shown: it may no longer be true", "dim")))
    return lines


def _bundle(
    bundle: BundleTelemetry, state: NodeState, trend: Trend | None, width: int, look: Look, chart_lines: int
) -> list[Spans]:
    value: Role = "dim" if state.stale else "base"
    head: list[Span] = [
        (f" {bundle.bundle} {bundle.version} r{bundle.revision}", "title"),
        (f"  {bundle.state}", value),
    ]
    if bundle.trial is not None:
        left = figures.countdown(bundle.trial.seconds_left)
        back = f"r{bundle.trial.previous_revision}" if bundle.trial.previous_revision else "nothing"
        head += [(f"  trial {left}", "strong"), (f"  then back to {back}   t watches it", "dim")]
    else:
        head.append((f"  {bundle.digest[:19]}", "dim"))
    lines = [tuple(head), *_charts(bundle, state, trend, width, look, chart_lines)]
    share = bundle.quality_good_share
    good = figures.UNKNOWN if share is None else f"{100 * share:.1f} %"
    facts = (
        f"rejects {figures.rate(bundle.rejects_per_s)}/s   errors {bundle.errors_total}   good {good}"
        f"   drift {bundle.drift}"
    )
    queue = (
        f"{bundle.queue:,} of {bundle.queue_max:,} queued   lost {bundle.records_lost_total}"
        f"   restarts {bundle.restarts_total}   memory {figures.size(bundle.memory_bytes)}"
    )
    lines += [(_label("quality"), (cut(facts, width - LABEL_CELLS), value)),
              (_label("records"), (cut(queue, width - LABEL_CELLS), value))]  # fmt: skip
    if bundle.last is not None:
        last = bundle.last
        said = [figures.moment(last.wall_us, state.view.clock_offset_s), f"score {figures.number(last.score)}"]
        words = "  ".join([*said, *(word for word in (last.label, last.decision, last.context, last.reason) if word)])
        lines.append((_label("last"), (cut(words, width - LABEL_CELLS), value)))
    return lines


def _charts(
    bundle: BundleTelemetry, state: NodeState, trend: Trend | None, width: int, look: Look, height: int
) -> list[Spans]:
    """Throughput and latency side by side, of the node's rollups or of what this console saw; latencies where wide."""
    parts = 3 if width >= HISTOGRAM_WIDTH else 2
    part = (width - 1 - parts) // parts
    rates = [v for _, v in points_of(trend, RATE)] if trend else list(state.view.rate_trend)
    p95s = [v for _, v in points_of(trend, P95)] if trend else []
    drawn = [
        chart(rates, part - 1, height, look),
        chart(p95s, part - 1, height, look) if p95s else [""] * height,
        histogram(bundle.latency_histogram_ms, part - 1, height, look),
    ][:parts]
    value: Role = "dim" if state.stale else "strong"
    heads: list[Span] = [
        (pad(" inferences/s ", 14), "dim"), (pad(figures.rate(bundle.inferences_per_s), part - 14), value),
        ("  p95 ms ", "dim"), (pad(figures.number(bundle.latency_ms_p95), part - 8), value),
    ]  # fmt: skip
    if parts == 3:
        heads += [(" latencies, p99 ms ", "dim"), (figures.number(bundle.latency_ms_p99), value)]
    lines: list[Spans] = [tuple(heads)]
    lines += [((" " + "  ".join(pad(line, part - 1) for line in row), "base"),) for row in zip(*drawn, strict=True)]
    return lines


def histogram(histogram_ms: Sequence[tuple[float, int]], width: int, height: int, look: Look) -> list[str]:
    """A small picture of how latencies are spread, with the shortest and the longest under it."""
    bins = fitted(bins_of(histogram_ms), width)
    if not bins or height < 3:
        return [""] * height
    cells = min(BAR_CELLS_MAX, width // len(bins))
    low, high = (f"{figures.number(ms)} ms" for ms in (bins[0].low_ms, bins[-1].high_ms))
    axis = low + high.rjust(max(0, len(bins) * cells - len(low)))
    return [*bars([b.count for b in bins], cells, height - 1, look), axis]


def _host(state: NodeState, width: int, look: Look) -> list[Spans]:
    view, telemetry = state.view, state.view.telemetry
    assert telemetry is not None
    host = telemetry.host
    role: Role = "dim" if state.stale else "base"
    bar = 8 if width < 100 else 14
    memory = figures.share(host.memory_bytes_used, host.memory_bytes_total)
    spans: list[Span] = [_label("host")]
    for name, percent in (("cpu", host.cpu_percent), ("memory", memory), ("disk", disk_percent(state))):
        share = None if percent is None else percent / 100
        spans += [(f"{name} {figures.whole(percent):>3} % ", role), (meter(share, bar, look), "dim"), ("  ", "base")]
    days = "" if host.disk_days_left is None else f"{host.disk_days_left:.0f} days to full"
    up = f"up {figures.age(host.uptime_s)}   agent {view.status.agent_version if view.status else figures.UNKNOWN}"
    second = f"{figures.whole(host.temperature_c)} °C   {days}   {up}   clock {figures.offset(view.clock_offset_s)}"
    if view.link is LinkState.ONE_WAY:
        third = (
            f"one-way, {view.link_error}: report {view.report_number}, {view.reports_lost} lost; no command goes there"
        )
        return [tuple(spans), (_label(""), (cut(second, width - LABEL_CELLS), role)),
                (_label("diode"), (cut(third, width - LABEL_CELLS), "strong"))]  # fmt: skip
    way = " via ".join([f"{view.address.user}@{view.address.host}".lstrip("@"), *reversed(view.address.jumps)])
    third = f"{figures.milliseconds(view.rtt_ms)} by {view.link_mode or 'ssh'}   {way}"
    return [tuple(spans), (_label(""), (cut(second, width - LABEL_CELLS), role)),
            (_label("link"), (cut(third, width - LABEL_CELLS), role))]  # fmt: skip


def _changes(state: NodeState, board: Board, deployments: Sequence[Deployment] | None, width: int) -> list[Spans]:
    lines: list[Spans] = [((" what changed in the last 24 h", "title"),)]
    since_us = int(board.wall_s * 1e6) - DAY_US
    found: list[tuple[int, str]] = []
    for deployment in deployments or ():
        if deployment.changed_us >= since_us:
            word = deployment.state.value + (f" {deployment.reason.value}" if deployment.reason else "")
            word += f" by {deployment.ended_by}" if deployment.ended_by else ""
            text = f"{deployment.bundle} {deployment.version} {word}, deployed by {deployment.actor or figures.UNKNOWN}"
            found.append((deployment.changed_us, text))
    for alert in board.alerts:
        if alert.node == state.view.name and alert.id and alert.since_s * 1e6 >= since_us:
            found.append((int(alert.since_s * 1e6), f"alert: {alert.message}"))
    if state.view.link_since_wall_s * 1e6 >= since_us:
        found.append((int(state.view.link_since_wall_s * 1e6), f"link {state.view.link.value}"))
    for at_us, text in sorted(found, reverse=True):
        lines.append(((f" {figures.day_and_time(at_us)}  ", "dim"), (cut(text, width - 16), "base")))
    if deployments is None and state.known:
        lines.append(((" deployments are being fetched", "dim"),))
    return lines if len(lines) > 1 else [*lines, ((" nothing", "dim"),)]
