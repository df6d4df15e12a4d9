"""A rollout's plan: which node in which wave, who is left out and why. Immutable; its digest names it."""

from __future__ import annotations

import hashlib

import msgspec

from console.rollout.policy import Policy, percent_or_count

FORMAT = 1


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is active on a node."""

    bundle: str
    version: str
    digest: str
    revision: int


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a node when the plan was made. `fits` None: nobody asked its passport.

    `why_not`: why it was not reached; `person`: what its login needs a person for; `rtt_s` of a whole request;
    `jumps`: the hosts on the way, outermost first; `asks`: what its policy asks of a change, as its passport has it.
    """

    name: str
    node_id: str = ""
    site: str = ""
    line: str = ""
    machine: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    reached: bool = True
    why_not: str = ""
    person: str = ""
    runs: tuple[Running, ...] = ()
    out_of_service: str = ""
    hold: str = ""
    fits: bool | None = None
    unfit: str = ""
    fix: str = ""
    rtt_s: float = 0.0
    jumps: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


class BundleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle that goes out."""

    name: str
    version: str
    digest: str
    size_bytes: int


class PlannedNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the plan. `group`: its redundancy group; `before`: the version and digest that run there now.

    `asks`: what its policy asks of a change; unset where that is nothing, as in plans from before there was such.
    """

    name: str
    node_id: str
    wave: int
    site: str = ""
    line: str = ""
    group: str = ""
    before_version: str = ""
    before_digest: str = ""
    person: str = ""
    jumps: tuple[str, ...] = ()
    asks: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class PlannedWave(msgspec.Struct, frozen=True, kw_only=True):
    """A wave, numbered from 1. `failures_max`: so many failures stop the rollout."""

    number: int
    name: str
    nodes: tuple[str, ...]
    failures_max: int


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A selected node that gets nothing, why, and what to do about it."""

    name: str
    reason: str
    fix: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it. Nothing in it depends on when it was made.

    `change`: its number in the plant's own books, for every node's ledger; unset without one, so that a plan from
    before there were any is the same bytes.
    """

    format: int = FORMAT
    policy: Policy
    bundle: BundleFacts
    waves: tuple[PlannedWave, ...]
    nodes: tuple[PlannedNode, ...]
    left_out: tuple[LeftOut, ...] = ()
    change: str | msgspec.UnsetType = msgspec.UNSET

    def encoded(self) -> bytes:
        """The bytes that are stored and hashed."""
        return msgspec.json.encode(self, order="deterministic")

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the encoded plan."""
        return f"sha256:{hashlib.sha256(self.encoded()).hexdigest()}"

    @property
    def logins(self) -> tuple[PlannedNode, ...]:
        """Nodes whose login needs a person."""
        return tuple(node for node in self.nodes if node.person)

    @property
    def number(self) -> str:
        """The change number, "" without one."""
        return "" if self.change is msgspec.UNSET else self.change

    def asking(self, item: str) -> tuple[str, ...]:
        """The nodes whose policy asks for that (`nodeagent.protocol.ASKS_NUMBER`, `ASKS_PERSON`)."""
        return tuple(node.name for node in self.nodes if node.asks is not msgspec.UNSET and item in node.asks)

    def node(self, name: str) -> PlannedNode:
        """The node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


def read_plan(data: bytes, digest: str) -> Plan:
    """A stored plan. Raises ValueError where its bytes are not what the digest says."""
    plan = msgspec.json.decode(data, type=Plan)
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest or plan.format != FORMAT:
        raise ValueError("the stored plan was changed or is of another format")
    return plan


def failures_max(threshold: int | str, nodes: int) -> int:
    """How many failures of so many nodes stop a wave: at least one."""
    return max(1, percent_or_count(threshold, nodes) if isinstance(threshold, str) else threshold)
