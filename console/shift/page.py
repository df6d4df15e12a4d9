"""The shift report as one page for a browser: no script, nothing fetched, prints well. What nodes say is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from console.client.clean import clean
from console.shift import words
from console.shift.report import BundleShift, NodeShift, ShiftReport
from console.shift.svg import svg

# A page that can load nothing, even where something in it were taken for markup.
_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 14px/1.4 sans-serif; margin: 2em auto; max-width: 70em; color: #111; background: #fff; }}
table {{ border-collapse: collapse; margin: .4em 0 1.2em; width: 100%; }}
th, td {{ border: 1px solid #bbb; padding: .2em .5em; text-align: left; vertical-align: top; }}
td {{ overflow-wrap: anywhere; }}
th {{ background: #eee; }}
.unknown {{ border-left: .5em solid #777; background: #f2f2f2; padding: .3em .7em; margin: .3em 0; }}
.unknown b::before {{ content: "? "; }}
figure {{ margin: .4em 0; break-inside: avoid; }}
figcaption {{ font-weight: bold; }}
svg {{ max-width: 100%; height: auto; }}
@media print {{
  body {{ margin: 0; max-width: none; font-size: 10pt; }}
  section {{ break-before: page; }}
  tr, figure {{ break-inside: avoid; }}
  thead {{ display: table-header-group; }}
}}
</style></head><body>
"""


def page(report: ShiftReport) -> str:
    """The whole document."""
    title = text(words.title(report))
    parts = [_HEAD.format(title=title), f"<h1>{title}</h1><p>{text(words.subtitle(report))}</p>"]
    parts.append(_table(words.SUMMARY, [words.summary_row(node) for node in report.nodes]))
    parts += [_node(node, report) for node in report.nodes]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def text(told: str) -> str:
    """Words that stay words."""
    return escape(clean(told))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    if not body:
        return f"<p>{words.NOTHING}</p>"
    titles = "".join(f"<th>{text(name)}</th>" for name in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>\n{body}</tbody></table>"


def _unknown(texts: Iterable[str]) -> str:
    return "".join(f'<p class="unknown"><b>not known:</b> {text(each)}</p>' for each in texts)


def _node(node: NodeShift, report: ShiftReport) -> str:
    head = f"<section><h2>{text(node.node)}{f' ({text(node.site)})' if node.site else ''}</h2>"
    if not node.reached:
        return f"{head}{_unknown(['everything: it was not reached', *node.unknown])}</section>"
    return "\n".join((
        head,
        _unknown(node.unknown),
        "<h3>What ran</h3>",
        _table(words.RAN, [words.ran_row(one, report.first_s) for one in node.ran]),
        "<h3>What changed, and by whom</h3>",
        _table(words.CHANGES, [words.change_row(change) for change in node.changes]),
        "<h3>Alerts</h3>",
        _table(words.ALERTS, [words.alert_row(span) for span in node.alerts]),
        "<h3>How the models did</h3>",
        _table(words.BEHAVIOUR, [words.behaviour_row(one) for one in node.bundles]),
        *(_charts(one, node, report) for one in node.bundles),
        "</section>",
    ))  # fmt: skip


def _charts(one: BundleShift, node: NodeShift, report: ShiftReport) -> str:
    found = [f"<h4>{text(one.bundle)}</h4>", _unknown(f"from {gap}" for gap in words.gap_texts(one))]
    for _, plot in words.plots(one, node, report):
        unit = f", {plot.unit}" if plot.unit else ""
        names = ", ".join(series.name for series in plot.series) if len(plot.series) > 1 else ""
        caption = text(f"{plot.title}{unit}" + (f": {names}" if names else ""))
        found.append(f"<figure><figcaption>{caption}</figcaption>{svg(plot)}</figure>")
    return "\n".join(found)
