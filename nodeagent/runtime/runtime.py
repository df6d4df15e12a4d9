"""The workers of this node as the supervisor drives them: a bundle each, and what concerns them all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from nodeagent.clock import Clock
from nodeagent.processes.launcher_client import LauncherClient, WorkerExit
from nodeagent.protocol import BundleTelemetry, Tap
from nodeagent.runtime.bundle_runtime import BundleRuntime
from nodeagent.runtime.crew import Surroundings
from nodeagent.runtime.probation_start import probation
from nodeagent.runtime.runtime_report import Refused, RuntimeEvent, ShadowStanding, SwitchReport
from nodeagent.runtime.worker_link import OrderRefused, WorkerGone
from nodeagent.runtime.worker_spec import WorkerSpecs, activation_of
from nodeagent.settings import Settings
from nodeagent.spec import Activation

__all__ = ["Refused", "RuntimeEvent", "Runtimes", "SwitchReport"]

EVENTS_MAX: Final = 1_000
PROBATION_S_MAX: Final = 180.0
WATCH_S: Final = 0.5
SWEEPS_S: Final = 10.0
AWAKE_S_MAX: Final = 1.0


class Runtimes:
    """Start it once the launcher has greeted. Methods that change a bundle wait for each other, bundle by bundle."""

    def __init__(
        self,
        *,
        launcher: LauncherClient,
        settings: Settings,
        clock: Clock,
        log: Callable[[str, str, str], object],
        state: Path,
    ) -> None:
        self.events: asyncio.Queue[RuntimeEvent] = asyncio.Queue(EVENTS_MAX)
        self._launcher = launcher
        self._settings = settings
        self._log = log
        self._specs = WorkerSpecs(settings.run_dir(state), settings, str(os.getpid()))
        self._around = Surroundings(launcher, self._specs, clock, log, self._tell)
        self._bundles: dict[str, BundleRuntime] = {}
        self._watching: asyncio.Task[None] | None = None
        self._held = False
        self.unsettled = "the agent has just started and is finding its models"
        """Why `models` may lack some; empty after `settle`."""

    async def start(self) -> None:
        """Adopts the workers that went on without a supervisor, and begins to watch."""
        self._launcher.on_exit = self._exited
        for running in self._launcher.running:
            try:
                activation = activation_of(running.spec)
            except (msgspec.ValidationError, KeyError) as error:
                self._log("error", "runtime", f"worker {running.spec.worker} is not ours: {error}")
                self._launcher.signal(running.spec.worker, signal.SIGKILL)
                continue
            if running.spec.role != "safe":
                await self._bundle(activation.bundle).adopt(running.spec.worker, activation, running.pid)
        self._watching = asyncio.create_task(self._watch(), name="runtimes")

    async def close(self) -> None:
        """Leaves the workers to themselves and the launcher."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        for bundle in self._bundles.values():
            await bundle.close()

    def settle(self) -> None:
        """Every bundle that is to serve was ensured once: a model that is not known now is none of the node's."""
        self.unsettled = ""

    async def ensure(self, a: Activation) -> None:
        """Makes `a` the active, serving worker: keeps or adopts a fitting one, starts one otherwise.

        Returns when it serves or has failed for the first time; it is then tried again, and events and telemetry tell.
        """
        bundle = self._bundle(a.bundle)
        async with bundle.lock:
            await bundle.ensure(a)

    async def prepare(self, a: Activation, *, timeout_s: float, allow_gap: bool = False) -> None:
        """Tries `a` in probation, then loads it beside the active worker and feeds it until its windows are full.

        Raises Refused: DEPLOYMENT.PREFLIGHT or BUNDLE.* (the bundle), DEPLOYMENT.MEMORY (the node), BINDING.MALFORMED.
        """
        verdict = await probation(a, wall_s=min(timeout_s, PROBATION_S_MAX))
        if not verdict.ok:
            raise Refused(verdict.code, verdict.error)
        bundle = self._bundle(a.bundle)
        async with bundle.lock:
            await bundle.prepare(a, timeout_s=timeout_s, allow_gap=allow_gap)

    async def switch(self, bundle: str) -> SwitchReport:
        """After the row flipped: the candidate takes over. When it returns no request is answered by the old revision.

        Raises Refused; the old worker then serves as before.
        """
        runtime = self._bundle(bundle)
        async with runtime.lock:
            return await runtime.switch()

    async def switch_back(self, bundle: str) -> SwitchReport | None:
        """The previous revision takes over again; None when there is none. Raises Refused when it does not start."""
        runtime = self._bundle(bundle)
        async with runtime.lock:
            return await runtime.switch_back()

    async def cast_shadow(self, bundle: str) -> str:
        """Feeds a prepared candidate live beside the active worker, and compares; that worker's name. Raises Refused.

        Again, behind an interruption or for another active worker: it begins with empty windows.
        """
        runtime = self._bundle(bundle)
        async with runtime.lock:
            return await runtime.cast_shadow()

    async def shed_shadow(self, bundle: str) -> None:
        """Leaves the candidate without sweeps until `cast_shadow`. Raises Refused."""
        runtime = self._bundle(bundle)
        async with runtime.lock:
            await runtime.shed_shadow()

    def shadow_standing(self, bundle: str) -> ShadowStanding | None:
        """The compared candidate as of its last heartbeat; None where there is none."""
        return self._bundle(bundle).shadow_standing()

    async def discard(self, bundle: str) -> None:
        """Drops a prepared candidate."""
        runtime = self._bundle(bundle)
        async with runtime.lock:
            await runtime.discard()

    async def retire(self, bundle: str) -> None:
        """After COMMIT: ends the warm previous worker."""
        runtime = self._bundle(bundle)
        async with runtime.lock:
            await runtime.retire()

    async def commit(self, a: Activation) -> None:
        """After COMMIT: arms outputs that were a dry run in the trial."""
        runtime = self._bundle(a.bundle)
        async with runtime.lock:
            await runtime.commit(a)

    async def stop(self, bundle: str, *, safe: bool) -> None:
        """Ends a bundle's workers; `safe`: outputs at the safe value."""
        runtime = self._bundle(bundle)
        async with runtime.lock:
            await runtime.stop(safe=safe)

    async def order(self, bundle: str, op: str, **body: str) -> dict[str, Any] | None:
        """What the worker that serves `bundle` answers to an order; None where none serves. Raises Refused."""
        runtime = self._bundles.get(bundle)
        return None if runtime is None else await runtime.order(op, **body)

    async def hold(self, on: bool) -> None:
        """Every output of the node to its safe value, or free again. It waits for no switch."""
        self._held = on
        await asyncio.gather(*(bundle.hold(on) for bundle in self._bundles.values()))

    async def arm(self, bundle: str, deployment_id: str, deadline_us: int, previous: Activation | None) -> None:
        """Gives the launcher the trial's deadline (CLOCK_BOOTTIME) and what to start if nobody keeps it.

        Without a previous revision it writes the safe values of the one on trial.
        """
        runtime = self._bundle(bundle)
        if previous is not None:
            runtime.previous = previous
        back = previous or runtime.wanted
        spec = None
        if back is not None:
            spec = self._specs.make(back, "active" if previous is not None else "safe", held=self._held)
        await self._launcher.arm(bundle, deployment_id, deadline_us, spec)

    def disarm(self, bundle: str) -> None:
        """The trial has ended."""
        self._launcher.disarm(bundle)

    # ---------------------------------------------------------------- what it knows

    def telemetry(self) -> list[BundleTelemetry]:
        """Every bundle as of its last heartbeat, by name."""
        shown = (bundle.telemetry() for _, bundle in sorted(self._bundles.items()))
        return [each for each in shown if each is not None]

    def upstream(self, bundle_or_model: str) -> str | None:
        """The path of the socket that answers for a bundle or a model; None: not here."""
        for name, bundle in self._bundles.items():
            if bundle.wanted is not None and bundle_or_model in (name, bundle.wanted.model):
                return str(self._specs.model_path(name))
        return None

    def models(self) -> list[tuple[str, str, str, str]]:
        """(model, version, state, reason) of every bundle that is to serve."""
        return [(each.model, each.version, each.state.value, each.reason) for each in self.telemetry()]

    def is_worker(self, pid: int) -> bool:
        """Whether a process is one of our workers: it may not use the operate socket."""
        return any(link.pid == pid for bundle in self._bundles.values() for link in bundle.links)

    async def tap(self, bundle: str) -> AsyncIterator[Tap]:
        """Sweeps of the active worker after each stage, until it ends. Raises Refused when there is none."""
        runtime = self._bundles.get(bundle)
        if runtime is None or runtime.active is None or not runtime.serving:
            raise Refused("MODEL.UNAVAILABLE", f"{bundle} has no worker that could be tapped")
        async with contextlib.aclosing(runtime.active.taps()) as taps:
            async for tap in taps:
                yield tap

    async def past_sweeps(self, bundle: str, name: str, count: int) -> tuple[Activation, str]:
        """Has the active worker write its newest sweeps into its own folder: its activation, and the file.

        Raises Refused where there is no worker or it cannot.
        """
        runtime = self._bundles.get(bundle)
        if runtime is None or runtime.active is None or not runtime.serving:
            raise Refused("MODEL.UNAVAILABLE", f"{bundle} has no worker that has seen sweeps")
        link = runtime.active
        path = str(Path(link.activation.work_dir) / name)
        try:
            await link.ask("sweeps", timeout_s=SWEEPS_S, path=path, count=count)
        except (WorkerGone, OrderRefused) as error:
            raise Refused("MODEL.UNAVAILABLE", f"{bundle}: {error}") from error
        return link.activation, path

    # ---------------------------------------------------------------- inside

    def _bundle(self, name: str) -> BundleRuntime:
        if name not in self._bundles:
            self._bundles[name] = BundleRuntime(name, self._around)
            self._bundles[name].held = self._held
        return self._bundles[name]

    def _exited(self, ended: WorkerExit) -> None:
        for bundle in self._bundles.values():
            bundle.exited(ended)

    def _tell(self, event: RuntimeEvent) -> None:
        if self.events.full():
            self.events.get_nowait()
        self.events.put_nowait(event)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            await asyncio.sleep(WATCH_S)
            now_s = loop.time()
            for bundle in list(self._bundles.values()):
                bundle.watch(min(now_s - last_s, AWAKE_S_MAX), self._settings.worker.hang_s)
            last_s = now_s
