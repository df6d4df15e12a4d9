"""The worker processes of one bundle and the part each plays: active, candidate, previous kept warm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from nodeagent.clock import Clock
from nodeagent.processes.launcher_client import LauncherClient, LauncherError, WorkerExit
from nodeagent.processes.limits import yield_to_others
from nodeagent.runtime.runtime_report import Refused, RuntimeEvent, ShadowStanding
from nodeagent.runtime.worker_link import WorkerGone, WorkerLink
from nodeagent.runtime.worker_spec import WorkerSpecs
from nodeagent.spec import Activation, Role

ORDER_S_MAX: Final = 10.0
END_S_MAX: Final = 10.0


class Surroundings(NamedTuple):
    """What every bundle's runtime uses."""

    launcher: LauncherClient
    specs: WorkerSpecs
    clock: Clock
    log: Callable[[str, str, str], object]
    tell: Callable[[RuntimeEvent], None]


class Crew:
    """Starts and ends workers. `on_beat` is called at each heartbeat of any of them."""

    def __init__(
        self,
        bundle: str,
        around: Surroundings,
        *,
        on_beat: Callable[[WorkerLink], None],
        say: Callable[[str, str], None],
    ) -> None:
        self.active: WorkerLink | None = None
        self.candidate: WorkerLink | None = None
        self.warm_previous: WorkerLink | None = None
        self._bundle = bundle
        self._around = around
        self._on_beat = on_beat
        self._say = say
        self._links: dict[str, WorkerLink] = {}

    @property
    def links(self) -> list[WorkerLink]:
        return list(self._links.values())

    @property
    def serving(self) -> bool:
        """Whether the active worker answers."""
        return self.active is not None and self.active.state == "active"

    async def spawn(self, activation: Activation, role: Role, *, held: bool) -> WorkerLink:
        """Starts a worker process and connects to it. Raises Refused when the launcher cannot."""
        spec = self._around.specs.make(activation, role, held=held)
        link = self._link(spec.worker, activation)
        try:
            await link.connect(await self._around.launcher.spawn(spec))
        except (LauncherError, WorkerGone) as error:
            raise Refused("MODEL.UNAVAILABLE", f"no worker for {self._bundle}: {error}") from error
        return link

    async def adopt(self, worker: str, activation: Activation, pid: int) -> None:
        """Takes over a worker that lived before this supervisor."""
        link = self._link(worker, activation)
        with contextlib.suppress(WorkerGone):
            await link.connect(pid)
            await link.until(lambda: link.state != "starting", ORDER_S_MAX)
        if link.state == "starting":
            link.kill()

    def exited(self, ended: WorkerExit) -> WorkerLink | None:
        """A worker of the node ended: takes ours out of its place. The link, as it was, of one of ours."""
        link = self._links.pop(ended.worker, None)
        if link is not None:
            link.exited(ended)
            if link is self.candidate:
                self.candidate = None
            if link is self.warm_previous:
                self.warm_previous = None
            if link is self.active:
                self.active = None
        return link

    async def end(self, link: WorkerLink | None) -> None:
        """Ends one in order, by force when it takes too long."""
        if link is not None and link.state != "ended":
            with contextlib.suppress(WorkerGone):
                await link.end(END_S_MAX)

    async def end_all(self, *, keep: WorkerLink | None) -> None:
        """Ends all but one."""
        ending = [link for link in self.links if link is not keep]
        for link in ending:
            if link is self.active:
                self.active = None
        self.candidate = self.candidate if self.candidate is keep else None
        self.warm_previous = self.warm_previous if self.warm_previous is keep else None
        await asyncio.gather(*(self.end(link) for link in ending))

    async def feed(self, source: WorkerLink | None, sink: WorkerLink | None) -> None:
        """Lets an active worker pass its sweeps to another one. Raises WorkerGone, OrderRefused."""
        if source is not None and sink is not None and source.state == "active" and sink.activation.pipeline_path:
            await source.ask("feed", timeout_s=ORDER_S_MAX, path=str(sink.socket_path))

    async def cast_shadow(self) -> str:
        """Feeds the candidate with sweeps and answers of the active worker, from empty windows; that worker's name.

        Raises WorkerGone, OrderRefused.
        """
        source, sink = self.active, self.candidate
        if sink is None or sink.state != "candidate":
            raise WorkerGone("there is no candidate")
        if source is None or source.state != "active":
            raise WorkerGone("nothing is active to be compared with")
        yield_to_others(sink.pid)
        await sink.ask("shadow", timeout_s=ORDER_S_MAX, on=True)
        await source.ask("feed", timeout_s=ORDER_S_MAX, path=str(sink.socket_path), compare=True)
        return source.worker

    async def shed_shadow(self) -> None:
        """Feeds the candidate no more, for now. Raises WorkerGone, OrderRefused."""
        if self.active is not None and self.candidate is not None:
            await self.active.ask("unfeed", timeout_s=ORDER_S_MAX, path=str(self.candidate.socket_path))

    def shadow_standing(self) -> ShadowStanding | None:
        """How the candidate does; None where there is none."""
        link, active = self.candidate, self.active
        if link is None:
            return None
        figures, told = link.shadow, active.telemetry if active is not None else None
        return ShadowStanding(
            figures=figures,
            candidate_waiting=int(figures["waiting"]) if figures else 0,
            active_waiting=told.queue if told is not None else 0,
            active=active.worker if active is not None and active.state == "active" else "",
            ended=link.reason if link.state == "ended" else "",
        )

    def _link(self, worker: str, activation: Activation) -> WorkerLink:
        link = WorkerLink(
            self._around.launcher,
            worker,
            activation,
            self._around.specs.control_path(worker),
            on_beat=self._on_beat,
            on_log=self._say,
        )
        self._links[worker] = link
        return link


def same(one: Activation, other: Activation) -> bool:
    """Whether a worker of `one` serves as one of `other`: it runs the same. What is armed it is told."""
    told = {"trial": other.trial, "write_back": other.write_back, "node_name": other.node_name, "site": other.site}
    return msgspec.structs.replace(one, **told) == other
