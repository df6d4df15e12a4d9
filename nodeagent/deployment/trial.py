"""The trial: the flip and the switch, and its three ends (confirmed, over by itself, undone). One a node at a time.

The row's deadline is the truth and is judged before anything else is done with a trial, since this process may have
been stopped for an hour. Confirm and timer decide under the rows' lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from nodeagent.deployment import admission, reachability
from nodeagent.deployment.deployment import Event, Transition, step
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.deployment.transitions import Details, Fence
from nodeagent.deployment.trial_watch import TrialWatch, watch
from nodeagent.health.alerts import Condition, rolled_back
from nodeagent.http.message import HttpError
from nodeagent.parts import AGENT, Parts
from nodeagent.protocol import DeploymentState, HostHealth
from nodeagent.protocol import Trial as TrialView
from nodeagent.runtime.runtime import Refused, SwitchReport
from nodeagent.state.database import NotWritable
from nodeagent.state.logs import Level
from store.node import deployments
from store.node.deployments import Deployment, Failure, TrialRunning, WrongState

# A row that the disk refused is tried again this often.
UNWRITTEN_AGAIN_US = 5_000_000
TICK_US = 10_000


class Trial:
    """The node's trial. `on_alert` hears of one that went back by itself, `on_final` of every end.

    `check_writes` raises where another bundle writes a place of the candidate; it is asked right before each flip.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rows = parts.rows
        self.watch: TrialWatch | None = None
        self.on_alert: Callable[[Condition], Awaitable[None]]
        self.on_final: Callable[[Deployment], Awaitable[None]]
        self.check_writes: Callable[[Deployment], Awaitable[None]]

    def view(self, bundle: str) -> TrialView | None:
        """The running trial of a bundle, for telemetry."""
        trial = self.watch
        if trial is None or trial.bundle != bundle:
            return None
        left_us = max(0, trial.facts.deadline_us - self._parts.clock.boottime_us())
        return TrialView(
            deployment=trial.id,
            seconds_left=round(left_us / 1e6, 3),
            window_s=trial.window_s,
            previous_revision=trial.previous_revision,
        )

    def begin_watch(self, row: Deployment, *, flip_us: int | None, before: float | None = None) -> None:
        """Watches over a TRIAL row from now on; `before`: the latency p99 in ms of what it replaces."""
        self.watch = watch(row, flip_us=flip_us, latency_ms_p99_before=before)

    async def activate(self, id_: str, actor: str, fence: Fence) -> Deployment:
        """The flip, then the switch. A row that is past PREFLIGHT_OK is answered as it stands."""
        if (hold := self._parts.standing.hold) is not None:
            raise HttpError("DEPLOYMENT.HOLD", f"{hold.by} holds the outputs: {hold.reason}", "Release the hold first.")
        before = {item.bundle: item.latency_ms_p99 for item in self._parts.runtimes.telemetry()}
        async with self._rows.lock:
            row = await self._rows.find(id_)
            if row.state in (DeploymentState.RECEIVING, DeploymentState.STAGED):
                raise admission.wrong_state(row, "activate: its preflight comes first")
            if row.state != DeploymentState.PREFLIGHT_OK:
                return row
            await self.check_writes(row)
            try:
                row, _ = await self._rows.apply(id_, Event.FLIPPED, actor, Details(window_us=row.window_us), fence)
            except TrialRunning as error:
                raise admission.trial_running(error.row) from error
            self.begin_watch(row, flip_us=row.changed_boottime_us, before=before.get(row.bundle))
        return await self._switch(row)

    async def confirm(self, id_: str, actor: str, fence: Fence, *, peer_pid: int) -> Deployment:
        """TRIAL -> COMMITTED. A repeat after the commit gives the same answer (I5), whoever asks."""
        async with self._parts.switcher.lock:
            pass  # a switch that is under way ends first
        async with self._rows.lock:
            row = await self._rows.find(id_)
            if row.state == DeploymentState.COMMITTED:
                return row
            over = self._over(row, "confirm")
            if over is None:
                assert self.watch is not None
                details = Details(reachability=self._reachability(peer_pid, self.watch.flip_us))
                try:
                    row, transition = await self._rows.apply(id_, Event.CONFIRMED, actor, details, fence)
                    self._forget(id_)
                except WrongState:  # the deadline passed between our look at the clock and the commit's
                    over = Event.DEADLINE_PASSED
        if over is not None:
            raise admission.already_back(await self.end(id_, over))
        self._log("info", f"{row.bundle} {row.version} r{row.revision} confirmed by {actor}")
        await self.on_final(row)
        await self._parts.switcher.act(row, transition)
        return row

    async def extend(self, id_: str, actor: str, fence: Fence, *, window_s: float) -> Deployment:
        """A new window from now."""
        async with self._rows.lock:
            row = await self._rows.find(id_)
            over = self._over(row, "extend")
            if over is None:
                details = Details(window_us=round(window_s * 1e6))
                try:
                    row, transition = await self._rows.apply(id_, Event.EXTENDED, actor, details, fence)
                except WrongState:  # as in `confirm`
                    over = Event.DEADLINE_PASSED
                else:
                    assert self.watch is not None
                    self.watch = self.watch.renewed(row)
        if over is not None:
            raise admission.already_back(await self.end(id_, over))
        await self._parts.switcher.act(row, transition)
        return row

    async def tick(self, host: HostHealth) -> None:
        """Ends a trial that is over: by the clock first, then by its guards. Call it several times a second."""
        trial = self.watch
        now_us = self._parts.clock.boottime_us()
        if trial is None or now_us < trial.retry_us:
            return
        event = trial.over(boot_id=self._parts.clock.boot_id(), now_us=now_us)
        failure: Failure | None = None
        if event is None and (why := trial.guard(self._parts.runtimes.telemetry(), host, self._parts.settings)):
            event, failure = Event.GUARD_TRIPPED, Failure("DEPLOYMENT.GUARD", why)
        if event is not None:
            await self.end(trial.id, event, failure)

    async def end(self, id_: str, event: Event, failure: Failure | None = None) -> Deployment:
        """A way back: the row first; where the disk refuses it, the plant goes back all the same and the row later.

        Never refused: `check_writes` and whatever else refuses a change is not asked.
        """
        async with self._rows.lock:
            row = await self._rows.find(id_)
            if row.state != DeploymentState.TRIAL:
                self._forget(id_)
                return row
            try:
                row, transition = await self._rows.apply(id_, event, AGENT, Details(failure=failure))
            except NotWritable as error:
                return await self._go_back_unwritten(row, event, error)
            self._forget(id_)
        self._log("warning", f"{row.bundle} {row.version} r{row.revision} went back: {row.reason} {row.error_message}")
        await self.after_end(row, transition)
        return row

    async def after_end(self, row: Deployment, transition: Transition) -> None:
        """What a trial that went back owes: the plant, the alert, the clearing up."""
        self._forget(row.id)
        await self._parts.switcher.act(row, transition)
        if row.reason != "REVERTED":
            await self.on_alert(rolled_back(row.bundle, row.version, row.reason or "", row.error_message))
        await self.on_final(row)

    async def _switch(self, row: Deployment) -> Deployment:
        """Gives the plant to the new revision, the launcher's watch armed first. A switch that fails ends the trial."""
        outcome = await self._try_switch(row)
        if isinstance(outcome, Failure):
            return await self.end(row.id, Event.SWITCH_FAILED, outcome)
        stamp = self._parts.standing.stamp(AGENT)
        gap_us = round(outcome.gap_ms * 1e3)
        try:
            return await self._parts.database.write(deployments.set_switch_gap, stamp, row.id, gap_us)
        except NotWritable:  # the gap is a figure for people; the trial goes on without it
            return await self._rows.find(row.id)

    async def _try_switch(self, row: Deployment) -> SwitchReport | Failure:
        switcher, runtimes = self._parts.switcher, self._parts.runtimes
        async with switcher.lock:
            try:
                await switcher.arm(row)
                return await runtimes.switch(row.bundle)
            except Refused as error:
                return Failure(error.code, error.message, error.hint)
            except UNUSABLE as error:
                return Failure("BLOB.MISMATCH", f"the switch failed: {error}")

    def _over(self, row: Deployment, verb: str) -> Event | None:
        """Why the trial is over by the clock, None while it runs. Raises where the row is not in its trial."""
        if row.state == DeploymentState.ROLLED_BACK:
            raise admission.already_back(row)
        if row.state != DeploymentState.TRIAL or self.watch is None or self.watch.id != row.id:
            raise admission.wrong_state(row, verb)
        return self.watch.over(boot_id=self._parts.clock.boot_id(), now_us=self._parts.clock.boottime_us())

    def _reachability(self, peer_pid: int, flip_us: int) -> Literal["proved", "claimed"]:
        began_us = reachability.login_us(peer_pid)
        if began_us is None:
            return "claimed"
        # The kernel counts a process's start in ticks of 10 ms, rounded down.
        if began_us + TICK_US < flip_us:
            raise HttpError("DEPLOYMENT.OLD_LOGIN", "this login is older than the trial", "Log in anew and confirm.")
        return "proved"

    async def _go_back_unwritten(self, row: Deployment, event: Event, error: NotWritable) -> Deployment:
        """The row stays TRIAL and due, so that every later start judges the same; here the plant goes back now."""
        trial = self.watch
        if trial is None:
            return row
        if not trial.retry_us:
            self._log("error", f"{row.bundle}: {event}, and the row cannot be written: {error}")
            await self._parts.switcher.act(row, step(DeploymentState.TRIAL, event))
        trial.retry_us = self._parts.clock.boottime_us() + UNWRITTEN_AGAIN_US
        return row

    def _forget(self, id_: str) -> None:
        if self.watch is not None and self.watch.id == id_:
            self.watch = None

    def _log(self, level: Level, text: str) -> None:
        self._parts.log(level, "trial", text)
