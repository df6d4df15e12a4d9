"""How a one-way node stands by its newest report: as of when, how old that is at least, and as a view. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from console import figures
from console.fleet.view import LinkState, NodeView
from nodeagent.protocol import OneWayReport
from store.oneway import Newest

# A report cannot have come before it was made: past this a node's clock is ahead, and its age is not known.
AHEAD_S_MAX: Final = 60.0
HINT: Final = "bring its reports: `outstation diode import FOLDER`"


def age_s(report: OneWayReport, taken_wall_s: float, wall_s: float) -> float | None:
    """How old the report is at least, by the node's clock or since it came here; None: its clock is ahead of ours."""
    made_s = report.wall_us / 1e6
    if made_s > taken_wall_s + AHEAD_S_MAX:
        return None
    return max(0.0, wall_s - made_s, wall_s - taken_wall_s)


def as_of(report: OneWayReport, wall_s: float) -> str:
    """The time it tells of: `14:05`, with the day where that is not plain."""
    made_s = report.wall_us / 1e6
    return figures.clock(made_s) if abs(wall_s - made_s) < 43_200 else figures.day_and_time(report.wall_us)


def view_of(
    before: NodeView, newest: Newest | None, report: OneWayReport | None, *, now_s: float, wall_s: float
) -> NodeView:
    """The node as its newest report tells; what is older than its limit reads as unknown by `NodeView.is_known`."""
    if newest is None or report is None:
        return replace(
            before, link=LinkState.ONE_WAY, link_error="no report came from it yet", link_hint=HINT, telemetry_at_s=None
        )
    old_s = age_s(report, newest.taken_wall_s, wall_s)
    return replace(
        before,
        link=LinkState.ONE_WAY,
        link_mode="one-way",
        link_since_wall_s=report.wall_us / 1e6,
        link_error=_said(before, newest, report, old_s, wall_s),
        link_hint=HINT,
        status=report.status,
        telemetry=report.status.telemetry,
        telemetry_at_s=None if old_s is None or newest.problem else now_s - old_s,
        report_number=newest.sequence,
        reports_lost=newest.lost,
    )


def _said(view: NodeView, newest: Newest, report: OneWayReport, old_s: float | None, wall_s: float) -> str:
    if newest.problem:
        return newest.problem
    text = f"as of {as_of(report, wall_s)}"
    if old_s is None:
        return f"{text} by its clock, which is ahead of this one: how old that is is not known"
    if old_s > view.address.one_way_age_s:
        limit = figures.countdown(view.address.one_way_age_s)
        return f"{text}, {figures.age(old_s)} old, and says nothing past {limit}"
    return text
