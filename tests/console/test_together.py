"""Packets of one turn of the loop leave as one write, in order, and before the connection's end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.link.together import TogetherTransport, together


class Wire:
    def __init__(self) -> None:
        self.seen: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def close(self) -> None:
        self.seen.append("closed")

    def abort(self) -> None:
        self.seen.append("aborted")

    def is_closing(self) -> bool:
        return self.seen[-1:] in (["closed"], ["aborted"])

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


class Talker:
    def connection_made(self, transport: TogetherTransport) -> None:
        self.transport = transport


def said(talk: Callable[[TogetherTransport], None], turns: int = 3) -> list[bytes | str]:
    async def run() -> list[bytes | str]:
        wire = Wire()
        talker = together(Talker)()
        talker.connection_made(wire)  # type: ignore[arg-type]
        talk(talker.transport)
        for _ in range(turns):
            await asyncio.sleep(0)
        return wire.seen

    return asyncio.run(run())


def test_what_is_written_in_one_turn_leaves_together_and_in_order() -> None:
    def talk(transport: TogetherTransport) -> None:
        transport.write(b"one ")
        transport.write(b"two ")
        asyncio.get_running_loop().call_soon(transport.write, b"three")

    assert said(talk) == [b"one two ", b"three"]


def test_a_goodbye_leaves_before_the_connection_is_closed_and_nothing_after_it() -> None:
    def talk(transport: TogetherTransport) -> None:
        transport.write(b"bye")
        transport.close()
        transport.write(b"late")

    assert said(talk) == [b"bye", "closed"]


def test_a_connection_that_is_dropped_says_nothing_more() -> None:
    def talk(transport: TogetherTransport) -> None:
        transport.write(b"half a pack")
        transport.abort()

    assert said(talk) == ["aborted"]


def test_an_abort_that_was_planned_behind_a_goodbye_lets_it_out() -> None:
    def talk(transport: TogetherTransport) -> None:
        transport.write(b"bye")
        asyncio.get_running_loop().call_soon(transport.abort)

    assert said(talk) == [b"bye", "aborted"]


def test_the_rest_of_the_transport_is_the_inner_ones() -> None:
    names: list[str] = []
    said(lambda transport: names.append(transport.get_extra_info("peername")))
    assert names == ["the peername"]
