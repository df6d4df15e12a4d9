"""The agent's log: pages by cursor, and the stream."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from nodeagent.api import Call, Endpoints, Stream
from nodeagent.http.message import HttpError
from nodeagent.protocol import PAGE_ROWS_MAX, LogLine, LogsPage
from nodeagent.state.logs import LEVELS, Log, at_least

CURSOR_MAX = (1 << 63) - 1


@dataclasses.dataclass(frozen=True)
class LogHandlers:
    """Query: `after` (a cursor), `level` (this or worse), `source`, `search`; of pages also `before`, `limit`."""

    log: Log

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/logs"): self.page, ("GET", "/agent/v1/logs/stream"): self.stream}

    async def page(self, call: Call) -> LogsPage:
        after, limit = _after(call), call.query_int("limit", 200, minimum=1, maximum=PAGE_ROWS_MAX)
        keep = _filter(call)
        before = call.query_int("before", -1, minimum=-1, maximum=CURSOR_MAX)
        if before >= 0:
            return await asyncio.to_thread(self.log.page_before, before, limit=limit, keep=keep)
        if after is None or self.log.is_in_memory(after):
            return self.log.page(after=after, limit=limit, keep=keep)
        return await asyncio.to_thread(self.log.page, after=after, limit=limit, keep=keep)

    async def stream(self, call: Call) -> Stream:
        return Stream(self.log.follow(_after(call), _filter(call)))


def _after(call: Call) -> int | None:
    after = call.query_int("after", -1, minimum=-1, maximum=CURSOR_MAX)
    return None if after < 0 else after


def _filter(call: Call) -> Callable[[LogLine], bool]:
    level, source = call.query_text("level"), call.query_text("source")
    contains = call.query_text("search", 256).casefold()
    if level and level not in LEVELS:
        raise HttpError("REQUEST.MALFORMED", f"level is one of {', '.join(LEVELS)}")
    enough = at_least(level) if level else at_least("debug")
    return lambda line: (
        enough(line)
        and (not source or line.source == source or line.source.startswith(f"{source}/"))
        and contains in line.text.casefold()
    )
