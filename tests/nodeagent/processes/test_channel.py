"""Messages between processes arrive whole, in order, with their descriptors, and a bad peer costs the channel alone."""

import asyncio
import os
import socket

import pytest

from nodeagent.processes.channel import FDS_MAX, HEADER, OUT_BYTES_MAX, Channel, ChannelClosed


async def pair() -> tuple[Channel, Channel]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(one), Channel(other)


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_large_message_and_small_ones_arrive_whole_and_in_order():
    async def scenario():
        one, other = await pair()
        large = os.urandom(5_000_000)
        one.send({"op": "large"}, large)
        for number in range(200):
            one.send({"op": "small", "number": number})
        first = await other.receive()
        assert (first.body, first.payload) == ({"op": "large"}, large)
        assert [(await other.receive()).body["number"] for _ in range(200)] == list(range(200))
        assert one.waiting_bytes == 0
        one.close()
        other.close()

    run(scenario)


def test_descriptors_arrive_with_their_own_message_behind_bytes_that_wait():
    async def scenario():
        one, other = await pair()
        ends = [os.pipe() for _ in range(FDS_MAX)]
        one.send({"op": "bytes"}, bytes(3_000_000))
        one.send({"op": "pipes"}, b"payload", [write for _, write in ends])
        one.send({"op": "after"})
        assert (await other.receive()).fds == []
        pipes = await other.receive()
        assert len(pipes.fds) == FDS_MAX
        for number, fd in enumerate(pipes.fds):
            os.write(fd, b"%d" % number)
            os.close(fd)
        for number, (read, _) in enumerate(ends):
            assert os.read(read, 100) == b"%d" % number
            assert os.read(read, 100) == b""  # nobody else holds the end
            os.close(read)
        assert (await other.receive()).body == {"op": "after"}
        one.close()
        other.close()

    run(scenario)


def test_the_end_of_a_peer_is_told_after_what_it_said():
    async def scenario():
        one, other = await pair()
        one.send({"op": "last"})
        one.close()
        assert (await other.receive()).body == {"op": "last"}
        for _ in range(2):
            with pytest.raises(ChannelClosed):
                await other.receive()
        with pytest.raises(ChannelClosed):
            one.send({})

    run(scenario)


def test_a_peer_that_does_not_read_loses_the_channel_and_not_our_memory():
    async def scenario():
        one, other = await pair()
        chunk = bytes(8 << 20)
        for _ in range(OUT_BYTES_MAX // len(chunk)):
            one.send({}, chunk)
        with pytest.raises(ChannelClosed, match="does not read"):
            one.send({}, chunk)
        assert one.closed
        other.close()

    run(scenario)


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(5 << 20, 0, 0),
        HEADER.pack(2, 1 << 30, 0),
        HEADER.pack(2, 0, 1) + b"{}",
        HEADER.pack(2, 0, 0) + b"[]",
        HEADER.pack(2, 0, 0) + b"{x",
    ],
)
def test_a_peer_that_breaks_the_rules_loses_the_channel(data):
    async def scenario():
        raw, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        channel = Channel(end)
        raw.sendall(data)
        with pytest.raises(ChannelClosed):
            await channel.receive()
        raw.close()

    run(scenario)


def test_nothing_is_read_ahead_without_end():
    async def scenario():
        one, other = await pair()
        for number in range(2_000):
            one.send({"number": number}, bytes(2_000))
        await asyncio.sleep(0.1)
        assert one.waiting_bytes > 0
        assert [(await other.receive()).body["number"] for _ in range(2_000)] == list(range(2_000))
        one.close()
        other.close()

    run(scenario)
