"""`type = "http"`: outcomes by POST, a JSON array of them, to a webhook or an MES. They wait in the outbox until 2xx.

Delivered at least once: an answer that was lost is asked for again, and `seq` tells the other end which it has had.
What it calls wrong (400, 413, 415, 422) goes aside, so that the others get past it; anything else is tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from nodeagent.pipeline.options import Options, Seconds
from nodeagent.pipeline.outcome import Outcome
from nodeagent.pipeline.section import Section
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.ending import ended
from nodeagent.sinks.http_post import Poster, PostFailed, endpoint
from nodeagent.sinks.mailbag import OUTBOX_FILE, Mailbag
from nodeagent.sinks.message import Wanted, When, late, payload_of
from nodeagent.sinks.sink import SinkContext
from store.outbox import Message, Outbox, Stored

BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 60.0
WRONG: Final = frozenset({400, 413, 415, 422})


class HttpOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`headers` hold what the other end wants to see, secrets by binding. `batch_max` outcomes go in one POST."""

    url: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    when: When = "all"
    batch_max: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    timeout: Seconds = Seconds(5.0)
    ca_file: str | None = None
    replay_per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 100.0
    bytes_max: Annotated[int, msgspec.Meta(ge=4096)] = 64 << 20
    age_max: Seconds = Seconds(7 * 86_400.0)

    def __post_init__(self) -> None:
        endpoint(self.url)
        for name, value in self.headers.items():
            if not (name.isascii() and value.isascii() and name.isprintable() and value.isprintable()):
                raise ValueError(f"the header {name!r} holds what no header holds")

    def __repr__(self) -> str:
        return f"HttpOptions({self.url} when={self.when})"


OPTIONS = HttpOptions


class Http:
    """The sink: makes messages of outcomes, keeps them in a mailbag, posts the live ones first."""

    def __init__(self, options: HttpOptions, context: SinkContext) -> None:
        self._options = options
        self._context = context
        self._wanted = Wanted(options.when)
        self._bag = Mailbag(self._open_outbox)
        self._poster: Poster | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._up = False
        self._reason = ""
        self._delivered_total = 0

    async def start(self) -> None:
        o = self._options
        self._poster = Poster(o.url, o.headers, timeout_s=float(o.timeout), ca_file=o.ca_file)
        self._tasks = [
            asyncio.create_task(self._bag.run(), name=f"http outbox {o.url}"),
            asyncio.create_task(self._deliver(self._poster), name=f"http {o.url}"),
        ]

    def offer(self, outcome: Outcome) -> None:
        if self._wanted.wants(outcome):
            self._bag.put(Message(self._options.url, payload_of(outcome, self._context)))

    async def safe(self) -> None:
        """Nothing: a message moves no machine."""

    async def close(self) -> None:
        """Stops sending; what is not delivered is in the outbox when this returns."""
        for task in self._tasks[1:]:
            await ended(task)
        await self._bag.close()
        for task in self._tasks[:1]:
            await ended(task)
        self._tasks = []
        if self._poster is not None:
            self._poster.close()

    def telemetry(self) -> SinkTelemetry:
        state: Literal["up", "down"] = "up" if self._up else "down"
        return SinkTelemetry(
            type="http",
            state=state if self._tasks else "stopped",
            delivered_total=self._delivered_total,
            waiting=self._bag.waiting,
            dropped_total=self._bag.dropped_total,
            reason=self._bag.reason or self._reason,
        )

    async def _deliver(self, poster: Poster) -> None:
        """Live ones first, then history at `replay_per_s`."""
        o = self._options
        backoff_s, pause_s = BACKOFF_S_MIN, 0.0
        while True:
            batch, history = self._bag.live(o.batch_max), False
            if not batch and pause_s:
                await self._bag.wanted(pause_s)
                pause_s = 0.0
                continue
            if not batch:
                batch, history = await self._bag.history(o.batch_max), True
            if not batch:
                await self._bag.wanted(None)
                continue
            rest_s = await self._send(poster, batch, history=history)
            if rest_s is None:
                backoff_s, pause_s = BACKOFF_S_MIN, len(batch) / o.replay_per_s if history else 0.0
            else:
                await asyncio.sleep(max(rest_s, backoff_s * (0.5 + random.random())))
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def _send(self, poster: Poster, batch: Sequence[Stored], *, history: bool) -> float | None:
        """Posts a batch. None: it is settled; otherwise how long to leave the other end alone at least."""
        settled = False
        try:
            answer = await poster.post(_body(batch, history=history))
            if 200 <= answer.status < 300:
                await self._bag.acknowledge(batch)
                self._up, self._reason, settled = True, "", True
                self._delivered_total += len(batch)
                return None
            self._up, self._reason = False, f"answers {answer.status} {answer.reason}"[:200]
            if answer.status not in WRONG:
                return answer.retry_after_s
            settled = True
        except PostFailed as error:
            self._up, self._reason = False, str(error)
            return 0.0
        finally:
            if not settled:
                self._bag.give_back(batch)
        return await self._one_by_one(poster, batch, history=history)

    async def _one_by_one(self, poster: Poster, batch: Sequence[Stored], *, history: bool) -> float | None:
        """Finds which of a batch the other end calls wrong, and puts that aside."""
        if len(batch) == 1:
            await self._bag.reject(batch[0], self._reason)
            return None
        for at, stored in enumerate(batch):
            rest_s = await self._send(poster, [stored], history=history)
            if rest_s is not None:
                self._bag.give_back(batch[at + 1 :])
                return rest_s
        return None

    def _open_outbox(self) -> Outbox:
        o, clock = self._options, self._context.clock
        return Outbox(
            Path(self._context.work_dir) / OUTBOX_FILE,
            f"http {o.url}",
            bytes_max=o.bytes_max,
            age_s_max=float(o.age_max),
            boot_id=clock.boot_id(),
            boottime_us=clock.boottime_us,
        )


def _body(batch: Sequence[Stored], *, history: bool) -> bytes:
    """A JSON array of the messages, each with its `seq` where it has one."""
    return b"[" + b",".join(_numbered(stored, history=history) for stored in batch) + b"]"


def _numbered(stored: Stored, *, history: bool) -> bytes:
    payload = late(stored.message.payload) if history else stored.message.payload
    return payload[:-1] + b',"seq":%d}' % stored.seq if stored.seq else payload


def create(section: Section, context: SinkContext) -> Http:
    """The sink of a section."""
    assert isinstance(section.options, HttpOptions)
    return Http(section.options, context)
