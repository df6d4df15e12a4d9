"""A node's state as the cells of the fleet table, and in which order columns leave a narrow screen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console import figures
from console.fleet.board import NodeState
from console.fleet.query import disk_percent, inferences, worst_p95
from console.fleet.view import Condition, LinkState
from widgets.look import Look, Role, Span
from widgets.status import ALARM, MAINTENANCE, OK, TRIAL, UNKNOWN, WARN, State, glyph, word
from widgets.table import Column, Row
from widgets.trend import spark

TREND_CELLS: Final = 10

# fold: the highest leaves first. 80 columns show state, node, model, inf/s, p95, cpu, disk, age; 100 add site and
# trend; 140 all the rest.
COLUMNS: Final = (
    Column("state", "STATE", 5),
    Column("node", "NODE", 12, flex=2, width_max=24),
    Column("site", "SITE", 9, fold=8, flex=1, width_max=18),
    Column("model", "MODEL", 18, fold=2, flex=2, width_max=26),
    Column("rate", "INF/S", 6, fold=1, right=True),
    Column("trend", "TREND", TREND_CELLS, fold=9),
    Column("p95", "P95 ms", 7, fold=4, right=True),
    Column("rejects", "REJ/S", 5, fold=10, right=True),
    Column("drift", "DRIFT", 7, fold=14, flex=1, width_max=11),
    Column("cpu", "CPU %", 5, fold=5, right=True),
    Column("memory", "MEM %", 5, fold=11, right=True),
    Column("disk", "DISK %", 6, fold=3, right=True),
    Column("days", "DAYS", 4, fold=12, right=True),
    Column("temperature", "°C", 3, fold=13, right=True),
    Column("offset", "CLOCK", 6, fold=16, right=True),
    Column("link", "LINK", 6, fold=15, right=True),
    Column("age", "AGE", 4, right=True),
)
KEPT_WHEN_UNKNOWN: Final = ("state", "node", "site")
_STATES: Final = {
    Condition.ALARM: ALARM,
    Condition.WARN: WARN,
    Condition.UNKNOWN: UNKNOWN,
    Condition.MAINTENANCE: MAINTENANCE,
    Condition.OK: OK,
}


def state_of(state: NodeState) -> State:
    """How a node's condition is written. A node on trial is not OK: it goes back unless somebody confirms."""
    return TRIAL if state.condition is Condition.OK and state.trial is not None else _STATES[state.condition]


def node_row(state: NodeState, now_s: float, look: Look) -> Row:
    """The cells of one node. A node that is not known says since when and why instead of figures."""
    view = state.view
    cells: dict[str, Span] = {
        "state": word(state_of(state), look),
        "node": (view.name, "base" if state_of(state) in (MAINTENANCE, OK) else "strong"),
        "site": (view.address.site, "dim"),
    }
    if not state.known:
        return Row(cells, sentence=(state.reason, "unknown"), keep=KEPT_WHEN_UNKNOWN)
    role: Role = "dim" if state.stale else "base"
    cells |= {name: (text, role) for name, text in _figures(state, now_s).items()}
    cells["model"] = _model(state, role)
    cells["trend"] = (spark(view.rate_trend, TREND_CELLS, look), "dim")
    return Row(cells)


def _figures(state: NodeState, now_s: float) -> dict[str, str]:
    view, telemetry = state.view, state.view.telemetry
    assert telemetry is not None
    host, bundles = telemetry.host, state.bundles
    days = host.disk_days_left
    return {
        "rate": figures.rate(inferences(state)) if bundles else figures.NONE,
        "p95": figures.number(worst_p95(state)) if bundles else figures.NONE,
        "rejects": figures.rate(sum(b.rejects_per_s for b in bundles)) if bundles else figures.NONE,
        "drift": ", ".join(_drift(b.drift) for b in bundles),
        "cpu": figures.whole(host.cpu_percent),
        "memory": figures.whole(figures.share(host.memory_bytes_used, host.memory_bytes_total)),
        "disk": figures.whole(disk_percent(state)),
        "days": ">999" if days is not None and days > 999 else figures.whole(days),
        "temperature": figures.whole(host.temperature_c),
        "offset": figures.offset(view.clock_offset_s),
        "link": "diode" if view.link is LinkState.ONE_WAY else figures.milliseconds(view.rtt_ms),
        "age": figures.age(view.age_s(now_s)),
    }


def _model(state: NodeState, role: Role) -> Span:
    """What runs there; of a one-way node first as of when, since all that its row shows is of that time."""
    text, said = _running(state, role)
    if state.view.link is LinkState.ONE_WAY:
        return (f"diode, {state.view.link_error} {text}", "dim")
    return text, said


def _running(state: NodeState, role: Role) -> Span:
    bundles = state.bundles
    if not bundles:
        return ("nothing installed", "dim")
    first = bundles[0]
    more = f" +{len(bundles) - 1}" if len(bundles) > 1 else ""
    if first.trial is not None:
        return (f"{first.bundle} trial {figures.countdown(first.trial.seconds_left)}{more}", "strong")
    return (f"{first.bundle} {first.version} r{first.revision}{more}", role)


def site_row(site: str, states: Sequence[NodeState], look: Look) -> Row:
    """The subtotal line of a site."""
    counts = []
    for condition, state in _STATES.items():
        number = sum(1 for s in states if s.condition is condition)
        if number:
            counts.append(f"{glyph(state, look)}{number} {state.word}")
    known = [rate for s in states if (rate := inferences(s)) is not None]
    missing = len(states) - len(known)
    total = f"{figures.rate(sum(known))} inf/s" + (f" without {missing} unknown" if missing else "")
    nodes = f"{len(states)} node" + ("s" if len(states) != 1 else "")
    return Row({"group": (site or "no site", "strong"), "totals": (f"{nodes}  {'  '.join(counts)}  {total}", "dim")})


def _drift(text: str) -> str:
    """The node's word for drift in a column's width: what is still being watched says how much it has seen."""
    return (
        f"seen {text.removeprefix('watching ').partition(',')[0]}"
        if text.startswith("watching ")
        else text.partition(":")[0]
    )
