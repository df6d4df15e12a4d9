"""What the shift report asks of one node. Nothing is changed; what cannot be had is said and is not left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console.client.client import AgentClient
from console.client.clocks import measure
from console.client.wire import AgentError
from console.failure import account
from console.ledgers.visits import HereBook, in_words, visit
from console.link.errors import LinkError
from console.shift.report import NodeShift, Seen, node_shift
from nodeagent.protocol import PAGE_ROWS_MAX, Alert, Record, Trend
from store.histories import Histories
from store.ledger import Entry

# Of each bundle; at more the decisions are counted over the newest.
RECORD_PAGES_MAX: Final = 10
TREND_POINTS: Final = 480
CLOCK_ROUNDS: Final = 3


async def ask(client: AgentClient, site: str, histories: Histories, first_s: float, last_s: float) -> NodeShift:
    """One node's part of the report, also where it is not reached."""
    try:
        seen = await _seen(client, histories, first_s, last_s)
    except (LinkError, AgentError) as error:
        return NodeShift(node=client.node, site=site, reached=False, unknown=[account(error).what])
    return node_shift(client.node, site, seen, first_s, last_s)


async def _seen(client: AgentClient, histories: Histories, first_s: float, last_s: float) -> Seen:
    status = await client.status()
    offset_s = (await measure(client, rounds=CLOCK_ROUNDS)).seconds
    unknown: list[str] = []
    first_us = round((first_s + offset_s) * 1e6)
    entries, ledger = await _history(client, histories, unknown)
    alerts, alerts_all = await _alerts(client, first_us, unknown)
    trends: dict[str, Trend] = {}
    records: dict[str, Sequence[Record]] = {}
    records_all: dict[str, bool] = {}
    for bundle in (told.bundle for told in status.telemetry.bundles):
        try:
            trends[bundle] = await client.trend(bundle, hours=(last_s - first_s) / 3_600, points=TREND_POINTS)
            records[bundle], records_all[bundle] = await _records(client, bundle, first_us, unknown)
        except AgentError as error:
            unknown.append(f"{bundle}: {account(error).what}")
    return Seen(
        status=status, offset_s=offset_s, entries=entries, ledger=ledger, alerts=alerts, alerts_all=alerts_all,
        trends=trends, records=records, records_all=records_all, unknown=unknown,
    )  # fmt: skip


async def _history(client: AgentClient, histories: Histories, unknown: list[str]) -> tuple[Sequence[Entry], str]:
    """The verified copy of the ledger, and how the chain stands."""
    try:
        found = await visit(client, HereBook(histories))
    except AgentError as error:
        unknown.append(f"who changed what: {account(error).what}")
        return (), "not verified"
    entries = histories.entries(found.node_id)
    if found.broken is not None:
        unknown.append(f"what was changed after entry {found.head.seq}: the ledger cannot be believed")
        return entries, in_words(found.broken)
    return entries, f"verified, {found.head.seq} entries"


async def _alerts(client: AgentClient, first_us: int, unknown: list[str]) -> tuple[Sequence[Alert], bool]:
    """The newest alerts, and whether they reach back over the shift."""
    try:
        found = await client.alert_history(limit=PAGE_ROWS_MAX)
    except AgentError as error:
        unknown.append(f"alerts: {account(error).what}")
        return (), True
    return found, len(found) < PAGE_ROWS_MAX or min(alert.raised_us for alert in found) < first_us


async def _records(
    client: AgentClient, bundle: str, first_us: int, unknown: list[str]
) -> tuple[Sequence[Record], bool]:
    """The newest records back to the shift's beginning; False: there were more than are counted."""
    found: list[Record] = []
    lost, before = 0, None
    for _ in range(RECORD_PAGES_MAX):
        page = await client.records(bundle, before=before, limit=PAGE_ROWS_MAX, newest_first=True)
        found += page.records
        lost += sum(gap.count for gap in page.gaps)
        if not page.records or len(page.records) < PAGE_ROWS_MAX or page.records[-1].wall_us < first_us:
            break
        before = page.records[-1].key
    else:
        return found, False
    if lost:
        unknown.append(f"{bundle}: {lost} predictions were made and not recorded")
    return found, True
