"""A worker's own control socket: orders from the supervisor, sweeps and the plant from a sibling, heartbeats out.

Orders `{"op", "id", ...}` get `{"op": "answer", "to": id, ...}` with `error` where they failed. Whoever sent `watch`
gets a `beat` a second and `log` lines. A sibling sends `frame` while we are a candidate, `take` when we go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from nodeagent.frame import Frame
from nodeagent.pipeline.state import StateRefused
from nodeagent.processes.channel import Channel, ChannelClosed, Message
from nodeagent.protocol import Tap
from nodeagent.worker import frame_wire, handover
from nodeagent.worker.bundle_worker import BundleWorker
from nodeagent.worker.past_sweeps import PastSweeps
from nodeagent.worker.plant_right import RightHeld
from nodeagent.worker.shadow import Said
from store.errors import StoreError

BEAT_S: Final = 1.0
FEED_BYTES_MAX: Final = 16 << 20
TAP_BYTES_MAX: Final = 1 << 20
CHANNELS_MAX: Final = 16


class WorkerControl:
    """Serves one worker's control socket. Orders wait until `worker` is set: before that we only beat."""

    def __init__(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._worker: asyncio.Future[BundleWorker] = asyncio.get_running_loop().create_future()
        self._watchers: set[Channel] = set()
        self._tappers: set[Channel] = set()
        self._feeds: dict[str, Channel] = {}
        self._shadows: set[str] = set()
        self._order = asyncio.Lock()
        self._channels: set[Channel] = set()
        self._past = PastSweeps()
        self.feeds_dropped_total = 0

    def begin(self, worker: BundleWorker) -> None:
        """From here on orders are obeyed."""
        self._worker.set_result(worker)
        self._tell(self._state())

    async def run(self) -> None:
        """Accepts and beats until cancelled. Raises what nobody foresaw."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._accept(tasks))
                tasks.create_task(self._beat())
        finally:
            for channel in (*self._channels, *self._feeds.values()):
                channel.close()

    def frames(self, frames: Sequence[Frame]) -> None:
        """Passes sweeps of ours to those that are getting warm. One that does not keep up misses some, counted."""
        self._past.keep(frames)
        for path, channel in list(self._feeds.items()):
            for frame in frames:
                if channel.waiting_bytes > FEED_BYTES_MAX:
                    self.feeds_dropped_total += 1
                    continue
                try:
                    channel.send({"op": "frame"}, frame_wire.encode(frame))
                except ChannelClosed:
                    self._feeds.pop(path, None)
                    break

    def said(self, rows: Callable[[], list[Said]]) -> None:
        """Passes what we made of the next sweeps to those that are compared with us, and to nobody else."""
        for path in self._shadows & self._feeds.keys():
            channel = self._feeds[path]
            if channel.waiting_bytes <= FEED_BYTES_MAX:
                with contextlib.suppress(ChannelClosed):
                    channel.send({"op": "said", "rows": [tuple(row) for row in rows()]})

    def log(self, level: str, text: str) -> None:
        """One line for the node's log; to stderr while nobody watches."""
        if not self._watchers:
            print(f"{level}: {text}", file=sys.stderr, flush=True)
        self._tell({"op": "log", "level": level, "text": text})

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listening)
            if len(self._channels) >= CHANNELS_MAX:
                sock.close()
                continue
            channel = Channel(sock)
            self._channels.add(channel)
            tasks.create_task(self._serve(channel))

    async def _serve(self, channel: Channel) -> None:
        try:
            while True:
                await self._hear(channel, await channel.receive())
        except ChannelClosed:
            return
        finally:
            self._channels.discard(channel)
            self._watchers.discard(channel)
            self._tappers.discard(channel)
            self._set_tap()
            channel.close()

    async def _hear(self, channel: Channel, message: Message) -> None:
        op = message.body.get("op")
        if op == "watch":
            self._watchers.add(channel)
            channel.send(self._state())
            return
        worker = await asyncio.shield(self._worker)
        if op == "frame":
            try:
                worker.feed(frame_wire.decode(message.payload))
            except StateRefused as error:
                raise ChannelClosed(str(error)) from error
        elif op == "seed":
            await self._seed(worker, message.payload)
        elif op == "said":
            worker.heard(message.body["rows"])
        elif op == "take":
            async with self._order:
                await handover.take(worker, channel, message)
            self._tell(self._state())
        else:
            await self._obey(channel, worker, message.body)

    async def _obey(self, channel: Channel, worker: BundleWorker, body: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"op": "answer", "to": body.get("id", 0)}
        try:
            async with self._order:
                answer |= await self._do(channel, worker, body)
        except (handover.HandoverFailed, RightHeld, OSError, StoreError, TimeoutError) as error:
            answer["error"] = str(error) or type(error).__name__
        self._tell(self._state())
        channel.send(answer)

    async def _do(self, channel: Channel, worker: BundleWorker, body: dict[str, Any]) -> dict[str, Any]:
        match body.get("op"):
            case "give":
                return await handover.give(worker, Path(body["path"]))
            case "activate":
                if worker.state != "active":
                    await worker.activate()
            case "feed":
                await self._feed(worker, body["path"], compare=bool(body.get("compare")))
            case "shadow":
                worker.cast_shadow(bool(body["on"]))
            case "unfeed":
                self._shadows.discard(body["path"])
                if (fed := self._feeds.pop(body["path"], None)) is not None:
                    fed.close()
            case "hold":
                return {"problems": await worker.hold(bool(body["on"]))}
            case "arm":
                return {"problems": await worker.arm(bool(body["on"]))}
            case "tags":
                return {"tags": worker.tags()}
            case "mark":
                await worker.mark(f"{body['tag']} was {body['mark']}")
            case "device":
                return {"changed": worker.device(str(body["source"]))}
            case "accept":
                await worker.accept(str(body["source"]))
            case "sweeps":
                return {"count": await asyncio.to_thread(self._past.write, Path(body["path"]), int(body["count"]))}
            case "tap":
                (self._tappers.add if body["on"] else self._tappers.discard)(channel)
                self._set_tap()
            case other:
                return {"error": f"{other}: unknown order"}
        return {}

    async def _feed(self, worker: BundleWorker, path: str, *, compare: bool) -> None:
        """Passes sweeps on from now; one that is compared begins where we stand, as behind a switch."""
        if path not in self._feeds:
            self._feeds[path] = await Channel.connect(Path(path))
        if not compare or worker.plant is None:
            self._shadows.discard(path)
            return
        channel = self._feeds[path]

        def begin(state: bytes) -> None:
            channel.send({"op": "seed"}, state)
            self._shadows.add(path)

        await worker.plant.seeding(begin)

    async def _seed(self, worker: BundleWorker, state: bytes) -> None:
        if worker.plant is None or worker.state == "active":
            return
        try:
            await worker.plant.seed(state)
        except StateRefused as error:
            self.log("warning", f"state of the active worker: {error}")

    def _set_tap(self) -> None:
        if self._worker.done() and (plant := self._worker.result().plant) is not None:
            plant.engine.tap = self._threadsafe_tap() if self._tappers else None

    def _threadsafe_tap(self) -> Callable[[Tap], None]:
        """The engine may run in a thread; channels belong to the loop."""
        loop = asyncio.get_running_loop()

        def pass_on(tap: Tap) -> None:
            loop.call_soon_threadsafe(self._tap, tap)

        return pass_on

    def _tap(self, tap: Tap) -> None:
        for channel in list(self._tappers):
            if channel.waiting_bytes <= TAP_BYTES_MAX:
                with contextlib.suppress(ChannelClosed):
                    channel.send({"op": "tap", "tap": tap})

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            await asyncio.sleep(BEAT_S)
            now_s = loop.time()
            body = self._state()
            if self._worker.done():
                worker = self._worker.result()
                body["telemetry"] = worker.telemetry(worker.tick(now_s - last_s))
                if (figures := worker.shadow_figures()) is not None:
                    body["shadow"] = figures
            last_s = now_s
            self._tell(body)

    def _state(self) -> dict[str, Any]:
        if not self._worker.done():
            return {"op": "beat", "state": "loading", "warm": False}
        worker = self._worker.result()
        return {"op": "beat", "state": worker.state, "warm": worker.warm}

    def _tell(self, body: dict[str, Any]) -> None:
        for channel in list(self._watchers):
            try:
                channel.send(body)
            except ChannelClosed:
                self._watchers.discard(channel)
