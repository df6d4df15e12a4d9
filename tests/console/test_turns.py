"""Logins take turns: a thousand nodes at a cold start do not time each other out."""

from __future__ import annotations

import asyncio

from console.link.turns import AT_ONCE_MAX, Turns


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_no_more_logins_begin_at_once_than_have_a_turn_and_all_of_them_do() -> None:
    async def scenario() -> tuple[int, int]:
        turns, now, most, done = Turns(turn_s=60.0), 0, 0, 0

        async def login() -> None:
            nonlocal now, most, done
            async with turns.turn():
                now += 1
                most = max(most, now)
                await asyncio.sleep(0)
                now -= 1
            done += 1

        await asyncio.gather(*(login() for _ in range(1_000)))
        return most, done

    assert asyncio.run(scenario()) == (AT_ONCE_MAX, 1_000)


def test_nodes_that_never_answer_hold_the_others_up_for_a_turn_and_not_for_their_deadline() -> None:
    async def scenario() -> bool:
        turns, silent = Turns(at_once_max=2, turn_s=0.01), asyncio.Event()

        async def never() -> None:
            async with turns.turn():
                await silent.wait()

        tasks = [asyncio.create_task(never()) for _ in range(2)]
        await settle()
        async with asyncio.timeout(10), turns.turn():
            waiting = all(not task.done() for task in tasks)
        silent.set()
        await asyncio.gather(*tasks)
        return waiting

    assert asyncio.run(scenario())


def test_a_turn_that_ended_by_itself_is_not_given_back_twice() -> None:
    async def scenario() -> int:
        turns, begun, silent = Turns(at_once_max=1, turn_s=0.0), 0, asyncio.Event()
        async with turns.turn():
            await asyncio.sleep(0.001)
        turns.turn_s = 60.0

        async def login() -> None:
            nonlocal begun
            async with turns.turn():
                begun += 1
                await silent.wait()

        tasks = [asyncio.create_task(login()) for _ in range(3)]
        await settle()
        counted = begun
        silent.set()
        await asyncio.gather(*tasks)
        return counted

    assert asyncio.run(scenario()) == 1
