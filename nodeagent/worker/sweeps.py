"""Sweeps on their way to the engine: in order, those of one turn together, slow ones off the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from nodeagent.frame import Frame
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.outcome import Outcome

FRAMES_WAITING_MAX: Final = 4_096
TURN_FRAMES_MAX: Final = 256
INLINE_S_MAX: Final = 0.002
SMOOTHING: Final = 0.2


class Sweeps:
    """Feeds one engine. `on_outcomes` gets what each turn led to, `on_frames` the frames that went in.

    Past FRAMES_WAITING_MAX the oldest frame is dropped and counted. `turn_us`: what a frame of the last turn took.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_outcomes: Callable[[list[Outcome]], None],
        on_frames: Callable[[Sequence[Frame]], None],
    ) -> None:
        self._engine = engine
        self._on_outcomes = on_outcomes
        self._on_frames = on_frames
        self._waiting: deque[Frame] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._cost_s = 0.0
        self._thread: ThreadPoolExecutor | None = None
        self.dropped_total = 0
        self.turn_us = 0
        self._asked: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """Frames that wait for the engine."""
        return len(self._waiting)

    def offer(self, frame: Frame) -> None:
        """Takes one frame; never waits."""
        if len(self._waiting) >= FRAMES_WAITING_MAX:
            self._waiting.popleft()
            self.dropped_total += 1
        self._waiting.append(frame)
        self._idle.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Works until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                self._answer()
                while self._waiting:
                    turn = [self._waiting.popleft() for _ in range(min(len(self._waiting), TURN_FRAMES_MAX))]
                    begun_s = loop.time()
                    outcomes = await self._push(turn)
                    took_s = loop.time() - begun_s
                    self._cost_s += SMOOTHING * (took_s - self._cost_s)
                    self.turn_us = round(took_s * 1e6 / len(turn))
                    self._on_outcomes(outcomes)
                    self._on_frames(turn)
                    self._answer()
                self._idle.set()
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False)

    async def between(self, act: Callable[[], object]) -> None:
        """Does `act` when no turn is under way: the engine then stands behind a whole sweep, passed on already."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((act, done))
        self._arrived.set()
        await done

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        for act, done in asked:
            if done.done():
                continue
            try:
                act()
            except Exception as error:  # noqa: BLE001  (raised where it was asked for)
                done.set_exception(error)
            else:
                done.set_result(None)

    def forget(self) -> None:
        """Drops what waits."""
        self._waiting.clear()

    async def settled(self, timeout_s: float) -> bool:
        """Waits until every frame that was offered has gone through. False: not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _push(self, frames: list[Frame]) -> list[Outcome]:
        """In the loop while that is quick; a slow engine gets one thread, so that HTTP and the heartbeat go on."""
        if self._thread is None:
            if self._cost_s <= INLINE_S_MAX:
                return self._engine.push_many(frames)
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sweeps")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.push_many, frames)
