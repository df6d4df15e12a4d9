"""One record: what the model saw and said."""

from __future__ import annotations

from console import figures
from console.client.clocks import made_us
from console.screens.view import View
from nodeagent.protocol import Record
from widgets.look import Look, Spans
from widgets.trend import meter

INPUTS_MAX = 256


def _when(record: Record) -> str:
    """Its time, and the node's own where that was another."""
    at_us, raw = made_us(record), f"{figures.day_and_time(record.wall_us)}  {figures.moment(record.wall_us)}"
    if record.at_us is None:
        return f"{raw} by the node's clock"
    return f"{figures.day_and_time(at_us)}  {figures.moment(at_us)}; the node's clock read {raw}"


class RecordView(View):
    """Inputs as figures and as bars of their own range."""

    def __init__(self, look: Look, node: str, record: Record) -> None:
        super().__init__(look, f"Record of {node}, {record.bundle} r{record.revision}")
        self.record = record

    def draw(self, changed: frozenset[str] | None) -> None:
        super().draw(changed)
        r = self.record
        facts = (
            ("time", _when(r)),
            ("score", figures.number(r.score)),
            ("label", r.label or figures.NONE),
            ("decision", r.decision or figures.NONE),
            ("quality", f"{('good', 'uncertain', 'bad')[min(2, max(0, r.quality))]}  {r.reason}"),
            ("context", r.context or figures.NONE),
            ("latency", f"{r.latency_us / 1e3:.2f} ms"),
            ("key", str(r.key)),
            ("digest", r.digest or figures.NONE),
        )
        lines: list[Spans] = [((f" {name:<10}", "dim"), (text, "base")) for name, text in facts]
        lines += [(), *self._values("inputs", r.inputs), *self._values("outputs", r.outputs)]
        self.set_lines(lines)

    def _values(self, name: str, values: list[float] | None) -> list[Spans]:
        if not values:
            return [((f" {name:<10}", "dim"), ("not kept", "base"))]
        low, high = min(0.0, *values), max(values)
        span = (high - low) or 1.0
        width = max(8, min(40, self.size.width - 34))
        lines: list[Spans] = [((f" {name}", "title"), (f"  {len(values)} values", "dim"))]
        for i, value in enumerate(values[:INPUTS_MAX]):
            bar = meter((value - low) / span, width, self.look)
            lines.append(((f" {i:>5} ", "dim"), (f"{value:>12.5g}  ", "base"), (bar, "dim")))
        if len(values) > INPUTS_MAX:
            lines.append(((f" and {len(values) - INPUTS_MAX} more", "dim"),))
        return lines
