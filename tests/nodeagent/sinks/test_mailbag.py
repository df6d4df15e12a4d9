"""The mailbag between the pipeline and a broker: live and history never overlap, and nothing is lost unseen."""

from __future__ import annotations

import asyncio
from pathlib import Path

from nodeagent.sinks.mailbag import LIVE_MAX, Mailbag
from store.errors import StoreError
from store.outbox import Message, Outbox, Stored


def outbox(path: Path) -> Outbox:
    return Outbox(path, "mqtt", bytes_max=1 << 20, age_s_max=3600.0, boot_id="b", boottime_us=lambda: 0)


def message(number: int) -> Message:
    return Message("t", str(number).encode())


async def kept(bag: Mailbag, numbers: range) -> None:
    for number in numbers:
        bag.put(message(number))
    await bag._keep()


def read(found: list[Stored]) -> list[int]:
    return [int(stored.message.payload) for stored in found]


def test_what_is_live_is_not_history_at_the_same_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        bag = Mailbag(lambda: outbox(tmp_path / "o.db"))
        await kept(bag, range(5))
        assert await bag.history(10) == []
        taken = bag.live(2)
        assert read(taken) == [0, 1]
        bag.give_back(taken)
        assert read(await bag.history(10)) == [0, 1]
        assert read(bag.live(10)) == [2, 3, 4]
        await bag.close()

    asyncio.run(scenario())


def test_what_is_too_old_to_be_live_is_history(tmp_path: Path) -> None:
    async def scenario() -> None:
        bag = Mailbag(lambda: outbox(tmp_path / "o.db"))
        await kept(bag, range(LIVE_MAX + 3))
        assert read(await bag.history(10)) == [0, 1, 2]
        assert (bag.waiting, bag.dropped_total) == (LIVE_MAX + 3, 0)
        await bag.close()

    asyncio.run(scenario())


def test_when_the_disk_keeps_nothing_messages_go_on_from_memory_with_the_reason_shown(tmp_path: Path) -> None:
    def broken() -> Outbox:
        raise StoreError("open", tmp_path, "no space left on device")

    async def scenario() -> None:
        bag = Mailbag(broken)
        await kept(bag, range(3))
        assert bag.reason.startswith("not kept: ")
        assert bag.waiting == 3
        taken = bag.live(2)
        bag.give_back(taken)
        assert read(bag.live(10)) == [0, 1, 2]
        await bag.close()

    asyncio.run(scenario())
