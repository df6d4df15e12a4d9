"""One bundle on the node, kept running: its active worker, the candidate beside it, the previous one kept warm.

Whatever must happen in order happens under `lock`; a worker that dies is replaced by `_keep`, with a growing backoff.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, Literal

import msgspec

from nodeagent.processes.launcher_client import LauncherError, WorkerExit
from nodeagent.processes.memory import available_bytes, fits_beside
from nodeagent.protocol import BundleTelemetry, WorkerState
from nodeagent.runtime import plant_move
from nodeagent.runtime.crew import ORDER_S_MAX, Crew, Surroundings, same
from nodeagent.runtime.runtime_report import Refused, RuntimeEvent, ShadowStanding, SwitchReport
from nodeagent.runtime.safe_values import SafeValues
from nodeagent.runtime.unavailable import Unavailable
from nodeagent.runtime.worker_link import OrderRefused, WorkerGone, WorkerLink
from nodeagent.spec import Activation

BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 30.0
STEADY_S: Final = 60.0
START_S_MAX: Final = 60.0
UNAVAILABLE_AFTER_S: Final = 1.0
KEEP_S: Final = 0.05
HOLD_S_MAX: Final = 3.0


class BundleRuntime:
    """The workers of one bundle."""

    def __init__(self, bundle: str, around: Surroundings) -> None:
        self.bundle = bundle
        self.lock = asyncio.Lock()
        self.wanted: Activation | None = None
        self.previous: Activation | None = None
        self.restarts_total = 0
        self.reason = ""
        self.held = False
        self._around = around
        self._crew = Crew(bundle, around, on_beat=self._beaten, say=self._say)
        self._backoff_s = BACKOFF_S_MIN
        self._serving_since_s: float | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._standing_in: asyncio.Task[None] | None = None
        self._unavailable = Unavailable(around.launcher, f"m-{bundle}", self._why)
        self._safe_values = SafeValues(around.launcher, around.specs, self._say)
        self._gapped: Activation | None = None
        self._announced = ""

    # ---------------------------------------------------------------- what it shows

    @property
    def serving(self) -> bool:
        return self._crew.serving

    @property
    def active(self) -> WorkerLink | None:
        return self._crew.active

    @property
    def state(self) -> WorkerState:
        if self.serving:
            return WorkerState.SERVING
        if self.wanted is None:
            return WorkerState.STOPPED
        return WorkerState.BACKOFF if self.reason else WorkerState.STARTING

    @property
    def links(self) -> list[WorkerLink]:
        return self._crew.links

    def telemetry(self) -> BundleTelemetry | None:
        """The active worker's last figures under this bundle's state; None for a bundle that never was wanted."""
        shown = self.wanted or self.previous
        if shown is None:
            return None
        figures = None if self.active is None else self.active.telemetry
        if figures is None or figures.revision != shown.revision:
            figures = BundleTelemetry(
                bundle=self.bundle,
                model=shown.model,
                version=shown.version,
                revision=shown.revision,
                digest=shown.digest,
                state=self.state,
                drift="not known",
            )
        return msgspec.structs.replace(
            figures, state=self.state, reason="" if self.serving else self._why(), restarts_total=self.restarts_total
        )

    def _why(self) -> str:
        if self.wanted is None:
            return f"{self.bundle} is stopped"
        return f"{self.bundle} has no worker yet: {self.reason}" if self.reason else f"{self.bundle} is starting"

    # ---------------------------------------------------------------- workers in and out

    async def adopt(self, worker: str, activation: Activation, pid: int) -> None:
        """Takes over a worker that lived before this supervisor."""
        await self._crew.adopt(worker, activation, pid)

    def exited(self, ended: WorkerExit) -> None:
        """A worker of the node ended."""
        self._safe_values.exited(ended)
        active = self._crew.active
        was_serving = self._crew.serving
        link = self._crew.exited(ended)
        if link is not None and link is active:
            self._lost(link, was_serving)

    def _beaten(self, link: WorkerLink) -> None:
        if link is self.active and link.state == "active" and self._announced != link.worker:
            self._announced = link.worker
            self.reason = ""
            self._serving_since_s = asyncio.get_running_loop().time()
            self._tell("serving", link.activation.revision, f"worker {link.pid}")
            self._ensure_keeping()

    def _lost(self, link: WorkerLink, was_serving: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        if was_serving and self._serving_since_s is not None and now_s - self._serving_since_s >= STEADY_S:
            self._backoff_s = BACKOFF_S_MIN
        self._serving_since_s = None
        self.reason = link.reason
        if self.wanted is not None:
            self.restarts_total += 1
            self._say("error", f"r{link.activation.revision}: worker {link.pid} ended: {link.reason}")
            self._tell("exited", link.activation.revision, link.reason)
            self._expect_a_delay()
            self._ensure_keeping()

    # ---------------------------------------------------------------- keeping it up

    def _ensure_keeping(self) -> None:
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep(), name=f"keep {self.bundle}")

    async def _keep(self) -> None:
        """Brings a worker back, with backoff."""
        loop = asyncio.get_running_loop()
        retry_s = loop.time() + self._backoff_s
        while self.wanted is not None and not self.serving:
            now_s = loop.time()
            if self.active is None and now_s >= retry_s and not self.lock.locked():
                self._backoff_s = min(self._backoff_s * 2, BACKOFF_S_MAX)
                retry_s = now_s + self._backoff_s
                async with self.lock:
                    await self._restart()
            await asyncio.sleep(KEEP_S)

    def _expect_a_delay(self) -> None:
        if self._standing_in is None or self._standing_in.done():
            self._standing_in = asyncio.create_task(self._stand_in(), name=f"stand in for {self.bundle}")

    async def _stand_in(self) -> None:
        """When no worker comes in time: answers 503 for it, and has the safe values written."""
        await asyncio.sleep(UNAVAILABLE_AFTER_S)
        if self.active is not None and self.active.state in ("candidate", "active"):
            return
        await self._answer_unavailable()
        if self.wanted is not None and self.reason:
            await self._safe_values.write(self.wanted)

    async def _answer_unavailable(self) -> None:
        try:
            await self._unavailable.open()
        except (LauncherError, OSError) as error:
            self._say("error", f"nobody answers for the worker: {error}")

    async def _restart(self) -> None:
        if self.wanted is None or self.active is not None:
            return
        try:
            await self._bring_up(self.wanted)
        except Refused as error:
            self.reason = error.message

    async def _bring_up(self, activation: Activation) -> None:
        """Starts a worker and lets it serve once it is loaded: nobody stands in for it from then on.

        Raises Refused when there is no process; when it ends too early `reason` says why.
        """
        self._expect_a_delay()
        link = self._crew.active = await self._crew.spawn(activation, "candidate", held=self.held)
        try:
            await link.until(lambda: link.state in ("candidate", "active"), START_S_MAX)
            await self._unavailable.close()
            await self._safe_values.settled()
            await link.ask("activate", timeout_s=ORDER_S_MAX)
        except (WorkerGone, OrderRefused) as error:
            self.reason = self.reason or str(error)
            link.kill()

    def watch(self, awake_s: float, hang_s: float) -> None:
        """Kills workers that were silent while we were awake to hear them. A starting one has START_S_MAX."""
        for link in self.links:
            link.silent_s += awake_s
            if link.silent_s > (hang_s if link.state != "starting" else START_S_MAX):
                self._say("error", f"worker {link.pid} hangs: no heartbeat for {link.silent_s:.0f} s, killed")
                link.silent_s = 0.0
                link.kill()

    # ---------------------------------------------------------------- what is asked of it

    async def ensure(self, activation: Activation) -> None:
        """Makes `activation` the serving one: keeps, adopts, switches to or starts its worker."""
        self.wanted = activation
        fitting = [link for link in self.links if same(link.activation, activation)]
        serving = next((link for link in self.links if link.state == "active"), None)
        chosen = next((link for link in fitting if link.state == "active"), None) or next(iter(fitting), None)
        if chosen is None:
            await self._crew.end_all(keep=None)
            await self._bring_up(activation)
        elif chosen.state != "active" and chosen.state not in ("starting", "loading"):
            await self._move(serving, chosen)
            await self._crew.end_all(keep=chosen)
        else:
            self._crew.active = chosen
            await self._crew.end_all(keep=chosen)
        if (link := self.active) is not None:
            with contextlib.suppress(WorkerGone):
                await link.until(lambda: link.state == "active", START_S_MAX)
            if link is chosen:  # it lived before, and may have missed an order
                await self._hold(link, self.held)
                await self._arm(link, activation)
            self._beaten(link)
        self._ensure_keeping()

    async def prepare(self, activation: Activation, *, timeout_s: float, allow_gap: bool) -> None:
        """Loads a candidate and feeds it until its windows are full. Raises Refused."""
        await self.discard()
        if not fits_beside(activation.peak_memory_bytes, available_bytes()):
            if not allow_gap:
                raise Refused(
                    "DEPLOYMENT.MEMORY",
                    "there is no memory for the new worker beside the old one",
                    "Allow a gap: the old worker then ends before the new one starts.",
                )
            self._gapped = activation
            return
        link = self._crew.candidate = await self._crew.spawn(activation, "candidate", held=self.held)
        try:
            await link.until(lambda: link.state == "candidate", timeout_s)
            await self._crew.feed(self.active, link)
            await link.until(lambda: link.warm or not self._feeds_warmth(), timeout_s)
        except (WorkerGone, OrderRefused) as error:
            await self.discard()
            raise Refused("DEPLOYMENT.PREFLIGHT", f"the candidate did not get ready: {error}") from error

    async def switch(self) -> SwitchReport:
        """The prepared candidate takes over; the previous worker stays warm. Raises Refused: the old one serves on."""
        before = self.wanted
        gapped, self._gapped = self._gapped, None
        if gapped is not None:
            return await self._start_anew(gapped, before)
        link = self._crew.candidate
        if link is None:
            raise Refused(
                "DEPLOYMENT.PREFLIGHT", f"{self.bundle} has no prepared candidate: {self.reason or 'it ended'}"
            )
        report = await self._move(self.active, link)
        self._crew.candidate = None
        self.previous = before
        await self._crew.feed(self.active, self._crew.warm_previous)
        return report

    async def switch_back(self) -> SwitchReport | None:
        """The previous activation takes over, warm if its worker lives, else started anew. None: there is none."""
        previous = self.previous
        if previous is None:
            return None
        bad, link = self.active, self._crew.warm_previous
        if link is not None and link.state == "released":
            try:
                report = await self._move(bad, link)
                self.previous = self._crew.warm_previous = None
                await self._crew.end(bad)
                return report
            except Refused as error:
                self._say("warning", f"the warm worker did not take over: {error.message}")
        self.previous = None
        return await self._start_anew(previous, self.wanted)

    async def cast_shadow(self) -> str:
        """Compares the candidate live with the active worker, whose name is returned. Raises Refused."""
        try:
            return await self._crew.cast_shadow()
        except (WorkerGone, OrderRefused) as error:
            raise Refused("DEPLOYMENT.PREFLIGHT", f"no shadow of {self.bundle}: {error}") from error

    async def shed_shadow(self) -> None:
        """Leaves the candidate without sweeps for now. Raises Refused."""
        try:
            await self._crew.shed_shadow()
        except (WorkerGone, OrderRefused) as error:
            raise Refused("DEPLOYMENT.PREFLIGHT", f"the shadow of {self.bundle}: {error}") from error

    def shadow_standing(self) -> ShadowStanding | None:
        return self._crew.shadow_standing()

    async def discard(self) -> None:
        """Drops a prepared candidate."""
        self._gapped = None
        link, self._crew.candidate = self._crew.candidate, None
        await self._crew.end(link)

    async def retire(self) -> None:
        """Ends the warm previous worker; there is nothing to go back to."""
        self.previous = None
        link, self._crew.warm_previous = self._crew.warm_previous, None
        await self._crew.end(link)

    async def commit(self, activation: Activation) -> None:
        """The trial of what serves is over: workers start as `activation` from now on, outputs act if it says so."""
        if self.wanted is not None and same(self.wanted, activation):
            self.wanted = activation
            if self.active is not None:
                await self._arm(self.active, activation)

    async def _arm(self, link: WorkerLink, activation: Activation) -> None:
        """Tells a worker whether its outputs are armed. One that cannot be told is ended; the next one starts so."""
        if link.state == "ended":
            return
        try:
            if link.state in ("starting", "loading"):
                raise WorkerGone(f"worker {link.worker} still loads")
            answer = await link.ask("arm", timeout_s=ORDER_S_MAX, on=activation.write_back == "armed")
        except (WorkerGone, OrderRefused) as error:
            self._say("warning", f"arming: {error}; the worker is started anew")
            link.kill()
            return
        link.activation = activation
        for problem in answer["problems"]:
            self._say("error", f"arming: {problem}")

    async def order(self, op: str, **body: str) -> dict[str, Any] | None:
        """What the active worker answers; None where none serves. Raises Refused."""
        if self.active is None or not self.serving:
            return None
        try:
            return await self.active.ask(op, timeout_s=ORDER_S_MAX, **body)
        except (WorkerGone, OrderRefused) as error:
            raise Refused("MODEL.UNAVAILABLE", f"{self.bundle}: {error}", "Try again when it serves.") from error

    async def stop(self, *, safe: bool) -> None:
        """Ends everything; `safe`: outputs at the safe value, whether the worker still could write it or not."""
        activation, self.wanted = self.wanted, None
        link, self._crew.active = self.active, None
        wrote = link is not None and link.state == "active"
        await self._crew.end_all(keep=None)
        self.previous = self.previous or activation
        if safe and not wrote and activation is not None:
            await self._safe_values.write(activation)
        self.reason = ""
        await self._answer_unavailable()
        if activation is not None:
            self._tell("stopped", activation.revision, "stopped")

    async def hold(self, on: bool) -> None:
        """Outputs to the safe value, or free again; at once, and once more behind a switch that is under way."""
        self.held = on
        if self._crew.candidate is not None:
            await self._hold(self._crew.candidate, on)
        done = self.active is not None and self.serving and await self._hold(self.active, on)
        if on and not done and self.wanted is not None:
            await self._safe_values.write(self.wanted)
        if self.lock.locked():
            async with self.lock:
                if self.active is not None and self.serving:
                    await self._hold(self.active, self.held)

    async def _hold(self, link: WorkerLink, on: bool) -> bool:
        """Whether the worker did it. One that does not answer is ended: its outputs must not go on."""
        try:
            answer = await link.ask("hold", timeout_s=HOLD_S_MAX, on=on)
        except (WorkerGone, OrderRefused) as error:
            self._say("error", f"hold: {error}; the worker is ended")
            link.kill()
            with contextlib.suppress(WorkerGone):
                await link.until(lambda: link.state == "ended", HOLD_S_MAX)
            return False
        for problem in answer["problems"]:
            self._say("error", f"hold: {problem}")
        return True

    async def close(self) -> None:
        """Lets the workers go on without us."""
        tasks = [task for task in (self._keeping, self._standing_in) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._unavailable.close()
        for link in self.links:
            link.detach()

    # ---------------------------------------------------------------- the switch

    async def _move(self, old: WorkerLink | None, new: WorkerLink) -> SwitchReport:
        """Moves the plant from `old` to `new`. Raises Refused when `new` did not take it; `old` has it then."""
        old_wanted, self.wanted = self.wanted, new.activation
        await self._unavailable.close()
        await self._safe_values.settled()
        try:
            gap_ms, passed = await plant_move.move(old, new, self._around.clock, self._say)
        except (WorkerGone, OrderRefused) as error:
            self.wanted = old_wanted
            new.kill()
            raise Refused("DEPLOYMENT.PREFLIGHT", f"the switch failed: {error}") from error
        self._crew.active = new
        self._crew.warm_previous = old if old is not None and old.state == "released" else None
        self._beaten(new)
        return SwitchReport(
            gap_ms=gap_ms,
            connections_passed=passed,
            from_revision=None if old is None else old.activation.revision,
            to_revision=new.activation.revision,
        )

    async def _start_anew(self, activation: Activation, before: Activation | None) -> SwitchReport:
        """Ends what there is and starts `activation` cold."""
        began_us = self._around.clock.boottime_us()
        self.wanted = activation
        self._crew.active = None
        await self._crew.end_all(keep=None)
        if activation is not before and before is not None and self.previous is None and activation.trial:
            self.previous = before
        await self._bring_up(activation)
        if not self.serving:
            self._ensure_keeping()
            raise Refused("MODEL.UNAVAILABLE", f"{self.bundle} r{activation.revision}: {self.reason}")
        return SwitchReport(
            gap_ms=(self._around.clock.boottime_us() - began_us) / 1e3,
            connections_passed=0,
            from_revision=None if before is None else before.revision,
            to_revision=activation.revision,
        )

    def _feeds_warmth(self) -> bool:
        """Whether waiting for a candidate's windows can end: an active worker feeds it whose own windows are full."""
        return self.serving and self.active is not None and self.active.warm

    def _say(self, level: str, text: str) -> None:
        self._around.log(level, f"worker {self.bundle}", text)

    def _tell(self, kind: Literal["serving", "exited", "stopped"], revision: int, text: str) -> None:
        self._around.tell(RuntimeEvent(kind=kind, bundle=self.bundle, revision=revision, text=text))
