"""Which calls share a run, and where it runs: on the event loop for short models, in a thread of its own for others.

Tick batching: everything that arrived in one turn of the loop runs together, so batching adds no delay. In the thread,
what queues while one batch runs is the next one. A batch that fails is run again call by call, so that one client's
bad input fails no neighbour.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from nodeagent.model.batch_probe import Profile
from nodeagent.model.inference import DeadlineExceeded, Model, RunFailed
from nodeagent.model.tensors import Array
from nodeagent.serving.oip_call import Call, join

QUEUE_CALLS_MAX = 1_024
TURN_NS = 2_000_000  # runs of one turn of the loop, then the sockets come first again


class Done(NamedTuple):
    """A run that ended: `outputs` are the model's, all rows of all calls; None where `error` says why not."""

    calls: list[Call]
    feeds: list[Array]
    outputs: list[Array] | None
    error: RunFailed | None
    run_ns: int


class QueueFull(Exception):
    """More calls wait than the queue holds."""


class Batcher:
    """Runs calls of one model; `on_done` is called on the loop, once for each run."""

    def __init__(
        self, model: Model, profile: Profile, on_done: Callable[[Done], None], *, queue_max: int = QUEUE_CALLS_MAX
    ) -> None:
        self._model = model
        self._rows_max = profile.batch_rows_max
        self._on_done = on_done
        self._queue_max = queue_max
        self._queue: deque[Call] = deque()
        self._loop = asyncio.get_running_loop()
        self._due = False
        self._closed = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        if profile.in_thread:
            self._thread = threading.Thread(target=self._work, name=f"run {model.name}"[:15], daemon=True)
            self._thread.start()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def submit(self, call: Call) -> None:
        """Queues a call. Raises QueueFull."""
        if self._closed or len(self._queue) >= self._queue_max:
            raise QueueFull(f"{len(self._queue)} calls wait already")
        call.queued_ns = time.perf_counter_ns()
        self._queue.append(call)
        if self._thread is not None:
            self._wake.set()
        elif not self._due:
            self._due = True
            self._loop.call_soon(self._turn)

    async def close(self) -> None:
        """Runs what is queued, then ends the thread."""
        self._closed = True
        if self._thread is not None:
            self._wake.set()
            await asyncio.to_thread(self._thread.join)
            await asyncio.sleep(0)  # results that the thread handed over are delivered
        while self._queue:
            self._turn()

    def _turn(self) -> None:
        self._due = False
        start_ns = time.perf_counter_ns()
        try:
            while self._queue:
                for done in self._run(self._take()):
                    self._on_done(done)
                if time.perf_counter_ns() - start_ns > TURN_NS:
                    break
        finally:
            if self._queue and not self._due:
                self._due = True
                self._loop.call_soon(self._turn)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                done = self._run(self._take())
                self._loop.call_soon_threadsafe(self._deliver, done)
            if self._closed:
                return

    def _deliver(self, runs: list[Done]) -> None:
        for done in runs:
            self._on_done(done)

    def _take(self) -> list[Call]:
        """The next calls that may share a run, oldest first."""
        queue = self._queue
        first = queue.popleft()
        calls = [first]
        signature, rows = first.plan.signature, first.plan.rows
        if signature is not None and self._rows_max > 1:
            while queue and queue[0].plan.signature == signature and rows + queue[0].plan.rows <= self._rows_max:
                call = queue.popleft()
                rows += call.plan.rows
                calls.append(call)
        return calls

    def _run(self, calls: list[Call]) -> list[Done]:
        start_ns = time.perf_counter_ns()
        deadline_s = self._left_s(calls[0], start_ns)
        for call in calls[1:]:
            deadline_s = min(deadline_s, self._left_s(call, start_ns))
        feeds = join(calls)
        try:
            if deadline_s <= 0:
                raise DeadlineExceeded("the request waited longer than it may")
            outputs = self._model.run_list(feeds, deadline_s=deadline_s)
        except RunFailed as error:
            if len(calls) > 1 and (deadline_s <= 0 or not isinstance(error, DeadlineExceeded)):
                return [done for call in calls for done in self._run([call])]
            return [Done(calls, feeds, None, error, time.perf_counter_ns() - start_ns)]
        return [Done(calls, feeds, outputs, None, time.perf_counter_ns() - start_ns)]

    def _left_s(self, call: Call, now_ns: int) -> float:
        asked_s = call.plan.timeout_us / 1e6
        allowed_s = min(asked_s, self._model.policy.deadline_s) if asked_s else self._model.policy.deadline_s
        return allowed_s - (now_ns - call.queued_ns) / 1e9
