"""Keys that an ssh-agent holds: list them, and let one sign (draft-miller-ssh-agent). Blocking: call it in a thread."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NamedTuple

from store import sshkey, sshwire
from store.sshwire import Reader, WireError

ANSWER_BYTES_MAX = 256 << 10
KEYS_MAX = 1_000
_LIST, _KEYS, _SIGN, _SIGNED = 11, 12, 13, 14
_RSA_SHA2_512 = 4


class AgentRefused(Exception):
    """The agent cannot be reached, has not the key, or did not sign."""


class AgentKey(NamedTuple):
    """One key of the agent; `comment` is what its owner called it."""

    blob: bytes
    comment: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        return sshkey.fingerprint(self.blob)


def keys(path: Path, *, timeout_s: float = 10.0) -> list[AgentKey]:
    """The agent's keys. Raises AgentRefused."""
    reader = _ask(path, bytes([_LIST]), _KEYS, timeout_s)
    try:
        count = reader.uint32()
        if count > KEYS_MAX:
            raise AgentRefused(f"the agent claims to hold {count} keys")
        found = [AgentKey(reader.string(), reader.string().decode("utf-8", "replace")) for _ in range(count)]
        reader.end()
    except WireError as error:
        raise AgentRefused(f"the agent's answer is malformed: {error}") from error
    return found


def sign(path: Path, key: AgentKey, data: bytes, *, timeout_s: float = 120.0) -> bytes:
    """The key's SSH signature blob over `data`; a hardware key may wait for a touch. Raises AgentRefused."""
    request = bytes([_SIGN]) + sshwire.string(key.blob) + sshwire.string(data) + sshwire.uint32(_RSA_SHA2_512)
    reader = _ask(path, request, _SIGNED, timeout_s)
    try:
        signature = reader.string()
        reader.end()
    except WireError as error:
        raise AgentRefused(f"the agent's answer is malformed: {error}") from error
    return signature


def _ask(path: Path, request: bytes, expected: int, timeout_s: float) -> Reader:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(sshwire.string(request))
            size = int.from_bytes(_receive(connection, 4), "big")
            if not 0 < size <= ANSWER_BYTES_MAX:
                raise AgentRefused(f"the agent's answer has {size} bytes")
            answer = _receive(connection, size)
    except OSError as error:
        raise AgentRefused(f"the agent at {path} cannot be asked: {error}") from error
    if answer[0] != expected:
        raise AgentRefused("the agent refused: it has not the key, or nobody approved")
    return Reader(answer[1:])


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise AgentRefused("the agent hung up")
        data += piece
    return data
