"""A seed: a host near some nodes that a blob is brought to once, and which hands it on by its own `ssh`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from console.fleet.view import NodeAddress
from console.link.endpoint import Endpoint, Route, route_of

JUMP = "jump"


@dataclass(frozen=True, slots=True)
class SeedWay:
    """How a blob comes to a node by its seed: the way to the seed, and from there the node and what to run on it."""

    seed: Route
    target: Endpoint
    bridge: str
    identity_files: tuple[str, ...]
    local: bool = False
    """The node is the seed itself."""

    @property
    def name(self) -> str:
        """The seed, for people."""
        return self.seed.node


def seed_way(address: NodeAddress, seed: str, seed_address: NodeAddress | None) -> SeedWay | None:
    """`seed` is `jump` (the last jump host before the node) or the name of the node at `seed_address`.

    None: the seed does not stand behind the same jump hosts. Raises ValueError.
    """
    route = route_of(address)
    words = [address.agent, "connect", *(["--socket", address.socket] if address.socket else [])]
    bridge = "exec " + shlex.join(words)
    if seed == JUMP:
        if not route.jumps:
            return None
        jump = route.jumps[-1]
        return SeedWay(Route(str(jump), route.jumps[:-1], jump), route.target, bridge, address.identity_files)
    if seed_address is None or seed_address.jumps != address.jumps:
        return None
    local = seed_address.name == address.name
    return SeedWay(route_of(seed_address), route.target, bridge, seed_address.identity_files, local)
