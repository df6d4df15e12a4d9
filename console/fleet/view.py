"""What the console knows of a node at one moment: immutable, made by the fleet, read by screens and verbs alike."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from nodeagent.protocol import LogLine, Status, Telemetry

# Past this many periods a value dims; past the larger of UNKNOWN_AFTER_S and UNKNOWN_AFTER_PERIODS it reads `?`.
STALE_AFTER_PERIODS = 3
UNKNOWN_AFTER_PERIODS = 5
UNKNOWN_AFTER_S = 10.0


class LinkState(enum.StrEnum):
    """How the console reaches a node. Only UP may carry live values."""

    CONNECTING = "connecting"
    UP = "up"
    STALE = "stale"
    DOWN = "down"
    REFUSED = "refused"
    NO_AGENT = "no agent"
    WRONG_PROTOCOL = "wrong protocol"
    ONE_WAY = "one-way"


class Condition(enum.IntEnum):
    """What the operator is shown, worst first. UNKNOWN is never OK."""

    ALARM = 0
    WARN = 1
    UNKNOWN = 2
    MAINTENANCE = 3
    OK = 4


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node is, as the operator named it. `jumps` are `user@host:port`, outermost first.

    `one_way_key`: the public key that the reports of a node behind a data diode are signed with; such a node has no
    link. `one_way_age_s`: past this age a report of it says nothing any more.
    """

    name: str
    host: str
    port: int = 22
    user: str = ""
    jumps: tuple[str, ...] = ()
    socket: str = ""
    agent: str = "outstation-agent"
    site: str = ""
    line: str = ""
    machine: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    node_id: str = ""
    identity_files: tuple[str, ...] = ()
    proxy_command: str = ""
    one_way_key: str = ""
    one_way_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as known now. Monotonic times are the console's own clock, in seconds."""

    address: NodeAddress
    link: LinkState = LinkState.CONNECTING
    link_since_wall_s: float = 0.0
    link_error: str = ""
    link_hint: str = ""
    link_mode: str = ""
    status: Status | None = None
    telemetry: Telemetry | None = None
    telemetry_at_s: float | None = None
    rtt_ms: float | None = None
    clock_offset_s: float | None = None
    rate_trend: tuple[float | None, ...] = ()
    report_number: int = 0
    reports_lost: int = 0
    ledger_break: str = ""
    """Why the node's history is not the continuation of what this console verified; it outlives every reconnect."""

    @property
    def name(self) -> str:
        return self.address.name

    def age_s(self, now_s: float) -> float | None:
        """Seconds since telemetry last came by the console's monotonic clock; None if it never came."""
        return None if self.telemetry_at_s is None else max(0.0, now_s - self.telemetry_at_s)

    def is_known(self, now_s: float) -> bool:
        """Whether live values may be shown as such. False: they read `?`."""
        age_s = self.age_s(now_s)
        if age_s is None or self.telemetry is None:
            return False
        if self.link is LinkState.ONE_WAY:
            return age_s <= self.address.one_way_age_s
        if self.link not in (LinkState.UP, LinkState.STALE):
            return False
        return age_s <= max(UNKNOWN_AFTER_S, UNKNOWN_AFTER_PERIODS * self.telemetry.period_s)

    def is_stale(self, now_s: float) -> bool:
        """Whether values are to be dimmed. What came through a diode is never live."""
        age_s = self.age_s(now_s)
        if self.link is LinkState.ONE_WAY:
            return True
        return self.telemetry is None or age_s is None or age_s > STALE_AFTER_PERIODS * self.telemetry.period_s


class Fleet(Protocol):
    """The fleet as screens see it: the latest views, and what changed. Live, or read back from a recording."""

    @property
    def version(self) -> int:
        """Rises by one with every changed view."""
        ...

    def views(self) -> Mapping[str, NodeView]:
        """The latest view of every node, by name."""
        ...

    def changed_since(self, version: int) -> frozenset[str]:
        """Names whose view changed after `version`, gone ones included."""
        ...

    def follow_logs(self, name: str, after: int | None = None) -> AsyncIterator[LogLine]:
        """The node's log lines as they come, resumed over reconnects."""
        ...
