"""What has to hold after every fault: the invariants on each node's folder, no trial past its deadline, no record lost,
every node predicts, the console sees it. A look at a node that works may meet something half done, so what does not
hold is looked at again before it counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable

from console.fleet.view import LinkState
from store import db, errors, ledger, records, segment
from store.node import deployments
from tests.faults import invariants
from tests.soak.plantsite import Memory, Site

LOOKS = 4
PAUSE_S = 1.5
UP_WITHIN_S = 60.0
OTHERS_WITHIN_S = 15.0
TRIAL_SLACK_US = 2_000_000
KEYS_KEPT = 40


def of_node(memory: Memory, named: Callable[[bytes], Iterable[str]] = invariants.blobs_of_manifest) -> list[str]:
    """What does not hold on one node now; its ledger's head is the next look's anchor once all of it holds."""
    try:
        with contextlib.closing(db.open_reader(memory.state / "node.db", deadline_s=10.0)) as connection:
            head, late = ledger.head(connection), _late_trials(connection)
        wrong = invariants.check(memory.state, memory.told, anchor=memory.anchor, named=named)
        wrong += late + _lost_records(memory)
    except (OSError, sqlite3.Error, errors.StoreError) as error:
        return [f"its state cannot be read: {error!r}"]
    if not wrong:
        memory.anchor = head
    return wrong


def _late_trials(connection: sqlite3.Connection) -> list[str]:
    now_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
    trials = [row for row in deployments.newest(connection, limit=1_000) if row.state == "TRIAL"]
    return [
        f"I3: the trial {row.id} is {(now_us - row.deadline_us) / 1e6:.1f} s past its deadline"
        for row in trials
        if row.deadline_us is not None and now_us > row.deadline_us + TRIAL_SLACK_US
    ]


def _lost_records(memory: Memory) -> list[str]:
    """Records that were read once are still there, in order, unless retention took all that is that old.

    Retention takes whole segments, the oldest first, and keeps the newest of a revision: so each revision has an age.
    """
    last = records.query(memory.records, limit=50, newest_first=True).records
    oldest: dict[int, int] = {}
    for file in segment.listing(memory.records):
        oldest[file.revision] = min(file.key, oldest.get(file.revision, file.key))
    wrong = []
    for key, revision in memory.keys:
        found = records.query(memory.records, after=key - 1, limit=1).records
        if key >= oldest.get(revision, key + 1) and (not found or found[0].key != key):
            wrong.append(f"I4: the record {key} of r{revision} was there and is not")
    keys = [record.key for record in last]
    if keys != sorted(set(keys), reverse=True):
        wrong.append("I4: the records are not in order, or one is there twice")
    if memory.keys and not last:
        wrong.append(f"I4: {len(memory.keys)} records were there and none is")
    memory.keys = [*memory.keys, *((record.key, record.revision) for record in last[:1])][-KEYS_KEPT:]
    return wrong


async def settled(site: Site, node: str) -> list[str]:
    """`of_node`, looked at again while something does not hold."""
    wrong: list[str] = []
    for _ in range(LOOKS):
        if not (wrong := await asyncio.to_thread(of_node, site.memories[node])):
            return []
        await asyncio.sleep(PAUSE_S)
    return wrong


async def everything(site: Site, hit: str, within_s: float) -> tuple[list[str], float | None]:
    """What does not hold after a fault on `hit` has ended, and after how many seconds that node predicted again."""
    marks = {node: await asyncio.to_thread(site.newest, node) for node in site.plans}

    async def one(node: str) -> tuple[list[str], float | None]:
        limit_s = within_s if node == hit else max(within_s, OTHERS_WITHIN_S)
        took_s = await site.predicts(node, marks[node], limit_s)
        wrong = [] if took_s is not None else [f"no prediction within {limit_s:g} s"]
        if await site.until(lambda: _is_seen(site, node), UP_WITHIN_S) is None:
            view = site.demo.fleet.views()[node]
            wrong.append(f"the console shows {view.link} after {UP_WITHIN_S:g} s: {view.link_error}")
        return [f"{node}: {text}" for text in wrong + await settled(site, node)], took_s

    found = dict(zip(site.plans, await asyncio.gather(*(one(node) for node in site.plans)), strict=True))
    return [text for wrong, _ in found.values() for text in wrong], found[hit][1]


def _is_seen(site: Site, node: str) -> bool:
    view = site.demo.fleet.views()[node]
    return view.link is LinkState.UP and view.is_known(time.monotonic())
