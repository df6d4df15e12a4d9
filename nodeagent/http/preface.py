"""Who the peer is: credentials that the kernel keeps for a Unix socket, and what the far end says of itself.

`OUTSTATION-AS <name> <monitor|operate|release>\\n` comes before any HTTP, on Unix sockets only. It names the person for
whom the bridge speaks and may lower the role of the socket; who may open the socket is decided by the kernel and sshd.
Where no bridge names anybody, two headers of a request may: the operator's name, written down as a claim beside the
login that the kernel proves, and the role, which they too can only lower.
"""

from __future__ import annotations

import pwd
import re
import socket
import struct
from collections.abc import Mapping
from typing import Literal

import msgspec

from nodeagent.http.message import HttpError, Peer
from nodeagent.protocol import OPERATOR_HEADER, ROLE_HEADER

PREFACE = b"OUTSTATION-AS "
_LINE_BYTES_MAX = 128
_LINE = re.compile(rb"OUTSTATION-AS ([A-Za-z0-9][A-Za-z0-9._@+-]{0,63}) (monitor|operate|release)\r?\n")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_CREDENTIALS = struct.Struct("3i")


def peer_of(sock: socket.socket, role: Literal["operate", "monitor"]) -> Peer:
    """The peer of a connected socket. TCP peers have no credentials and are only ever `monitor`."""
    if sock.family != socket.AF_UNIX:
        return Peer(kind="tcp", role="monitor")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    try:
        actor = pwd.getpwuid(uid).pw_name
    except KeyError:
        actor = f"uid:{uid}"
    return Peer(pid=pid, uid=uid, gid=gid, actor=actor, role=role, kind="unix")


def with_preface(peer: Peer, data: bytes) -> tuple[bytes, Peer] | None:
    """(the preface's bytes, the peer it makes): b"" and the same peer without one. None: more bytes are needed."""
    if not data.startswith(PREFACE):
        return None if PREFACE.startswith(data) else (b"", peer)
    if peer.kind == "tcp":
        raise HttpError("REQUEST.MALFORMED", "a preface is read on a Unix socket only")
    end = data.find(b"\n", 0, _LINE_BYTES_MAX)
    if end < 0:
        if len(data) >= _LINE_BYTES_MAX:
            raise HttpError("REQUEST.MALFORMED", "the preface is too long")
        return None
    line = data[: end + 1]
    match = _LINE.fullmatch(line)
    if match is None:
        raise HttpError("REQUEST.MALFORMED", "the preface is not `OUTSTATION-AS <name> <monitor|operate|release>`")
    role: Literal["operate", "monitor"] = "monitor" if match[2] == b"monitor" else peer.role
    releases = peer.releases and match[2] == b"release"
    actor = match[1].decode("ascii")
    return line, msgspec.structs.replace(peer, actor=actor, role=role, releases=releases, kind="bridge")


def as_said(peer: Peer, headers: Mapping[str, str]) -> Peer:
    """The peer with what a request's headers say: `alice (claimed, root)` for alice over root's login.

    A name that a bridge gave stands whatever is claimed; so does a login of the same name. Raises REQUEST.MALFORMED.
    """
    name, role = headers.get(OPERATOR_HEADER.lower()), headers.get(ROLE_HEADER.lower())
    if name is None and role is None:
        return peer
    if name is not None and not _NAME.fullmatch(name):
        raise HttpError("REQUEST.MALFORMED", f"{OPERATOR_HEADER} is 1 to 64 letters, digits and . _ @ + -")
    if role not in (None, "operate", "monitor"):
        raise HttpError("REQUEST.MALFORMED", f"{ROLE_HEADER} is operate or monitor")
    actor = peer.actor
    if name is not None and peer.kind == "unix" and name != actor:
        actor = f"{name} (claimed, {actor})"
    return msgspec.structs.replace(peer, actor=actor, role="monitor" if role == "monitor" else peer.role)
