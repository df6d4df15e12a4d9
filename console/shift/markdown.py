"""The shift report as Markdown: tables, and a line of braille where a page has a chart. What nodes say is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from console import figures
from console.charts.readings import Plot
from console.client.clean import clean
from console.shift import words
from console.shift.report import BundleShift, NodeShift, ShiftReport
from widgets.look import grey
from widgets.trend import spark

SPARK_CELLS: Final = 48
# Marks, and what some readers make links of by themselves.
_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~>]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def markdown(report: ShiftReport) -> str:
    """The whole document."""
    lines = [f"# {text(words.title(report))}", "", text(words.subtitle(report)), ""]
    lines += _table(words.SUMMARY, [words.summary_row(node) for node in report.nodes])
    for node in report.nodes:
        lines += _node(node, report)
    return "\n".join(lines) + "\n"


def text(told: str) -> str:
    """Words that stay words, whatever reads the Markdown: no link, no markup, no HTML, one line."""
    plain = clean(told).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", plain)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = [f"| {' | '.join(text(cell) for cell in row)} |" for row in rows]
    if not body:
        return [words.NOTHING, ""]
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *body, ""]


def _node(node: NodeShift, report: ShiftReport) -> list[str]:
    lines = [f"## {text(node.node)}" + (f" ({text(node.site)})" if node.site else ""), ""]
    if not node.reached:
        return [*lines, f"**Not reached: nothing is known of it.** {text('; '.join(node.unknown))}", ""]
    lines += [f"- not known: {text(each)}" for each in node.unknown] + ([""] if node.unknown else [])
    lines += ["### What ran", "", *_table(words.RAN, [words.ran_row(one, report.first_s) for one in node.ran])]
    lines += ["### What changed, and by whom", ""]
    lines += _table(words.CHANGES, [words.change_row(change) for change in node.changes])
    lines += ["### Alerts", "", *_table(words.ALERTS, [words.alert_row(span) for span in node.alerts])]
    lines += ["### How the models did", ""]
    lines += _table(words.BEHAVIOUR, [words.behaviour_row(one) for one in node.bundles])
    for one in node.bundles:
        lines += _charts(one, node, report)
    return lines


def _charts(one: BundleShift, node: NodeShift, report: ShiftReport) -> list[str]:
    lines = [f"#### {text(one.bundle)}", ""]
    lines += [line for _, plot in words.plots(one, node, report) for line in _sparks(plot)]
    lines += [f"- nothing is known from {text(gap)}" for gap in words.gap_texts(one)]
    return [*lines, ""]


def _sparks(plot: Plot) -> list[str]:
    found = []
    for series in plot.series:
        values = _by_time(series.points, plot)
        known = [value for value in values if value is not None]
        if known:
            span = f"{figures.number(min(known))} to {figures.number(max(known))} {plot.unit}".rstrip()
            name = plot.title if len(plot.series) == 1 else f"{plot.title} {series.name}"
            limits = "".join(f", limit {x.side} {figures.number(x.value)} {x.code}" for x in plot.limits)
            found.append(f"- {text(name)}: `{spark(values, SPARK_CELLS, grey())}` {text(span + limits)}")
    return found


def _by_time(points: Sequence[tuple[float, float | None]], plot: Plot) -> list[float | None]:
    """One value a half cell of the window, the highest of it; None where nothing is known."""
    columns = 2 * SPARK_CELLS
    found: list[float | None] = [None] * columns
    for at_s, value in points:
        place = min(columns - 1, int((at_s - plot.window.first_s) / max(1e-9, plot.window.span_s) * columns))
        if value is not None:
            found[place] = value if (held := found[place]) is None else max(held, value)
    return found
