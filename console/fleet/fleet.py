"""The live fleet: a link and a watch a node, the latest view of each, and clients to talk to them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType

from console.client.client import AgentClient
from console.delivery.lane import OperateLane
from console.delivery.mandate import Mandate
from console.diode.watch import DiodeDesk, OneWayLink, OneWayWatch
from console.fleet.view import LinkState, NodeAddress, NodeView
from console.fleet.watch import Watch
from console.link.errors import LinkError
from console.link.node import MONITOR, NodeLink
from console.link.pool import Pool
from console.terminal.pace import Pace
from nodeagent.protocol import LogLine

NODES_MAX = 5_000
GONE_NAMES_MAX = 1_000


class LiveFleet:
    """`console.fleet.view.Fleet` over SSH. Clients work whether or not `run` does; views move only while it does.

    Its links speak to each node's monitor socket: what changes a node goes over the lane of `operate`. `operator` is
    the person's name as nodes write it down.
    """

    def __init__(
        self,
        addresses: Iterable[NodeAddress],
        pool: Pool,
        *,
        operator: str = "",
        pace: Pace | None = None,
        mandate: Mandate | None = None,
        diode: DiodeDesk | None = None,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._diode = diode
        self._pool, self._pace, self._random = pool, pace or Pace(), random_unit
        self._operator, self._mandate = operator, mandate
        self._lanes: list[OperateLane] = []
        self._version = 0
        self._views: dict[str, NodeView] = {}
        self._changed: dict[str, int] = {}
        self._watches: dict[str, Watch | OneWayWatch] = {}
        self._links: dict[str, NodeLink | OneWayLink] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._news = asyncio.Event()
        for address in addresses:
            self.add(address)

    # -- views

    @property
    def version(self) -> int:
        return self._version

    def views(self) -> Mapping[str, NodeView]:
        return MappingProxyType(self._views)

    def changed_since(self, version: int) -> frozenset[str]:
        return frozenset(name for name, changed in self._changed.items() if changed > version)

    async def wait_changed(self, version: int) -> int:
        """Returns the version as soon as it is above `version`."""
        while self._version <= version:
            self._news.clear()
            await self._news.wait()
        return self._version

    async def wait_settled(self, name: str) -> NodeView:
        """The node's view once it is known whether it is reached."""
        while self._views[name].link is LinkState.CONNECTING:
            await self.wait_changed(self._version)
        return self._views[name]

    # -- which nodes

    def add(self, address: NodeAddress) -> None:
        """Watches one more node. Raises ValueError for a name that is there already, or a jump that cannot be read."""
        if address.name in self._views:
            raise ValueError(f"there is a node {address.name} already")
        if len(self._views) >= NODES_MAX:
            raise ValueError(f"a fleet holds at most {NODES_MAX} nodes")
        watch = self._watch_of(NodeView(address=address, link_since_wall_s=time.time()))
        self._watches[address.name] = watch
        self._publish(watch.view)
        if self._group is not None:
            self._start(address.name)

    def _watch_of(self, view: NodeView) -> Watch | OneWayWatch:
        address = view.address
        if address.one_way_key:
            one_way = OneWayWatch(view, self._diode, self._publish)
            self._links[address.name] = one_way.link
            return one_way
        link = self._links[address.name] = NodeLink(address, self._pool, role=MONITOR, operator=self._operator)
        return Watch(
            view,
            link,
            AgentClient(link, address.name, node_id=address.node_id),
            publish=self._publish,
            node_ids=self._node_ids,
            pace=self._pace,
            random_unit=self._random,
        )

    async def remove(self, name: str) -> None:
        """Forgets a node and ends its link."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        link = self._links.pop(name)
        del self._watches[name], self._views[name]
        self._version += 1
        self._changed[name] = self._version
        gone = [other for other in self._changed if other not in self._views]
        for other in gone[: max(0, len(gone) - GONE_NAMES_MAX)]:
            del self._changed[other]
        self._news.set()
        await link.aclose()

    def retry(self, name: str) -> None:
        """Connects now instead of after the backoff."""
        self._watches[name].retry()

    def set_ledger_break(self, name: str, text: str) -> None:
        """Says why the node's history cannot be believed; "" where it can. Publishes only what is new."""
        if name in self._watches:
            self._watches[name].set_ledger_break(text)

    async def run(self) -> None:
        """Watches every node until cancelled; then every link is closed."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for name in list(self._watches):
                    self._start(name)
                await asyncio.Event().wait()
        finally:
            self._group = None
            self._tasks.clear()
            await self.aclose()

    async def aclose(self) -> None:
        """Closes every link, those of lanes for good; a client of the fleet that is used again connects again."""
        for lane in self._lanes:
            await lane.aclose()
        self._lanes.clear()
        for link in list(self._links.values()):
            await link.aclose()

    # -- talking to a node

    def client(self, name: str) -> AgentClient:
        """The node's client on its live link. Raises KeyError for an unknown name."""
        return self._watches[name].client

    def way(self, name: str) -> str:
        """How the node's agent is reached, once it was asked something."""
        return self._links[name].mode

    def operate(self) -> OperateLane:
        """A lane of its own for changes: new logins, and whoever has to be asked for one is asked again."""
        self._lanes = [lane for lane in self._lanes if not lane.is_over]
        self._lanes.append(OperateLane(self._pool.anew(), self._pinned, operator=self._operator, mandate=self._mandate))
        return self._lanes[-1]

    def _pinned(self, name: str) -> NodeAddress:
        """The address with the id that is pinned, or that the node told."""
        address = self._links[name].address
        return replace(address, node_id=address.node_id or self._node_ids()[name])

    async def follow_logs(self, name: str, after: int | None = None) -> AsyncGenerator[LogLine, None]:
        """Log lines as they come; after a loss it goes on at the cursor as soon as the node is up again."""
        cursor = after
        while name in self._watches:
            try:
                async with aclosing(self.client(name).follow_logs(cursor)) as lines:
                    async for line in lines:
                        cursor = line.cursor
                        yield line
            except LinkError:
                if self._group is None:
                    raise
            await asyncio.sleep(self._pace.backoff_first_s)
            while name in self._views and self._views[name].link is not LinkState.UP:
                await self.wait_changed(self._version)

    # -- inside

    def _start(self, name: str) -> None:
        assert self._group is not None
        self._tasks[name] = self._group.create_task(self._watches[name].run(), name=f"watch {name}")

    def _publish(self, view: NodeView) -> None:
        if view.name not in self._watches:
            return
        self._version += 1
        self._views[view.name] = view
        self._changed[view.name] = self._version
        self._news.set()

    def _node_ids(self) -> Mapping[str, str]:
        """Ids that are pinned, or told by a node that is up."""
        return {
            name: view.address.node_id or (view.status.node_id if view.status and view.link is LinkState.UP else "")
            for name, view in self._views.items()
        }
