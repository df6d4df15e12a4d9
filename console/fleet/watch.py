"""One node, watched for as long as the console runs: connect, ask who it is, follow its telemetry, notice silence."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final, Protocol

from console.client.client import AgentClient
from console.client.identity import check_not_doubled
from console.client.wire import AgentError
from console.fleet.view import STALE_AFTER_PERIODS, LinkState, NodeView
from console.link.errors import LinkError, NotListening
from console.terminal.pace import BootClock, ClockOffset, Pace, with_value
from nodeagent.protocol import Telemetry

_CONNECT_CALL: Final = re.compile(
    r"(?:channel refused: )?\[Errno (\d+)\] Connect call failed \('([^']+)', (\d+)[^)]*\)"
)
_SAID: Final = {"110": "no answer from", "111": "connection refused by", "113": "no route to"}


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
        self._offset, self._boot = ClockOffset(), BootClock()
        self._failures = 0
        self._missed = 0
        self._greeted_s = 0.0
        self._retry = asyncio.Event()

    def retry(self) -> None:
        """Tries again now instead of after the backoff."""
        self._retry.set()

    def set_ledger_break(self, text: str) -> None:
        """Why the node's history cannot be believed, "" where it can."""
        if text != self.view.ledger_break:
            self.view = replace(self.view, ledger_break=text)
            self._publish(self.view)

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
        self._boot.clear()
        self._greeted_s = time.monotonic()
        self._boot.made_at(status.telemetry.boottime_us, self._greeted_s)
        self._failures = self._missed = 0
        self._set(LinkState.UP, status=status, link_mode=self.link.mode)
        if not _same_run(self.view.telemetry, status.telemetry):
            self._take(status.telemetry)

    async def _follow(self) -> None:
        """Goes on behind the last line of this run that was seen, so that a loss leaves no hole where none needs be."""
        last = self.view.telemetry
        assert last is not None
        async with aclosing(self.client.telemetry(last.cursor, started_us=last.started_us)) as lines:
            async for telemetry in lines:
                self._missed = 0
                self._take(telemetry)
        raise LinkError(LinkState.NO_AGENT, self.view.name, "the agent ended the telemetry", "it restarts, or stopped")

    def _take(self, telemetry: Telemetry) -> None:
        before, view, now_s = self.view.telemetry, self.view, time.monotonic()
        same_run = _same_run(before, telemetry)
        if before is not None and same_run and telemetry.cursor <= before.cursor:
            return
        made_s = self._boot.made_at(telemetry.boottime_us, now_s)
        next_one = before is None or (same_run and telemetry.cursor == before.cursor + 1)
        self.view = replace(
            view,
            link=LinkState.UP,
            link_since_wall_s=view.link_since_wall_s if view.link is LinkState.UP else time.time(),
            link_error="",
            link_hint="",
            telemetry=telemetry,
            telemetry_at_s=made_s,
            clock_offset_s=self._offset.add(telemetry.wall_us, time.time() - (now_s - made_s), view.rtt_ms),
            rate_trend=with_value(
                _joined(view.rate_trend, next_one), sum(bundle.inferences_per_s for bundle in telemetry.bundles)
            ),
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
        telemetry, now_s = self.view.telemetry, time.monotonic()
        # What was missed is still on its way right after a reconnect.
        silent_s = now_s - max(self.view.telemetry_at_s or 0.0, self._greeted_s)
        if telemetry is not None and silent_s > STALE_AFTER_PERIODS * telemetry.period_s:
            self._set(LinkState.STALE, link_error=f"no telemetry for {silent_s:.0f} s")
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


def _same_run(before: Telemetry | None, telemetry: Telemetry) -> bool:
    """Whether both are of one run of one agent: only then their cursors count the same lines."""
    if before is None:
        return False
    return (before.boot_id, before.started_us) == (telemetry.boot_id, telemetry.started_us)


def _joined(trend: tuple[float | None, ...], next_one: bool) -> tuple[float | None, ...]:
    """The trend before the next value: the gap of a loss goes where the very next line came, and stays elsewhere."""
    if trend[-1:] == (None,):
        return trend[:-1] if next_one else trend
    return trend if next_one else with_value(trend, None)


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
    return plain_words(": ".join(parts))


def plain_words(text: str) -> str:
    """asyncio's sentence about a failed connection as a person says it: `connection refused by 127.0.0.1:38153`."""
    return _CONNECT_CALL.sub(_said, text)


def _said(found: re.Match[str]) -> str:
    number, host, port = found.groups()
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{_SAID.get(number, 'no connection to')} {where}"
