"""The stdio bridge: standard input and output, joined to the agent's socket. Standard library only.

`outstation-agent connect` runs it at the far end of an SSH session where sshd refuses stream-local forwarding, or as
a key's forced command. It writes one byte 0x06 (ACK) once it is connected; otherwise it exits with 66 and names the
cause on standard error, because a refused SSH channel alone never says why.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import sys
from pathlib import Path

CONNECTED = b"\x06"
EXIT_NO_AGENT = 66
CHUNK_BYTES = 256 << 10
# What the server's reader of the preface accepts (http_preface.py); this file imports nothing of ours.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")

_CAUSES = {
    errno.ENOENT: "there is no such socket: the agent does not run, or runs with another state folder",
    errno.ECONNREFUSED: "nothing listens on it: the agent has stopped",
    errno.EACCES: "this login may not use it: it is not in the agent's group",
    errno.ENAMETOOLONG: "the path is longer than the 107 bytes that a Unix socket allows",
}


def connect(path: Path, *, actor: str = "", role: str = "operate", stdin: int = 0, stdout: int = 1) -> int:
    """Joins `stdin` and `stdout` to the socket at `path` until either side ends. Returns the exit code.

    With `actor` the agent is told who is speaking and in which role, before anything that the far end says.
    """
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        agent.connect(str(path))
        if actor:
            agent.sendall(preface(actor, role))
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0, error.strerror or str(error))
        sys.stderr.write(f"outstation-agent connect: {path}: {cause}\n")
        return EXIT_NO_AGENT
    os.write(stdout, CONNECTED)
    with agent:
        _join(agent, stdin, stdout)
    return 0


def preface(actor: str, role: str) -> bytes:
    """The line that names the operator. Raises ValueError for a name that could be more than a name."""
    if not _NAME.fullmatch(actor):
        raise ValueError("an operator's name is 1 to 64 letters, digits and . _ @ + -")
    if role not in ("monitor", "operate", "release"):
        raise ValueError("a role is monitor, operate or release")
    return f"OUTSTATION-AS {actor} {role}\n".encode("ascii")


def _join(agent: socket.socket, stdin: int, stdout: int) -> None:
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    poll.register(agent, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready == stdin:
                if not _upward(agent, stdin):
                    poll.unregister(stdin)
            elif not _downward(agent, stdout):
                return


def _upward(agent: socket.socket, stdin: int) -> bool:
    data = os.read(stdin, CHUNK_BYTES)
    try:
        if not data:
            agent.shutdown(socket.SHUT_WR)
            return False
        agent.sendall(data)
    except OSError:  # the agent closed: what it still said is read by the other direction, which then ends
        return False
    return True


def _downward(agent: socket.socket, stdout: int) -> bool:
    try:
        data = agent.recv(CHUNK_BYTES)
        while data:
            written = os.write(stdout, data)
            if written == len(data):
                return True
            data = data[written:]
    except (ConnectionResetError, BrokenPipeError):
        return False
    return False
