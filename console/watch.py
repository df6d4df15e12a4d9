"""One node, watched for as long as the console runs: connect, ask who it is, follow its telemetry, notice silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from console.client import AgentClient
from console.identity import check_not_doubled
from console.link.errors import LinkError, NotListening
from console.pace import ClockOffset, Pace, with_value
from console.view import STALE_AFTER_PERIODS, LinkState, NodeView
from console.wire import AgentError
from nodeagent.protocol import Telemetry


class Link(Protocol):
    """What a watch needs of the link besides requests."""

    @property
    def mode(self) -> str: ...

    async def drop(self) -> None: ...


class Watch:
    """Publishes a new view at every change. `run` returns only when cancelled."""

    def __init__(
        self,
        view: NodeView,
        link: Link,
        client: AgentClient,
        *,
        publish: Callable[[NodeView], None],
        node_ids: Callable[[], Mapping[str, str]],
        pace: Pace,
        random_unit: Callable[[], float],
    ) -> None:
        self.view, self.client, self.link = view, client, link
        self._publish, self._node_ids, self._pace, self._random = publish, node_ids, pace, random_unit
        self._offset = ClockOffset()
        self._failures = 0
        self._missed = 0
        self._retry = asyncio.Event()

    def retry(self) -> None:
        """Tries again now instead of after the backoff."""
        self._retry.set()

    async def run(self) -> None:
        """Connects, follows, and after a loss connects again."""
        while True:
            error = await self._live()
            if not isinstance(error, NotListening):
                await self.link.drop()
            self._failures += 1
            self._lost(error)
            wait_s = self._pace.backoff_s(self._failures, self.view.link, self._random())
            self._retry.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._retry.wait()
            except TimeoutError:
                continue

    async def _live(self) -> LinkError | AgentError:
        """One connection's life; returns what ended it."""
        found: list[LinkError | AgentError] = []
        try:
            await self._greet()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._ping())
        except* (LinkError, AgentError) as errors:
            found += _leaves(errors)
        return found[0]

    async def _greet(self) -> None:
        status = await self.client.status()
        check_not_doubled(self.view.name, status.node_id, dict(self._node_ids()))
        self._offset.clear()
        self._failures = self._missed = 0
        self._set(LinkState.UP, status=status, link_mode=self.link.mode)
        self._take(status.telemetry)

    async def _follow(self) -> None:
        last = self.view.telemetry
        async with aclosing(self.client.telemetry(last.cursor if last else None)) as lines:
            async for telemetry in lines:
                self._missed = 0
                self._take(telemetry)
        raise LinkError(LinkState.NO_AGENT, self.view.name, "the agent ended the telemetry", "it restarts, or stopped")

    def _take(self, telemetry: Telemetry) -> None:
        before, view = self.view.telemetry, self.view
        same_run = before is not None and (before.boot_id, before.started_us) == (
            telemetry.boot_id,
            telemetry.started_us,
        )
        if before is not None and same_run and telemetry.cursor <= before.cursor and view.telemetry_at_s is not None:
            return
        trend = view.rate_trend
        if before is not None and (not same_run or telemetry.cursor > before.cursor + 1):
            trend = with_value(trend, None)
        self.view = replace(
            view,
            link=LinkState.UP,
            link_since_wall_s=view.link_since_wall_s if view.link is LinkState.UP else time.time(),
            link_error="",
            link_hint="",
            telemetry=telemetry,
            telemetry_at_s=time.monotonic(),
            clock_offset_s=self._offset.add(telemetry.wall_us, time.time(), view.rtt_ms),
            rate_trend=with_value(trend, sum(bundle.inferences_per_s for bundle in telemetry.bundles)),
        )
        self._publish(self.view)

    async def _ping(self) -> None:
        """Finds a dead link, a hung agent and a silent stream. A line of telemetry counts as an answer too."""
        while True:
            started_s = time.monotonic()
            try:
                async with asyncio.timeout(self._pace.ping_s):
                    await self.client.ping()
            except TimeoutError:
                self._missed += 1
                if self._missed >= self._pace.missed_max:
                    silent_s = self._pace.ping_s * self._missed
                    hint = "the link, a hop on the way or the agent hangs; the console connects anew"
                    message = f"no answer for {silent_s:g} s"
                    raise LinkError(LinkState.DOWN, self.view.name, message, hint) from None
                self._set(LinkState.STALE, link_error="a ping was not answered")
                continue
            self._missed = 0
            self._measured((time.monotonic() - started_s) * 1_000)
            await asyncio.sleep(self._pace.ping_s)

    def _measured(self, rtt_ms: float) -> None:
        self.view = replace(self.view, rtt_ms=rtt_ms)
        telemetry, age_s = self.view.telemetry, self.view.age_s(time.monotonic())
        silent = telemetry is not None and age_s is not None and age_s > STALE_AFTER_PERIODS * telemetry.period_s
        if silent and age_s is not None:
            self._set(LinkState.STALE, link_error=f"no telemetry for {age_s:.0f} s")
        else:
            self._publish(self.view)

    def _lost(self, error: LinkError | AgentError) -> None:
        trend = with_value(self.view.rate_trend, None) if self.view.rate_trend[-1:] != (None,) else self.view.rate_trend
        if isinstance(error, AgentError):
            message = f"{error.error.message} ({error.error.code})"
            self._set(LinkState.NO_AGENT, link_error=message, link_hint=error.error.hint, rate_trend=trend)
            return
        state = LinkState.DOWN if error.state in (LinkState.UP, LinkState.CONNECTING) else error.state
        self._set(state, link_error=explain(error), link_hint=error.hint, rate_trend=trend)

    def _set(self, state: LinkState, **fields: object) -> None:
        """A new view; `link_since_wall_s` moves only when the state does."""
        since_s = self.view.link_since_wall_s if self.view.link is state else time.time()
        plain: dict[str, object] = {"link_error": "", "link_hint": ""}
        self.view = replace(self.view, link=state, link_since_wall_s=since_s, **{**plain, **fields})  # type: ignore[arg-type]
        self._publish(self.view)


def _leaves(group: BaseExceptionGroup[LinkError | AgentError]) -> list[LinkError | AgentError]:
    found: list[LinkError | AgentError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def explain(error: BaseException) -> str:
    """The error and its causes that add something, in one line."""
    parts = [error.message if isinstance(error, LinkError) else str(error) or type(error).__name__]
    cause = error.__cause__
    while cause is not None and len(parts) < 4:
        text = cause.message if isinstance(cause, LinkError) else getattr(cause, "strerror", None) or str(cause)
        if text and not any(text in part for part in parts):
            parts.append(text)
        cause = cause.__cause__
    return ": ".join(parts)
