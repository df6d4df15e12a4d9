"""A ledger entry as a syslog message (RFC 5424), and the three ways to a receiver. Nothing here decides when.

The message is ASCII and at most BYTES_MAX long; what does not fit is cut off its text and marked, and stands whole in
the ledger under `seq`. `hash` is the entry's own: the receiver's copy proves the node's ledger, and the other way.
32473 is the enterprise number that RFC 5612 sets aside for those who have none.
"""

from __future__ import annotations

import errno
import fcntl
import json
import re
import socket
import struct
import termios
from datetime import UTC, datetime
from typing import Final, Protocol

from nodeagent.state.syslog_target import Target
from store.ledger import Entry

BYTES_MAX: Final = 2048
# Security and authorization messages (RFC 5424, table 1).
FACILITY: Final = 10
CRITICAL, ERROR, WARNING, NOTICE = 2, 3, 4, 5
# Earlier than this the clock was not set: no time is better than a wrong one.
WALL_US_MIN: Final = 1_577_836_800_000_000
CONNECT_S: Final = 3.0
_LOUD: Final = ("refuse", "refused", "rolled_back", "break", "gap", "damaged")
_PLAIN: Final = re.compile(r"[^!-~]")


def severity_of(entry: Entry) -> int:
    """RFC 5424's: an alert's priority, a refusal or a way back as a warning, everything else as a notice."""
    if entry.action == "alert.raise":
        return {1: CRITICAL, 2: ERROR}.get(int(entry.detail.get("priority") or 3), WARNING)
    if entry.action == "emergency.use" or entry.action.rpartition(".")[2] in _LOUD:
        return WARNING
    return NOTICE


def message(entry: Entry, *, node_id: str, host: str, pid: int) -> bytes:
    """The whole message, without framing."""
    head = f"<{FACILITY * 8 + severity_of(entry)}>1 {_time(entry.wall_us)} {_word(host, 255)} outstation-agent {pid} "
    told = json.dumps(entry.detail, sort_keys=True, separators=(",", ":"))
    text = f"{entry.actor} {entry.action} {entry.subject} {told}"
    plain = text.encode("ascii", "backslashreplace").decode().translate(_CONTROLS)
    whole = f"{head}{_word(entry.action, 32)} {_data(entry, node_id, cut=False)} {plain}"
    if len(whole) <= BYTES_MAX:
        return whole.encode("ascii")
    start = f"{head}{_word(entry.action, 32)} {_data(entry, node_id, cut=True)} "
    return (start + plain)[:BYTES_MAX].encode("ascii")


_CONTROLS: Final = dict.fromkeys((*range(32), 127), " ")


def _data(entry: Entry, node_id: str, *, cut: bool) -> str:
    values = {
        "seq": str(entry.seq),
        "node": node_id,
        "actor": entry.actor[:128],
        "subject": entry.subject[:128],
        "boot": entry.boot_id,
        "boottime_us": str(entry.boottime_us),
        "hash": entry.hash,
        **({"cut": "1"} if cut else {}),
    }
    return f"[outstation@32473 {' '.join(f'{name}={_quoted(value)}' for name, value in values.items())}]"


def _quoted(value: str) -> str:
    plain = value.encode("ascii", "backslashreplace").decode().translate(_CONTROLS)
    return '"' + re.sub(r'(["\\\]])', r"\\\1", plain) + '"'


def _word(text: str, chars_max: int) -> str:
    return _PLAIN.sub("-", text)[:chars_max] or "-"


def _time(wall_us: int) -> str:
    if wall_us < WALL_US_MIN:
        return "-"
    try:
        return datetime.fromtimestamp(wall_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError, OSError):
        return "-"


# ---------------------------------------------------------------- ways to a receiver


class Full(Exception):
    """The receiver takes nothing at this moment: the same message again, later."""


class Way(Protocol):
    """An open way. `send` never waits: it hands a message over whole, or raises Full or OSError."""

    def send(self, data: bytes) -> None: ...
    def unconfirmed(self) -> bool: ...
    def close(self) -> None: ...


class Datagrams:
    """A Unix or UDP socket. That a datagram arrived nobody says; that it was refused, the next `send` does."""

    def __init__(self, target: Target) -> None:
        family = socket.AF_UNIX if target.kind == "unix" else _family(target.place)
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(target.place if target.kind == "unix" else (target.place, target.port))
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except BlockingIOError as error:
            raise Full from error
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise Full from error
            raise

    def unconfirmed(self) -> bool:
        """UDP reports what the last datagram met, if anything; a Unix socket has nothing to report."""
        if (code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) != 0:
            raise OSError(code, errno.errorcode.get(code, "refused"))
        return False

    def close(self) -> None:
        self._socket.close()


class Stream:
    """TCP with the frames of RFC 6587, 3.4.1: the length, a space, the message. Connecting waits: use a thread."""

    def __init__(self, target: Target) -> None:
        self._socket = socket.create_connection((target.place, target.port), CONNECT_S)
        self._socket.setblocking(False)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self._push()
        if self._rest:
            raise Full
        self._rest = b"%d %s" % (len(data), data)
        self._push()

    def unconfirmed(self) -> bool:
        """Whether the receiver's kernel has not acknowledged every byte yet. Raises OSError where it is gone."""
        self._push()
        try:
            if self._socket.recv(1) == b"":
                raise ConnectionResetError(errno.ECONNRESET, "the receiver closed")
        except BlockingIOError:
            pass
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4))
        return bool(self._rest) or waiting > 0

    def close(self) -> None:
        self._socket.close()

    def _push(self) -> None:
        while self._rest:
            try:
                self._rest = self._rest[self._socket.send(self._rest) :]
            except BlockingIOError:
                return


def open_way(target: Target) -> Way:
    """Raises OSError; TCP waits up to CONNECT_S for it."""
    return Stream(target) if target.kind == "tcp" else Datagrams(target)


def _family(place: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in place else socket.AF_INET
