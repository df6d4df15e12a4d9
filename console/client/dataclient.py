"""The agent's API about its data: alert rules and shelves. AgentClient carries it; raises what that raises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar
from urllib.parse import quote

from nodeagent.protocol import (
    Alert,
    AlertRules,
    LabelRow,
    LabelsPage,
    PipelineReplay,
    PipelineReplayRequest,
    ReviewQueue,
    RulesRequest,
    ShelveRequest,
)

T = TypeVar("T")
Query = dict[str, str | int | float | bool | None]
REQUEST_S = 20.0
LABELS_MAX = 100_000
REPLAY_S = 120.0


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

    async def labels(self, bundle: str, *, after: int = 0) -> LabelsPage:
        """Every label of a bundle, oldest first, a page at a time."""
        return await self.get_json(LabelsPage, "/labels", {"bundle": bundle, "after": after})

    async def all_labels(self, bundle: str) -> list[LabelRow]:
        """Every label of a bundle, oldest first; at most LABELS_MAX."""
        found: list[LabelRow] = []
        after: int | None = 0
        while after is not None and len(found) < LABELS_MAX:
            page = await self.labels(bundle, after=after)
            found += page.labels
            after = page.next if page.next is not None and page.next > after else None
        return found

    async def review_queue(self, bundle: str, *, limit: int | None = None) -> ReviewQueue:
        """What this person should label next."""
        return await self.get_json(ReviewQueue, "/labels/queue", {"bundle": bundle, "limit": limit})

    async def replay(self, bundle: str, pipeline: str, *, last: int) -> PipelineReplay:
        """The newest sweeps of a bundle's worker through an edited pipeline, beside the running one."""
        request = PipelineReplayRequest(node_id=await self.identify(), pipeline=pipeline, last=last)
        return await self._send(
            PipelineReplay, "POST", f"/tap/{quote(bundle, safe='')}/replay", request, timeout_s=REPLAY_S
        )

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
