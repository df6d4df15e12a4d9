"""What a starting supervisor finds on the disk: the node's id, its database, which boot this is, the log."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from pathlib import Path

from nodeagent.clock import Clock
from nodeagent.deployment.last_known_good import LastKnownGood, read
from nodeagent.settings import Settings
from nodeagent.state.database import Condition, NodeDatabase
from nodeagent.state.logs import Log
from nodeagent.state.state_folder import FOLDERS, read_id
from store import durable
from store.errors import StoreError
from store.node import identity
from store.node.identity import Boot


class NotANode(Exception):
    """The state folder was never made a node."""


@dataclasses.dataclass(frozen=True)
class Groundwork:
    """`known` is read only where node.db cannot be. `rebooted`: this boot was not seen before."""

    state: Path
    node_id: str
    database: NodeDatabase
    boot: Boot
    rebooted: bool
    log: Log
    known: LastKnownGood | None


async def lay(state: Path, settings: Settings, clock: Clock) -> Groundwork:
    """Opens what there is. Raises NotANode before `init`; a disk that refuses writes is no error here."""
    _check(state)
    log = Log(state / "logs", clock, bytes_max=settings.logs.bytes_max)
    database = NodeDatabase(state / "node.db", ballast=durable.Ballast(state / "ballast", settings.disk.ballast_bytes))
    condition = await database.open()
    if condition is Condition.SAFE:
        return _in_safe(state, database, clock, log)
    node_id = await database.read(identity.node_id)
    if node_id is None:
        raise NotANode(f"{state} has no node id: run outstation-agent init --state {state}")
    boots = await database.read(identity.boots)
    rebooted = clock.boot_id() not in {boot.boot_id for boot in boots}
    boot = await _enter(database, clock) if condition is Condition.WRITABLE else _next(boots, clock)
    return Groundwork(state, node_id, database, boot, rebooted, log, None)


def _check(state: Path) -> None:
    if not (state / "node.db").exists():
        raise NotANode(f"{state} is no node: run outstation-agent init --state {state}")
    # On a read-only or full disk what is there is served, and the database tells the rest.
    with contextlib.suppress(StoreError):
        for folder in FOLDERS:
            durable.make_dir(state / folder)
        durable.remove_temporaries(state)


async def _enter(database: NodeDatabase, clock: Clock) -> Boot:
    def enter(connection: sqlite3.Connection) -> Boot:
        return identity.enter_boot(
            connection, clock.boot_id(), boottime_us=clock.boottime_us(), wall_us=clock.wall_us()
        )

    return await database.write(enter)


def _next(boots: list[Boot], clock: Clock) -> Boot:
    """This boot where it cannot be written down: its own number if it is known, otherwise the next one."""
    known = next((boot for boot in boots if boot.boot_id == clock.boot_id()), None)
    if known is not None:
        return known
    number = max((boot.number for boot in boots), default=0) + 1
    return Boot(number, clock.boot_id(), clock.boottime_us(), clock.wall_us())


def _in_safe(state: Path, database: NodeDatabase, clock: Clock, log: Log) -> Groundwork:
    known = read(state)
    log.add("error", "supervisor", f"SAFE: {database.reason}")
    number = 1
    if known is not None:
        number = known.boot_number + (known.boot_id != clock.boot_id())
    boot = Boot(number, clock.boot_id(), clock.boottime_us(), clock.wall_us())
    node_id = known.node_id if known is not None else read_id(state)
    return Groundwork(state, node_id, database, boot, False, log, known)
