"""One node, put together: what the supervisor runs, started in the order in which one part needs another."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from nodeagent.clock import Clock
from nodeagent.deployment import recovery
from nodeagent.deployment.activations import Activations, Place
from nodeagent.deployment.binder import Binder
from nodeagent.deployment.binding_store import BindingStore
from nodeagent.deployment.bindings import BindingError
from nodeagent.deployment.deployer import Deployer
from nodeagent.deployment.rows import Rows
from nodeagent.deployment.staging import Staging
from nodeagent.deployment.switcher import UNUSABLE, Switcher
from nodeagent.deployment.verifier import Verifier
from nodeagent.health.alert_board import AlertBoard
from nodeagent.health.alerts import Condition as AlertCondition
from nodeagent.health.alerts import rolled_back
from nodeagent.health.host import HostMonitor
from nodeagent.health.rule_book import RuleBook
from nodeagent.health.telemeter import Telemeter
from nodeagent.health.trend import Trends
from nodeagent.parts import AGENT, Parts
from nodeagent.processes.launcher_client import LauncherClient
from nodeagent.protocol import DeploymentState, Telemetry
from nodeagent.runtime.runtime import Refused, Runtimes
from nodeagent.served import Served
from nodeagent.settings import Settings
from nodeagent.state import groundwork
from nodeagent.state.database import Condition, NotWritable
from nodeagent.state.forwarder import CODE as SYSLOG_BEHIND
from nodeagent.state.forwarder import Forwarder
from nodeagent.state.housekeeping import Housekeeping
from nodeagent.state.outward import CODE as NOT_WRITTEN
from nodeagent.state.outward import Outward
from nodeagent.state.standing import Standing
from nodeagent.state.syslog_target import parse_target
from store.blobs import Blobs
from store.bundle import ROLES
from store.errors import StoreError
from store.node.deployments import Deployment

TICK_S = 0.25


class Node:
    """The parts of a running node. `start`, then run all of `work`, then `close`."""

    def __init__(
        self, ground: groundwork.Groundwork, settings: Settings, launcher: LauncherClient, clock: Clock
    ) -> None:
        self._ground = ground
        self._settings = settings
        self._clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        self._went_back: list[Deployment] = []
        state, database, self.log = ground.state, ground.database, ground.log
        self.standing = Standing(database, clock)
        self.blobs = Blobs(state)
        self.runtimes = Runtimes(launcher=launcher, settings=settings, clock=clock, log=self._say, state=state)
        self.rules = RuleBook(state, settings, self._pipeline_text)
        self.board = AlertBoard(database, self.standing, self.rules, self.log.add)
        self.parts = self._make_parts(state)
        self.deployer = Deployer(self.parts, on_alert=self.board.report, on_final=self._ended)
        self.binder = Binder(self.parts, self.deployer, self._own)
        self.housekeeping = Housekeeping(self.parts, self.blobs, ground.boot, ground.node_id)
        self.trends = Trends(self.housekeeping.keep_point)
        self.telemeter = Telemeter(
            node_id=ground.node_id,
            clock=clock,
            host=HostMonitor(state),
            standing=self.standing,
            board=self.board,
            bundles=self.runtimes.telemetry,
            trial=self.deployer.trial.view,
            is_safe=self.is_safe,
        )
        self.launcher = launcher
        target = parse_target(settings.syslog.target)
        self.forwarder = (
            Forwarder(database, target, node_id=ground.node_id, host=settings.node.name, monotonic_s=time.monotonic)
            if target is not None
            else None
        )
        self.outward = Outward(state, settings.one_way) if settings.one_way.folder else None
        self._served = Served(self)
        self._listeners = launcher.listeners

    @property
    def node_id(self) -> str:
        return self._ground.node_id

    @property
    def boot_number(self) -> int:
        return self._ground.boot.number

    @property
    def settings(self) -> Settings:
        return self._settings

    def is_safe(self) -> bool:
        """Whether the database cannot be used at all."""
        return self._ground.database.condition is Condition.SAFE

    async def start(self) -> None:
        """Reads what stands, settles unfinished deployments, opens the sockets. The plant follows in `work`."""
        await self.runtimes.start()
        if not self.is_safe():
            await self._load()
        await self._served.open(self._listeners)
        self._say("info", "supervisor", f"{self.node_id} is up, {self._ground.database.condition}")

    def work(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What runs while the node is up. One that ends by an error ends the supervisor, which starts anew."""
        return [
            ("recover", self._recover()),
            ("telemetry", self.telemeter.run(self._heard)),
            ("events", self._hear_events()),
            ("trial", self._watch_trial()),
            ("housekeeping", self.housekeeping.run()),
            ("reopen", self.housekeeping.reopen()),
            *([("syslog", self.forwarder.run())] if self.forwarder is not None else []),
            *([("one way", self.outward.run())] if self.outward is not None else []),
        ]

    async def close(self) -> None:
        """Lets requests and transitions end, leaves the workers to the launcher."""
        await self._served.close()
        await self.deployer.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.runtimes.close()
        await self._ground.database.close()

    def report(self, error: BaseException) -> None:
        """What nobody was there to catch goes into the log."""
        text = "".join(traceback.format_exception(error))
        self.log.add("error", "supervisor", text)

    # ---------------------------------------------------------------- at start

    def _make_parts(self, state: Path) -> Parts:
        ground, settings = self._ground, self._settings
        name, site = settings.node.name, settings.node.site
        bindings = BindingStore(state, ground.database)
        place = Place(state, ground.node_id, name, site, ground.boot.number)
        rows = Rows(ground.database, self.standing)
        activations = Activations(place, self.blobs, bindings, settings)
        return Parts(
            state=state,
            settings=settings,
            clock=self._clock,
            database=ground.database,
            rows=rows,
            staging=Staging(
                database=ground.database,
                rows=rows,
                blobs=self.blobs,
                verifier=Verifier(state, ground.node_id),
                standing=self.standing,
                labels={"node_id": ground.node_id, "name": name, "site": site},
            ),
            switcher=Switcher(
                runtimes=self.runtimes, activations=activations, database=ground.database, log=self.log.add
            ),
            runtimes=self.runtimes,
            activations=activations,
            bindings=bindings,
            standing=self.standing,
            log=self.log.add,
        )

    async def _load(self) -> None:
        await self.standing.load()
        await self.board.load()
        try:
            await self.parts.bindings.load()
        except BindingError as error:
            self._say("error", "bindings", str(error))
        try:
            await asyncio.to_thread(self.blobs.recover, rebooted=self._ground.rebooted)
        except StoreError as error:
            self._say("warning", "supervisor", f"uploads are left as they are: {error}")
        self._went_back = await recovery.settle(self.parts, self.deployer)
        try:
            await self.binder.recover()
        except (NotWritable, BindingError) as error:
            self._say("error", "bindings", f"a change that a restart cut off stays as it is: {error}")

    async def _recover(self) -> None:
        """The plant: hold first, then what should serve; then what may wait."""
        await self.runtimes.hold(self.standing.hold is not None)
        if self.is_safe():
            await self._serve_last_known_good()
            self.runtimes.settle()
            return
        await recovery.serve(self.parts, self.deployer)
        self.runtimes.settle()
        for row in self._went_back:
            await self.board.report(rolled_back(row.bundle, row.version, row.reason or "", row.error_message))
        await self._adopt_bindings()
        await self._tidy()

    async def _serve_last_known_good(self) -> None:
        known = self._ground.known
        await self.parts.bindings.load_secrets()
        for stored in known.activations if known is not None else []:
            try:
                await self.runtimes.ensure(self.parts.activations.in_safe(stored, self._ground.boot.number))
            except (Refused, *UNUSABLE) as error:
                self._say("error", "supervisor", f"{stored.bundle}: {error}")

    async def _adopt_bindings(self) -> None:
        stamp = self.standing.stamp(AGENT)
        try:
            edited = await self.parts.bindings.adopt_file(stamp, await self.binder.in_use())
        except (BindingError, NotWritable, StoreError) as error:
            self._say("error", "bindings", f"bindings.toml is not taken in: {error}")
            return
        if edited:
            await self.board.report(_edited(edited))

    # ---------------------------------------------------------------- while it runs

    async def _heard(self, telemetry: Telemetry) -> None:
        self.trends.add(telemetry)
        self.telemeter.disk_days_left = self.housekeeping.disk_days_left
        await self.board.look(telemetry)
        await self._look_at_syslog()
        await self._look_outward()

    async def _look_at_syslog(self) -> None:
        if self.forwarder is None:
            return
        if (behind := self.forwarder.condition()) is not None:
            await self.board.report(behind)
        elif not self.forwarder.error:
            await self.board.settle(SYSLOG_BEHIND, [str(self.forwarder.target)])

    async def _look_outward(self) -> None:
        if self.outward is None:
            return
        if (unwritten := self.outward.condition()) is not None:
            await self.board.report(unwritten)
        else:
            await self.board.settle(NOT_WRITTEN, [self._settings.one_way.folder])

    async def _pipeline_text(self, digest: str) -> str:
        """The pipeline of an active bundle, for the alert rules in it; "" where it has none. Raises ValueError."""
        try:
            _, facts = await self.parts.activations.facts(digest)
            if facts.pipeline_digest is None:
                return ""
            limit = ROLES["pipeline"][1]
            return (await asyncio.to_thread(self.blobs.read, facts.pipeline_digest, bytes_max=limit)).decode()
        except UNUSABLE as error:
            raise ValueError(f"the pipeline cannot be read: {error}") from error

    async def pipeline_of(self, bundle: str) -> str:
        """The pipeline that a bundle's active revision runs; "" where there is none or it cannot be read."""
        running = next((item for item in self.runtimes.telemetry() if item.bundle == bundle), None)
        try:
            return "" if running is None else await self._pipeline_text(running.digest)
        except ValueError as error:
            self._say("warning", "labels", str(error))
            return ""

    async def _watch_trial(self) -> None:
        while True:
            await self.deployer.tick(self.telemeter.host)
            await asyncio.sleep(TICK_S)

    async def _hear_events(self) -> None:
        while True:
            event = await self.runtimes.events.get()
            watch = self.deployer.trial.watch
            if watch is None or watch.bundle != event.bundle:
                continue
            if event.kind == "exited":
                watch.exited(event.revision, event.text, self._settings)

    async def _ended(self, row: Deployment) -> None:
        """A deployment came to its end."""
        self.binder.ended(row)
        if row.state == DeploymentState.COMMITTED:
            await self._keep_last_known_good()
        self._own(asyncio.get_running_loop().create_task(self._collect()))

    async def _tidy(self) -> None:
        await self._keep_last_known_good()
        await self._collect()

    async def _keep_last_known_good(self) -> None:
        try:
            await self.housekeeping.keep_last_known_good()
        except (NotWritable, *UNUSABLE) as error:
            self._say("warning", "housekeeping", f"what is last known good could not be kept: {error}")

    async def _collect(self) -> None:
        try:
            freed = await self.housekeeping.collect()
        except (NotWritable, StoreError, OSError) as error:
            self._say("warning", "housekeeping", f"blobs could not be removed: {error}")
            return
        if freed:
            self._say("info", "housekeeping", f"{freed} bytes of unused blobs removed")

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(error)

    def _say(self, level: str, source: str, text: str) -> None:
        self.log.add(level if level in ("debug", "warning", "error") else "info", source, text)  # type: ignore[arg-type]


def _edited(names: list[str]) -> AlertCondition:
    return AlertCondition(
        code="BINDINGS.EDITED",
        subject="bindings.toml",
        priority=3,
        message=f"bindings.toml was edited by hand and is not used: {', '.join(names)} belong to active bundles",
        advice="Change them with outstation node bind, which tries them first.",
        latched=True,
    )
