"""The supervisor's view of one worker process: orders, heartbeats, its end. It imports neither numpy nor the worker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from nodeagent.processes.channel import Channel, ChannelClosed
from nodeagent.processes.launcher_client import LauncherClient, WorkerExit
from nodeagent.protocol import BundleTelemetry, Tap
from nodeagent.spec import Activation

State = Literal["starting", "loading", "candidate", "active", "released", "ended"]
STATES: Final = ("loading", "candidate", "active", "released")
TAPS_WAITING_MAX: Final = 256
TAP_LOOK_S: Final = 1.0
REASON_CHARS_MAX: Final = 500


class WorkerGone(Exception):
    """The worker ended, or did not do what was asked in time; the text says which."""


class OrderRefused(Exception):
    """The worker lives and could not do it; the text says why."""


class WorkerLink:
    """One worker. `on_beat` is called at each heartbeat and change of state, `on_log` with its log lines."""

    def __init__(
        self,
        launcher: LauncherClient,
        worker: str,
        activation: Activation,
        socket_path: Path,
        *,
        on_beat: Callable[[WorkerLink], None],
        on_log: Callable[[str, str], None],
    ) -> None:
        self.worker = worker
        self.activation = activation
        self.socket_path = socket_path
        self.pid = 0
        self.state: State = "starting"
        self.warm = False
        self.telemetry: BundleTelemetry | None = None
        self.shadow: dict[str, Any] | None = None
        self.silent_s = 0.0
        self.reason = ""
        self._launcher = launcher
        self._on_beat = on_beat
        self._on_log = on_log
        self._channel: Channel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self._taps: set[asyncio.Queue[Tap]] = set()

    def __repr__(self) -> str:
        return f"WorkerLink({self.worker} {self.activation.bundle} r{self.activation.revision} {self.state})"

    async def connect(self, pid: int) -> None:
        """Connects to the running process and asks for heartbeats. Raises WorkerGone."""
        self.pid = pid
        try:
            self._channel = await Channel.connect(self.socket_path)
            self._channel.send({"op": "watch"})
        except (OSError, TimeoutError) as error:
            raise WorkerGone(f"worker {self.worker} does not listen: {error}") from error
        self._reading = asyncio.create_task(self._read(self._channel), name=f"worker {self.worker}")

    async def ask(self, op: str, *, timeout_s: float, **order: Any) -> dict[str, Any]:
        """One order and its answer. Raises WorkerGone, OrderRefused."""
        if self._channel is None or self.state == "ended":
            raise WorkerGone(f"worker {self.worker} has ended")
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._channel.send({"op": op, "id": number, **order})
            async with asyncio.timeout(timeout_s):
                got = await answer
        except (ChannelClosed, TimeoutError) as error:
            raise WorkerGone(f"worker {self.worker} did not answer {op}: {error or 'too late'}") from error
        finally:
            del self._answers[number]
        if "error" in got:
            raise OrderRefused(str(got["error"])[:REASON_CHARS_MAX])
        return got

    async def until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Waits for `ready`, looked at whenever something changed. Raises WorkerGone at its end or past the time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not ready():
                    if self.state == "ended":
                        raise WorkerGone(self.reason)
                    await self._changed.wait()
        except TimeoutError as error:
            raise WorkerGone(f"worker {self.worker} was not ready in {timeout_s:g} s") from error

    async def taps(self) -> AsyncGenerator[Tap, None]:
        """Sweeps after each stage, until the worker ends. One that is not taken in time is left out."""
        queue: asyncio.Queue[Tap] = asyncio.Queue(TAPS_WAITING_MAX)
        self._taps.add(queue)
        try:
            await self.ask("tap", timeout_s=5.0, on=True)
            while self.state != "ended":
                try:
                    async with asyncio.timeout(TAP_LOOK_S):
                        tap = await queue.get()
                except TimeoutError:
                    continue
                yield tap
        finally:
            self._taps.discard(queue)
            if not self._taps and self.state != "ended":
                with contextlib.suppress(WorkerGone, OrderRefused):
                    await self.ask("tap", timeout_s=5.0, on=False)

    def terminate(self) -> None:
        """Asks it to end in order: an active one writes its safe values."""
        if self.state != "ended":
            self._launcher.signal(self.worker, signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        if self.state != "ended":
            self._launcher.signal(self.worker, signal.SIGKILL)

    async def end(self, timeout_s: float) -> None:
        """Asks it to end, kills it past the time, returns when it is gone. Raises WorkerGone if even that fails."""
        self.terminate()
        try:
            await self.until(lambda: self.state == "ended", timeout_s)
        except WorkerGone:
            self.kill()
            await self.until(lambda: self.state == "ended", timeout_s)

    def exited(self, ended: WorkerExit) -> None:
        """The launcher reaped it."""
        last_words = ended.tail.strip().splitlines()[-1:] or [""]
        self.reason = f"{last_words[0]} ({ended.text})"[:REASON_CHARS_MAX] if last_words[0] else ended.text
        self.state = "ended"
        self.detach()

    def detach(self) -> None:
        """Leaves the worker to itself: it goes on without us."""
        if self._channel is not None:
            self._channel.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ChannelClosed(self.reason or "we let it go"))
        self._notify()

    async def _read(self, channel: Channel) -> None:
        try:
            while True:
                self._hear((await channel.receive()).body)
        except ChannelClosed:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ChannelClosed("it closed its control socket"))
        except (msgspec.ValidationError, KeyError) as error:
            self._on_log("error", f"worker {self.worker} said what no worker says: {error}")
            self.kill()

    def _hear(self, body: dict[str, Any]) -> None:
        match body.get("op"):
            case "beat":
                self._beat(body)
            case "answer" if (answer := self._answers.get(body["to"])) is not None and not answer.done():
                answer.set_result(body)
            case "log":
                self._on_log(str(body["level"]), str(body["text"]))
            case "tap":
                tap = msgspec.convert(body["tap"], Tap)
                for queue in self._taps:
                    with contextlib.suppress(asyncio.QueueFull):
                        queue.put_nowait(tap)

    def _beat(self, body: dict[str, Any]) -> None:
        self.silent_s = 0.0
        if body["state"] in STATES and self.state != "ended":
            self.state = body["state"]
        self.warm = bool(body["warm"])
        if "telemetry" in body:
            self.telemetry = msgspec.convert(body["telemetry"], BundleTelemetry)
            self.shadow = body.get("shadow")
        self._on_beat(self)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
