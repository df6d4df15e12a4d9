"""The node's history, for reading and for checking the chain."""

from __future__ import annotations

import dataclasses
import sqlite3

from nodeagent.api import Call, Endpoints
from nodeagent.protocol import PAGE_ROWS_MAX, LedgerEntry, LedgerPage
from nodeagent.state.database import NodeDatabase
from store import ledger


@dataclasses.dataclass(frozen=True)
class LedgerHandlers:
    """Query: `after` (a seq), `limit`."""

    database: NodeDatabase

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/ledger"): self.page}

    async def page(self, call: Call) -> LedgerPage:
        after = call.query_int("after", 0, maximum=(1 << 63) - 1)
        limit = call.query_int("limit", 200, minimum=1, maximum=PAGE_ROWS_MAX)
        return await self.database.read(_page, after, limit)


def _page(connection: sqlite3.Connection, after: int, limit: int) -> LedgerPage:
    entries = [LedgerEntry(**entry._asdict()) for entry in ledger.page(connection, after, limit)]
    head = ledger.head(connection)
    return LedgerPage(entries=entries, head_seq=head.seq, head_hash=head.hash)
