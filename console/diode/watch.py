"""One-way nodes in a live fleet: what came is shown with its age, a watched folder is looked at, nothing is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from console.client.client import AgentClient
from console.fleet.view import LinkState, NodeAddress, NodeView
from console.link.errors import one_way

if TYPE_CHECKING:
    from console.link.transport import Answer, Body
    from nodeagent.protocol import OneWayReport
    from store.oneway import Newest

LOOK_S: Final = 2.0
FOLDER_SETTING: Final = "diode.folder"


class OneWayLink:
    """Stands where another node has its link; every request is refused with the reason."""

    mode = "one-way"

    def __init__(self, address: NodeAddress) -> None:
        self.address = address

    async def request(self, method: str, target: str, *, body: Body = None, timeout_s: float) -> Answer:
        raise one_way(self.address.name)

    def stream(
        self, method: str, target: str, *, body: Body = None, timeout_s: float | None
    ) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        raise one_way(self.address.name)

    async def drop(self) -> None:
        """There is nothing to end."""

    async def aclose(self) -> None:
        """There is nothing to end."""


class DiodeDesk:
    """What came of one-way nodes, read in a thread of its own; the watched folder is taken on the way."""

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="diode")
        self._took_s = -LOOK_S
        self._folder_ns = 0

    async def newest(self, node_id: str) -> tuple[Newest, OneWayReport] | None:
        """The newest report of a node. Raises StoreError kinds."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._newest, node_id)

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _newest(self, node_id: str) -> tuple[Newest, OneWayReport] | None:
        from console.diode.intake import decoded
        from store.oneway import Reports

        self._take_watched()
        with Reports(self._catalog) as reports:
            newest = reports.newest(node_id)
        return None if newest is None else (newest, decoded(newest.document))

    def _take_watched(self) -> None:
        """The folder is read when it changed since it was read last."""
        from console.diode.folder import take_folder, watched
        from console.receipts import is_removable

        now_s = time.monotonic()
        if now_s - self._took_s < LOOK_S / 2:
            return
        self._took_s = now_s
        folder = watched(self._catalog)
        if folder is not None and is_removable(folder):
            return  # A stick is never opened by itself, also where one was mounted over the folder.
        changed_ns = _changed_ns(folder) if folder is not None else 0
        if folder is None or changed_ns in (0, self._folder_ns):
            return
        take_folder(self._catalog, [folder])
        self._folder_ns = changed_ns


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


class OneWayWatch:
    """Publishes what the newest report tells, and its growing age. Stands where another node has its Watch."""

    def __init__(self, view: NodeView, desk: DiodeDesk | None, publish: Callable[[NodeView], None]) -> None:
        self.view = replace(view, link=LinkState.ONE_WAY, link_mode="one-way")
        self.link = OneWayLink(view.address)
        self.client = AgentClient(self.link, view.name, node_id=view.address.node_id)
        self._desk, self._publish = desk, publish
        self._looked = asyncio.Event()

    def retry(self) -> None:
        """Looks now."""
        self._looked.set()

    def set_ledger_break(self, text: str) -> None:
        """Why the node's history cannot be believed, "" where it can."""
        if text != self.view.ledger_break:
            self.view = replace(self.view, ledger_break=text)
            self._publish(self.view)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            self._looked.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._looked.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Reads what came and publishes what is new of it."""
        from console.diode.standing import view_of
        from store.errors import StoreError

        try:
            found = await self._desk.newest(self.view.address.node_id) if self._desk is not None else None
        except StoreError as error:
            self._show(replace(self.view, telemetry_at_s=None, link_error=str(error)))
            return
        newest, report = found if found is not None else (None, None)
        self._show(view_of(self.view, newest, report, now_s=time.monotonic(), wall_s=time.time()))

    def _show(self, view: NodeView) -> None:
        old_s, new_s = self.view.telemetry_at_s, view.telemetry_at_s
        if old_s is not None and new_s is not None and abs(old_s - new_s) < 1.0:
            view = replace(view, telemetry_at_s=old_s)  # The same report: the two clocks did not tick as one.
        if view != self.view:
            self.view = view
            self._publish(view)
