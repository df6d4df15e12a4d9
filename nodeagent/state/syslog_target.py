"""Where syslog messages go, as node.toml names it. Standard library only, since the launcher reads node.toml too."""

from __future__ import annotations

from typing import NamedTuple


class TargetError(ValueError):
    """The target of node.toml cannot be one; the text says why."""


class Target(NamedTuple):
    """`unix` with a path, or `udp` and `tcp` with an address and a port. Never a name: no name server is needed."""

    kind: str
    place: str
    port: int = 0

    def __str__(self) -> str:
        host = f"[{self.place}]" if ":" in self.place else self.place
        return f"unix:{self.place}" if self.kind == "unix" else f"{self.kind}:{host}:{self.port}"


def parse_target(text: str) -> Target | None:
    """The target that node.toml names; None for "". Raises TargetError."""
    if not text:
        return None
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return Target("unix", rest)
    host, colon, port = rest.rpartition(":")
    import ipaddress  # The launcher reads node.toml too, and stays small.

    try:
        if kind in ("udp", "tcp") and colon and 0 < int(port) < 65_536:
            return Target(kind, str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port))
    except ValueError:
        pass
    raise TargetError(f"{text[:80]!r} is not unix:/PATH, udp:ADDRESS:PORT or tcp:ADDRESS:PORT with an IP address")
