"""The byte budget: shared, fair, and written as an operator writes it."""

from __future__ import annotations

import asyncio

import pytest

from console.transfer.budget import BURST_S, PIECE_BYTES_MIN, Budget, parse_rate


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.wakes: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wakes.append((self.now_s + seconds, future))
        await future

    async def run(self) -> None:
        """Moves on until nobody sleeps."""
        for _ in range(10_000):
            await asyncio.sleep(0)
            self.wakes.sort(key=lambda wake: wake[0])
            if self.wakes:
                self.now_s, future = self.wakes.pop(0)
                future.set_result(None)


def test_many_nodes_together_keep_to_the_budget_and_none_waits_for_the_others_to_end() -> None:
    async def run() -> tuple[float, list[float]]:
        time = Time()
        budget, ends = Budget(1_000_000, monotonic=lambda: time.now_s, sleep=time.sleep), [0.0] * 5

        async def node(number: int) -> None:
            for _ in range(10):
                await budget.take(100_000)
            ends[number] = time.now_s

        tasks = [asyncio.create_task(node(number)) for number in range(5)]
        await time.run()
        await asyncio.gather(*tasks)
        return time.now_s - 100.0, [end - 100.0 for end in ends]

    took_s, ends = asyncio.run(run())
    assert 5.0 - BURST_S - 0.1 <= took_s <= 5.0
    assert min(ends) > 4.0


def test_what_was_not_used_is_kept_for_a_burst_and_no_longer() -> None:
    async def run() -> float:
        time = Time()
        budget = Budget(1_000, monotonic=lambda: time.now_s, sleep=time.sleep)
        time.now_s += 3_600
        began_s = time.now_s
        task = asyncio.create_task(budget.take(10_000))
        await time.run()
        await task
        task = asyncio.create_task(budget.take(1))
        await time.run()
        await task
        return time.now_s - began_s

    assert asyncio.run(run()) == pytest.approx(10 - BURST_S)


def test_a_piece_is_small_where_the_budget_is() -> None:
    assert Budget(10_000).piece_bytes_max == PIECE_BYTES_MIN
    assert Budget(8_000_000).piece_bytes_max == 2_000_000


@pytest.mark.parametrize(
    ("text", "rate"),
    [("2MB/s", 2e6), ("500 kB/s", 5e5), ("1.5MiB/s", 1.5 * 1024**2), ("10Mbit/s", 1.25e6), ("64kbit/s", 8e3)],
)
def test_a_rate_is_read_as_it_is_written(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["2MB", "fast", "", "0MB/s", "-1MB/s", "1B/s", "2 MB / s", "1e9B/s", "99999GB/s"])
def test_what_is_no_rate_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="2MB/s"):
        parse_rate(text)
