"""The switch between two workers of one bundle: the active one leaves everything, the next one takes it and says so.

Until it said so the giver keeps its own descriptors of every connection: if the taker dies, the giver goes on.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, Final

from nodeagent.processes.channel import FDS_MAX, Channel, ChannelClosed, Message
from nodeagent.worker.bundle_worker import BundleWorker, Connections, Inheritance

TAKE_S_MAX: Final = 15.0


class HandoverFailed(Exception):
    """The other worker did not take over; the text says why. The giver is active again."""


async def give(worker: BundleWorker, path: Path) -> dict[str, Any]:
    """Hands everything to the worker whose control socket is `path`: gap in ms and connections passed.

    Raises HandoverFailed when this worker is active again, RightHeld when the other one kept the right.
    """
    try:
        channel = await Channel.connect(path)
    except (OSError, TimeoutError) as error:
        raise HandoverFailed(f"the next worker does not listen: {error}") from error
    try:
        left = await worker.release()
        try:
            answer, problem = await _answer(channel, left)
            if problem:
                await worker.activate(left)
                raise HandoverFailed(problem)
        finally:
            _close(left.connections)
    finally:
        channel.close()
    return {"gap_ms": answer["gap_ms"], "connections": len(left.connections)}


async def _answer(channel: Channel, left: Inheritance) -> tuple[dict[str, Any], str]:
    """What the taker said, and why it did not take over (empty: it did)."""
    try:
        async with asyncio.timeout(TAKE_S_MAX):
            answer = await _offer(channel, left)
    except (ChannelClosed, TimeoutError) as error:
        return {}, str(error) or "the next worker did not answer"
    return answer, str(answer.get("error", ""))


async def _offer(channel: Channel, left: Inheritance) -> dict[str, Any]:
    body = {"op": "take", "connections": len(left.connections), "held": left.held, "stopped_us": left.stopped_us}
    channel.send(body, left.engine_state)
    for at in range(0, len(left.connections), FDS_MAX):
        some = left.connections[at : at + FDS_MAX]
        fds = [os.dup(sock.fileno()) for sock, _ in some]
        leftovers = [leftover for _, leftover in some]
        channel.send({"op": "connections", "sizes": [len(data) for data in leftovers]}, b"".join(leftovers), fds)
    return (await channel.receive()).body


async def take(worker: BundleWorker, channel: Channel, first: Message) -> None:
    """Takes what the giver on `channel` leaves, and answers it."""
    connections: Connections = []
    try:
        if worker.state == "active":
            raise HandoverFailed("the next worker is active already")
        while len(connections) < first.body["connections"]:
            connections += _connections(await channel.receive())
        left = Inheritance(first.payload, connections, first.body["held"], first.body["stopped_us"])
        gap_ms = await worker.activate(left)
    except Exception as error:  # noqa: BLE001 the border between two processes: whatever fails here, the giver goes on
        channel.send({"op": "taken", "error": f"{type(error).__name__}: {error}"})
    else:
        channel.send({"op": "taken", "gap_ms": gap_ms})
    finally:
        _close(connections)


def _connections(message: Message) -> Connections:
    got: Connections = []
    at = 0
    for fd, size in zip(message.fds, message.body["sizes"], strict=True):
        got.append((socket.socket(fileno=fd), message.payload[at : at + size]))
        at += size
    return got


def _close(connections: Connections) -> None:
    for sock, _ in connections:
        sock.close()
