"""What screens start over live links: which lane it takes, how it ends, and what leaving OPERATE waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from console.fleet.view import LinkState
from console.seat.live import LiveOperations
from console.seat.operations import OperationFailed
from nodeagent.protocol import Alert, AlertState, Error, ErrorBody


@asynccontextmanager
async def seated(plant: Any) -> AsyncIterator[tuple[LiveOperations, Any]]:
    """Operations over a fleet of one node that is up; (operations, its agent)."""
    await plant.node("press-07")
    async with plant.running() as fleet:
        await plant.until("press-07", lambda view: view.link is LinkState.UP)
        operations = LiveOperations(fleet, plant.folder / "catalog.db", operator="alice")
        try:
            yield operations, plant.agents["press-07"]
        finally:
            await operations.leave_operate()
            operations.close()


def test_acknowledging_works_in_monitor_and_releasing_does_not(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        async with seated(plant) as (operations, agent):
            seen = Alert(
                id=5, code="X", priority=2, state=AlertState.ACKNOWLEDGED, subject="", message="m", advice="",
                raised_us=1, acknowledged_by="alice",
            )  # fmt: skip
            agent.handle["POST", "/alerts/5/acknowledge"] = lambda query, body: seen
            assert (await operations.acknowledge("press-07", 5, "")).acknowledged_by == "alice"
            with pytest.raises(OperationFailed, match="press o for OPERATE"):
                await operations.release("press-07", "")
            await operations.enter_operate()
            agent.handle["POST", "/hold/release"] = lambda query, body: agent.status()
            await operations.release("press-07", "")

    in_plant(body)


def test_leaving_operate_takes_no_new_change_and_ends_its_login_behind_the_last_one(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        async with seated(plant) as (operations, agent):
            logins = plant.servers["press-07"]._open
            before = len([login for login in logins if not login.is_closed()])
            await operations.enter_operate()
            goes_on, asked = asyncio.Event(), asyncio.Event()
            serve = agent.serve

            async def slow(method: str, target: str, body: bytes) -> Any:
                if target.endswith("/hold/release"):
                    asked.set()
                    await goes_on.wait()
                    return 200, msgspec.json.encode(agent.status())
                return await serve(method, target, body)

            plant.http["press-07"]._serve = slow
            change = asyncio.create_task(operations.release("press-07", ""))
            await asked.wait()
            await operations.leave_operate()
            with pytest.raises(OperationFailed, match="MONITOR"):
                await operations.release("press-07", "")
            assert not change.done()
            goes_on.set()
            await change
            async with asyncio.timeout(5):
                while len([login for login in logins if not login.is_closed()]) > before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    in_plant(body)


def test_a_refusal_of_the_node_is_told_with_its_reason_and_what_next(in_plant: Any) -> None:
    async def body(plant: Any) -> None:
        async with seated(plant) as (operations, agent):
            error = Error(code="NODE.SAFE", message="the database\x1b[2J is gone", hint="look at the disk")
            agent.handle["POST", "/hold"] = lambda query, body: (503, msgspec.json.encode(ErrorBody(error)))
            with pytest.raises(OperationFailed) as caught:
                await operations.hold("press-07", "smoke")
            assert (caught.value.what, caught.value.node, caught.value.hint) == (
                "hold failed",
                "press-07",
                "look at the disk",
            )
            assert "NODE.SAFE" in caught.value.why[0]
            assert "\x1b" not in caught.value.why[0]

    in_plant(body)
