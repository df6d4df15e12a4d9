"""What a fault is, and what it showed.

A fault is done to one node, waits for what has to be seen meanwhile, and takes itself back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.soak.plantsite import Site


class Seen(NamedTuple):
    """What a fault showed."""

    text: str
    wrong: list[str]


class Fault(NamedTuple):
    """One kind of fault, and the nodes that it can be done to (None: any).

    `within_s` is the time in which the node predicts again after the fault has ended.
    """

    name: str
    within_s: float
    act: Callable[[Site, str], Awaitable[Seen]]
    nodes: tuple[str, ...] | None = None
