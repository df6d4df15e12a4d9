"""The supervisor's side of the launcher: asks for sockets and workers, says that it lives, hears what ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nodeagent.processes import control
from nodeagent.processes.children import SpawnSpec

ANSWER_S_MAX = 10.0


class LauncherError(Exception):
    """The launcher refused or is gone."""


@dataclass(frozen=True)
class RunningWorker:
    """A worker that lived before this supervisor did."""

    spec: SpawnSpec
    pid: int


@dataclass(frozen=True)
class WorkerExit:
    """How a worker ended. `tail` is the last of what it wrote to stderr."""

    worker: str
    pid: int
    status: int
    text: str
    tail: str


class LauncherClient:
    """Owns the packet socket of `--fd`. `start` first; the listening sockets and adopted workers are known after it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._answers: dict[int, asyncio.Future[tuple[control.Packet, list[int]]]] = {}
        self._last_id = 0
        self._alive: asyncio.Task[None] | None = None
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._workers_due = 0
        self.launcher_pid = 0
        self.listeners: dict[str, socket.socket] = {}
        self.running: list[RunningWorker] = []
        self.went_back: list[str] = []
        self.versions: dict[str, Any] = {}
        self.stopping = False
        self.on_exit: Callable[[WorkerExit], None] = lambda _: None
        self.on_gone: Callable[[], None] = lambda: None

    @classmethod
    def from_fd(cls, fd: int) -> LauncherClient:
        """Takes the descriptor that the launcher passed as `--fd`. Needs a running loop."""
        return cls(socket.socket(fileno=fd))

    async def start(self) -> None:
        """Waits for the launcher's greeting and starts saying `alive`. Raises LauncherError."""
        asyncio.get_running_loop().add_reader(self._sock, self._hear)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await asyncio.shield(self._greeted)
        except TimeoutError as error:
            raise LauncherError("the launcher did not greet") from error
        self._alive = asyncio.create_task(self._say_alive(), name="alive")

    async def close(self) -> None:
        """Stops listening and saying `alive`. Workers go on."""
        if self._alive is not None:
            self._alive.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._alive
        self._gone()
        self._sock.close()

    def ready(self) -> None:
        """The node is up: the service manager may know."""
        self._send({"op": "ready"})

    async def spawn(self, spec: SpawnSpec) -> int:
        """Starts a worker. Returns its pid. Raises LauncherError."""
        answer, _ = await self._ask({"op": "spawn", "spec": spec.to_json()})
        return int(answer["pid"])

    async def listen(self, name: str) -> socket.socket:
        """The listening Unix socket `name`, made at its first use; the launcher keeps it. Raises LauncherError."""
        _, fds = await self._ask({"op": "listen", "name": name})
        return socket.socket(fileno=fds[0])

    async def unlisten(self, name: str) -> None:
        """Closes the launcher's socket `name` for good."""
        await self._ask({"op": "unlisten", "name": name})

    def signal(self, worker: str, number: int) -> None:
        """Signals a worker; one that has ended is nothing to do."""
        self._send({"op": "signal", "worker": worker, "signal": int(number)})

    async def arm(self, bundle: str, deployment: str, deadline_us: int, spawn: SpawnSpec | None) -> None:
        """Gives the launcher a trial's deadline (CLOCK_BOOTTIME) and what to run if unkept; the last counts."""
        packet: control.Packet = {"op": "arm", "bundle": bundle, "deployment": deployment, "deadline_us": deadline_us}
        await self._ask({**packet, "spawn": None if spawn is None else spawn.to_json()})

    def disarm(self, bundle: str) -> None:
        """The trial has ended; its row says how."""
        self._send({"op": "disarm", "bundle": bundle})

    async def ask_versions(self) -> dict[str, Any]:
        """What is installed and where an upgrade stands, as `Versions.show` tells. Raises LauncherError."""
        return await self._version_order({"op": "versions"})

    async def begin_upgrade(self, upgrade: str, version: str, *, window_s: float, actor: str) -> dict[str, Any]:
        """Puts another version of the agent on trial: we are told to end right after. Raises LauncherError."""
        order = {"op": "upgrade", "upgrade": upgrade, "version": version, "window_s": window_s, "actor": actor}
        return await self._version_order(order)

    async def confirm_upgrade(self, upgrade: str) -> dict[str, Any]:
        """Keeps the version that is on trial. Raises LauncherError where that is over."""
        return await self._version_order({"op": "upgrade-confirm", "upgrade": upgrade})

    async def end_upgrade(self, upgrade: str) -> dict[str, Any]:
        """Takes the version before. Raises LauncherError after a commit."""
        return await self._version_order({"op": "upgrade-back", "upgrade": upgrade})

    async def _version_order(self, packet: control.Packet) -> dict[str, Any]:
        answer, _ = await self._ask(packet)
        self.versions = {name: value for name, value in answer.items() if name not in ("event", "to")}
        return self.versions

    async def _say_alive(self) -> None:
        while True:
            self._send({"op": "alive"})
            await asyncio.sleep(control.ALIVE_EVERY_S)

    async def _ask(self, packet: control.Packet) -> tuple[control.Packet, list[int]]:
        self._last_id += 1
        number = self._last_id
        answer: asyncio.Future[tuple[control.Packet, list[int]]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._send({**packet, "id": number})
            async with asyncio.timeout(ANSWER_S_MAX):
                got, fds = await answer
        except TimeoutError as error:
            raise LauncherError(f"the launcher did not answer {packet['op']}") from error
        finally:
            del self._answers[number]
        if "error" in got:
            raise LauncherError(f"{packet['op']}: {got['error']}")
        return got, fds

    def _send(self, packet: control.Packet) -> None:
        try:
            control.send(self._sock, packet)
        except BlockingIOError as error:
            raise LauncherError("the launcher does not read") from error
        except OSError:
            self._gone()

    def _hear(self) -> None:
        try:
            got = control.receive(self._sock)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            got = None
        if got is None:
            self._gone()
            return
        packet, fds = got
        match packet.get("event"):
            case "answer" if (answer := self._answers.get(packet["to"])) is not None and not answer.done():
                answer.set_result((packet, fds))
            case "hello":
                self._greet(packet, fds)
            case "worker":
                self.running.append(RunningWorker(SpawnSpec.from_json(packet["spec"]), int(packet["pid"])))
                self._check_greeted()
            case "exited":
                self.on_exit(WorkerExit(**{key: value for key, value in packet.items() if key != "event"}))
            case "stopping":
                self.stopping = True
            case _:
                for fd in fds:
                    os.close(fd)

    def _greet(self, packet: dict[str, Any], fds: list[int]) -> None:
        self.launcher_pid = int(packet["launcher"])
        self.went_back = list(packet["went_back"])
        self.versions = dict(packet.get("versions") or {})
        self.listeners = {name: socket.socket(fileno=fd) for name, fd in zip(packet["listeners"], fds, strict=True)}
        self._workers_due = int(packet["workers"])
        self._check_greeted()

    def _check_greeted(self) -> None:
        if len(self.running) >= self._workers_due and not self._greeted.done():
            self._greeted.set_result(None)

    def _gone(self) -> None:
        """The launcher is gone (or we close): whoever waits is told."""
        asyncio.get_running_loop().remove_reader(self._sock)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(LauncherError("the launcher is gone"))
        if not self._greeted.done():
            self._greeted.set_exception(LauncherError("the launcher is gone"))
        if self.launcher_pid:
            self.launcher_pid = 0
            self.on_gone()
