"""Write-back to a plant: a decision into one place of it, inside the guard that the node's binding sets.

Nothing is written in dry run, which is the default: the telemetry says what would be. Armed are a deployment and the
node's local switch together; then the place follows the decision, and `safe` brings it to the safe value at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.outcome import IDLE, Outcome
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.ending import ended
from nodeagent.sinks.pulse import Pulse
from nodeagent.sinks.sink import SinkContext, SinkFailed
from nodeagent.sinks.writable import Writable
from nodeagent.sinks.write_guard import Guard
from nodeagent.sinks.writer import Writer, state_of


class WriteOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`value` while the alarm or the decision `when` stands, `safe` otherwise and whenever outputs are held."""

    when: str
    value: float
    guard: Guard
    safe: float = 0.0
    timeout: Seconds = Seconds(1.0)

    def check_limits(self) -> None:
        """Raises ValueError for a value that the guard does not let be written."""
        for name in ("value", "safe"):
            number: float = getattr(self, name)
            if not self.guard.low <= number <= self.guard.high:
                raise ValueError(f"{name!r} lies outside the guard's limits")

        places = [self.place, self.guard.heartbeat, self.guard.state]
        named = [place for place in places if place]
        if len(set(named)) != len(named):
            raise ValueError("the guard's 'heartbeat' and 'state' are places of their own")

    @property
    def place(self) -> str:
        """Where it writes to, as the allow-list has it."""
        raise NotImplementedError


class WriteBack:
    """A sink of `type`. `connect` opens the place; `allow_is_bound`: the allow-list stands in the node's binding."""

    def __init__(
        self,
        type: str,  # noqa: A002
        options: WriteOptions,
        context: SinkContext,
        connect: Callable[[], Awaitable[Writable]],
        *,
        allow_is_bound: bool,
    ) -> None:
        self.type = type
        self.options = options
        self._connect = connect
        self.would_write_total = 0
        self._clock = context.clock
        self._allow_is_bound = allow_is_bound
        self._on = context.write_back == "armed"
        self._doubt = self._problem = ""
        self._refusal = self._refusal_now()
        self._turning = asyncio.Lock()
        self._doubting: asyncio.Task[None] | None = None
        self._writer = self._new_writer()
        self._task: asyncio.Task[None] | None = None
        self._running = False
        self._standing: bool | None = None

    @property
    def armed(self) -> bool:
        """Whether this sink writes to the plant."""
        return not self._refusal

    async def start(self) -> None:
        self._running = True
        self._start_writer()

    async def arm(self, on: bool) -> None:
        """The next valid decision is the first that is written. Raises SinkFailed as `safe` does."""
        self._on = on
        await self._turn()

    def doubt(self, reason: str) -> None:
        self._doubt = reason
        self._doubting = asyncio.create_task(self._turn_quietly(), name=f"doubt {self.options.place}")

    async def _turn_quietly(self) -> None:
        try:
            await self._turn()
        except SinkFailed as error:
            self._problem = str(error)

    async def _turn(self) -> None:
        """From what it did to what it may do now."""
        async with self._turning:
            if (refusal := self._refusal_now()) == self._refusal:
                return
            self._problem = ""
            try:
                if self.armed:
                    await self.safe()
            finally:
                await self._end_writer()
                self._refusal, self._writer = refusal, self._new_writer()
                if self._running:
                    self._start_writer()

    def offer(self, outcome: Outcome) -> None:
        o = self.options
        if not outcome.valid:
            if outcome.decision == IDLE:
                self._writer.alive()
            return
        standing = outcome.alarm if o.when == "alarm" else outcome.decision == o.when
        self.would_write_total += self._standing is not None and standing != self._standing
        self._standing = standing
        if self._doubt:
            return
        self._writer.want(o.value if standing else o.safe)

    def pulse(self, beat: Pulse) -> None:
        self._writer.state(beat.code)

    async def safe(self) -> None:
        """Brings the place to its safe value where this sink is armed. Raises SinkFailed."""
        if self.armed:
            await self._writer.write_now(self.options.safe)
        elif not self._refusal.startswith("dry run"):
            raise SinkFailed(self._refusal)

    async def close(self) -> None:
        """Lets the connection go; the place stays as it is."""
        self._running = False
        if self._doubting is not None:
            await asyncio.wait({self._doubting})
        await self._end_writer()

    def telemetry(self) -> SinkTelemetry:
        writer = self._writer if self.armed else None
        return SinkTelemetry(
            type=self.type,
            state="down" if self._fault() or self._problem else state_of(writer, running=self._running),
            delivered_total=self._writer.written_total,
            waiting=int(self.armed and self._writer.behind),
            dropped_total=self._writer.refused_total,
            reason=self._told(),
        )

    def _told(self) -> str:
        o, writer = self.options, self._writer
        if fault := self._fault() or self._problem:
            return fault
        if self.armed:
            value = "not known" if writer.reads is None else f"{writer.reads:g}"
            return f"armed; {writer.reason}" if writer.reason else f"armed; {o.place} reads {value}"
        if self._standing is None:
            return self._refusal
        return f"{self._refusal}; would write {o.value if self._standing else o.safe:g} to {o.place}"

    def _fault(self) -> str:
        """What ended the writer, which nothing should."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return ""
        return f"the writer ended: {self._task.exception()!r}"

    def _refusal_now(self) -> str:
        o = self.options
        if refusal := o.guard.refusal(o.place, armed=self._on, allow_is_bound=self._allow_is_bound):
            return refusal
        return f"dry run: {self._doubt}" if self._doubt else ""

    def _new_writer(self) -> Writer:
        o = self.options
        return Writer(self._connect, o.place, o.guard, self._clock, safe=o.safe)

    def _start_writer(self) -> None:
        if self.armed:
            self._task = asyncio.create_task(self._writer.run(), name=f"write {self.options.place}")

    async def _end_writer(self) -> None:
        if self._task is not None:
            await ended(self._task)
            self._task = None
            await self._writer.close()
