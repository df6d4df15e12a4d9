"""The shift report as rows of words, which its forms only dress: Markdown, and a page for a browser. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from console import figures
from console.charts.chart import FIGURES, Figure, Window
from console.charts.plot import plot_of
from console.charts.readings import Plot
from console.shift.report import AlertSpan, BundleShift, Change, NodeShift, ShiftReport, Stretch
from nodeagent.protocol import Trend

NOTHING: Final = "nothing"
# The year 9999; what a node says of its time may be anything.
TIME_S_MAX: Final = 253_402_300_799.0
RAN: Final = ("bundle", "version", "revision", "state", "since", "by", "signed by", "digest")
CHANGES: Final = ("time", "who", "what", "of", "change", "")
ALERTS: Final = ("from", "to", "stood for", "priority", "code", "what", "seen by")
BEHAVIOUR: Final = (
    "bundle", "now", "predictions", "rejects", "decisions", "worst p95", "restarts", "not recorded", "drift",
    "unknown for",
)  # fmt: skip
SUMMARY: Final = ("node", "site", "bundles", "up for", "changes", "alerts", "ledger", "not known")


def span_text(seconds: float) -> str:
    """How long something was: `45s`, `12m`, `3h 20m`."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f}s"
    hours = minutes // 60
    return f"{hours}h {minutes % 60:02}m" if hours else f"{minutes}m"


def moment(at_s: float) -> str:
    """Day and time of this console's clock, with the year: a report is kept. `?` for one that no calendar holds."""
    if not 0 <= at_s <= TIME_S_MAX:
        return "?"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))


def title(report: ShiftReport) -> str:
    return f"Shift report, {moment(report.first_s)} to {moment(report.last_s)}"


def subtitle(report: ShiftReport) -> str:
    missing = len(report.not_reached)
    reached = f"{len(report.nodes) - missing} of {figures.counted(len(report.nodes), 'node')} reached"
    return f"Made by {report.by}. {reached}. Times are of the console's clock ({time.strftime('%Z')})."


def summary_row(node: NodeShift) -> tuple[str, ...]:
    """One node of the first table; what is not known reads `?`."""
    if not node.reached:
        return (node.node, node.site, "?", "?", "?", "?", "?", "NOT REACHED: " + "; ".join(node.unknown))
    bundles = ", ".join(f"{b.bundle} {b.version} r{b.revision}" for b in node.bundles) or "nothing installed"
    up = "?" if node.uptime_s is None else span_text(node.uptime_s)
    unknown = "; ".join(node.unknown)
    return (node.node, node.site, bundles, up, str(len(node.changes)), str(len(node.alerts)), node.ledger, unknown)


def ran_row(one: Stretch, first_s: float) -> tuple[str, ...]:
    since = ("before: " if one.since_s < first_s else "") + moment(one.since_s)
    revision = "stopped" if one.revision is None else f"r{one.revision}"
    return (one.bundle, one.version, revision, one.state, since, one.by, one.signer, one.digest[:19])


def change_row(change: Change) -> tuple[str, ...]:
    return (moment(change.at_s), change.who, change.what, change.of, change.number, change.detail)


def alert_row(span: AlertSpan) -> tuple[str, ...]:
    to = "STANDS" if span.cleared_s is None else moment(span.cleared_s)
    what = f"{span.subject}: {span.message}" if span.subject else span.message
    note = f": {span.note}" if span.note else ""
    by = f"{span.acknowledged_by}{note}" if span.acknowledged_by else "nobody"
    return (moment(span.raised_s), to, span_text(span.stood_s), str(span.priority), span.code, what, by)


def behaviour_row(one: BundleShift) -> tuple[str, ...]:
    decisions = ", ".join(f"{name or 'none'} {count:,}" for name, count in one.decisions.items()) or NOTHING
    if not one.decided_all and one.decided_since_s is not None:
        decisions += f" (newest {one.decided_of:,} records, from {moment(one.decided_since_s)})"
    return (
        one.bundle,
        one.state,
        "?" if one.predictions is None else f"about {one.predictions:,.0f}",
        "?" if one.rejects is None else f"about {one.rejects:,.0f}",
        decisions,
        "?" if one.latency_ms_worst is None else f"{figures.number(one.latency_ms_worst)} ms",
        str(one.restarts_total),
        str(one.records_lost_total),
        one.drift,
        span_text(one.unknown_s) if one.unknown_s else "",
    )


def gap_texts(one: BundleShift) -> list[str]:
    """Where nothing is known."""
    return [f"{moment(begin)} to {moment(end)} ({span_text(end - begin)})" for begin, end in one.gaps]


def plots(one: BundleShift, node: NodeShift, report: ShiftReport) -> Iterator[tuple[Figure, Plot]]:
    """The app's charts of this bundle over the shift, those in which anything is known."""
    window = Window(report.first_s, report.last_s)
    trends: dict[tuple[str, str], Trend] = {(node.node, one.bundle): one.trend}
    for figure in FIGURES:
        plot = plot_of(trends, {node.node: node.offset_s or 0.0}, figure, window)
        if any(value is not None for series in plot.series for _, value in series.points):
            yield figure, plot
