"""The agent's API about its data: alert rules and shelves. AgentClient carries it; raises what that raises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from nodeagent.protocol import Alert, AlertRules, RulesRequest, ShelveRequest

T = TypeVar("T")
Query = dict[str, str | int | float | bool | None]
REQUEST_S = 20.0


class DataClient(ABC):
    """Every write names the node it is meant for."""

    @abstractmethod
    async def identify(self) -> str: ...

    @abstractmethod
    async def get_json(self, kind: type[T], path: str, query: Query | None = None, *, cleaned: bool = True) -> T: ...

    @abstractmethod
    async def _send(
        self, kind: type[T], method: str, path: str, request: Any, *, timeout_s: float = REQUEST_S
    ) -> T: ...

    async def shelve(self, alert: int, hours: float, note: str = "") -> Alert:
        """Keeps an alert quiet for `hours`; 0 ends that."""
        request = ShelveRequest(node_id=await self.identify(), hours=hours, note=note)
        return await self._send(Alert, "POST", f"/alerts/{alert}/shelve", request)

    async def alert_rules(self) -> AlertRules:
        """The rules in force; multi-line texts come as they are written."""
        return await self.get_json(AlertRules, "/alerts/rules", cleaned=False)

    async def set_alert_rules(self, text: str, *, dry_run: bool = False) -> AlertRules:
        """Puts other rules of the operator into force, or only checks them."""
        request = RulesRequest(node_id=await self.identify(), text=text, dry_run=dry_run)
        return await self._send(AlertRules, "PUT", "/alerts/rules", request)
