"""Packets between launcher and supervisor: JSON over SOCK_SEQPACKET, descriptors beside it. Standard library only."""

from __future__ import annotations

import array
import json
import socket
from typing import Any

PACKET_BYTES_MAX = 160_000
PACKET_FDS_MAX = 16
ALIVE_EVERY_S = 0.5
SILENT_S_MAX = 10.0

Packet = dict[str, Any]


class PacketTooLarge(ValueError):
    """A packet of more than PACKET_BYTES_MAX bytes was to be sent: the peer would never see it whole."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected packet sockets, both closed on exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, packet: Packet, fds: list[int] | None = None) -> None:
    """Sends one packet whole or raises OSError (BlockingIOError on a full non-blocking socket)."""
    data = json.dumps(packet, separators=(",", ":")).encode()
    if len(data) > PACKET_BYTES_MAX:
        raise PacketTooLarge(
            f"a packet of {len(data)} bytes; at most {PACKET_BYTES_MAX} pass between launcher and supervisor"
        )
    socket.send_fds(sock, [data], fds or [])


def receive(sock: socket.socket) -> tuple[Packet, list[int]] | None:
    """The next packet and its descriptors (closed on exec), None at the end. BlockingIOError: there is none yet."""
    room = socket.CMSG_SPACE(PACKET_FDS_MAX * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(PACKET_BYTES_MAX + 1, room, socket.MSG_CMSG_CLOEXEC)
    fds = descriptors(ancillary)
    if not data:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise PacketTooLarge("a packet was cut: its sender holds another limit")
    packet = json.loads(data)
    if not isinstance(packet, dict):
        raise ValueError("a packet that is no JSON object")
    return packet, fds


def descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a message."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)
