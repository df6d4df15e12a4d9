"""Where a login goes: one host on the way, and the way as a chain of them."""

from __future__ import annotations

import getpass
import re
import shlex
from dataclasses import dataclass

from console.fleet.view import NodeAddress
from console.link.errors import one_way

PORT_DEFAULT = 22
PORT_MAX = 65_535
JUMPS_MAX = 8
_WORD = re.compile(r"^[A-Za-z0-9._-]{1,255}$")
_HOST = re.compile(r"^[A-Za-z0-9._:%-]{1,255}$")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One SSH server to log in to. `user` is never empty."""

    host: str
    port: int
    user: str

    @property
    def known_name(self) -> str:
        """The host as known_hosts writes it: `host`, or `[host]:port` off port 22."""
        return self.host if self.port == PORT_DEFAULT else f"[{self.host}]:{self.port}"

    def __str__(self) -> str:
        return f"{self.user}@{self.known_name}"


@dataclass(frozen=True, slots=True)
class Route:
    """The whole way to a node: the jump hosts, outermost first, then the node itself."""

    node: str
    jumps: tuple[Endpoint, ...]
    target: Endpoint
    proxy_command: str = ""


def parse_endpoint(text: str, *, user: str = "") -> Endpoint:
    """`[ssh://][user@]host[:port]`, IPv6 in brackets. Raises ValueError with the reason."""
    rest = text.strip().removeprefix("ssh://")
    name, at, rest = rest.rpartition("@") if "@" in rest else ("", "", rest)
    host, port = _split_port(rest, text)
    if at and not _WORD.match(name):
        raise ValueError(f"{text!r}: {name!r} is not a login name")
    if not _HOST.match(host) or host.startswith("-"):
        raise ValueError(f"{text!r}: {host!r} is not a host name or an address")
    return Endpoint(host, port, name or user or getpass.getuser())


def _split_port(rest: str, text: str) -> tuple[str, int]:
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed:
            raise ValueError(f"{text!r}: the bracket of the address is not closed")
        port = tail.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    else:
        host, port = rest, ""
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX):
        raise ValueError(f"{text!r}: {port!r} is not a port (1 to {PORT_MAX})")
    return host, int(port or PORT_DEFAULT)


def route_of(address: NodeAddress) -> Route:
    """The way to `address` as logins, in order. Raises ValueError for a jump that cannot be read.

    LinkError for a node behind a data diode: there is no way.
    """
    if address.one_way_key:
        raise one_way(address.name)
    if len(address.jumps) > JUMPS_MAX:
        raise ValueError(f"{address.name}: {len(address.jumps)} jump hosts; at most {JUMPS_MAX}")
    jumps = tuple(parse_endpoint(jump, user=address.user) for jump in address.jumps)
    target = Endpoint(address.host, address.port, address.user or getpass.getuser())
    return Route(address.name, jumps, target, address.proxy_command)


def proxy_words(command: str, target: Endpoint) -> list[str]:
    """A ProxyCommand as words to run without a shell; %h, %n, %p, %r and %% as in ssh_config(5). Raises ValueError."""
    tokens = {"%h": target.host, "%n": target.host, "%p": str(target.port), "%r": target.user, "%%": "%"}
    words = shlex.split(command)
    if words[:1] == ["exec"]:
        words = words[1:]
    if not words:
        raise ValueError("the ProxyCommand is empty")
    return [re.sub(r"%.", lambda found: tokens.get(found[0], found[0]), word) for word in words]
