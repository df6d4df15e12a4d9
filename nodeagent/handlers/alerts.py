"""Alerts: those that stand, the history, and that a person has seen one."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.health.alert_board import AlertBoard
from nodeagent.http.message import HttpError
from nodeagent.protocol import PAGE_ROWS_MAX, Alert


@dataclasses.dataclass(frozen=True)
class AlertHandlers:
    """Query of the list: `all=1` for the newest ones, cleared ones included, and `limit`."""

    board: AlertBoard

    def endpoints(self) -> Endpoints:
        return {
            ("GET", "/agent/v1/alerts"): self.list,
            ("POST", "/agent/v1/alerts/{id}/acknowledge"): self.acknowledge,
        }

    async def list(self, call: Call) -> list[Alert]:
        if call.query_text("all") != "1":
            return self.board.standing
        return await self.board.newest(call.query_int("limit", 100, minimum=1, maximum=PAGE_ROWS_MAX))

    async def acknowledge(self, call: Call) -> Alert:
        text = call.path["id"]
        found = None
        if text.lstrip("-").isdigit() and text.isascii() and len(text) < 19:
            found = await self.board.acknowledge(int(text), call.actor, call.body.note)
        if found is None:
            raise HttpError("ALERT.UNKNOWN", f"there is no alert {text[:32]}")
        return found
