"""What a capsule holds. Pure; times of nodes are by their own clocks, and `offset_s` says how far those are ahead."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from nodeagent.protocol import (
    Alert,
    Bindings,
    Deployment,
    Gap,
    LedgerEntry,
    LogLine,
    Record,
    Revision,
    Status,
    Telemetry,
    Trend,
)

FORMAT: Final = "outstation-capsule-1"
NODES_MAX: Final = 64
MINUTES_MAX: Final = 60.0


class NodeCapsule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node in the minutes of the capsule. `missing`: what could not be had, each with its reason.

    `frames` are telemetry as it came, oldest first; of `records` only a sample has inputs and outputs. `ledger` are the
    newest entries of the verified copy, `ledger_head` where it ends, `ledger_verdict` how the chain stood.
    `ledger_altered` are those whose text the redaction pass changed, and which so do not fit their hash any more.
    """

    name: str
    node_id: str = ""
    site: str = ""
    line: str = ""
    machine: str = ""
    labels: list[tuple[str, str]] = []
    collected_s: float = 0.0
    offset_s: float | None = None
    offset_error_s: float | None = None
    status: Status | None = None
    frames: list[Telemetry] = []
    trends: dict[str, Trend] = {}
    logs: list[LogLine] = []
    records: dict[str, list[Record]] = {}
    gaps: dict[str, list[Gap]] = {}
    alerts: list[Alert] = []
    deployments: list[Deployment] = []
    revisions: list[Revision] = []
    bindings: Bindings | None = None
    ledger: list[LedgerEntry] = []
    ledger_head: tuple[int, str] = (0, "")
    ledger_verdict: str = ""
    ledger_altered: list[int] = []
    missing: list[str] = []


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node's member: `digest` of its bytes as they lie in the file, `plain_bytes` after unpacking."""

    member: str
    node: str
    digest: str
    bytes: int
    plain_bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed document. `around_s`, `first_s`, `last_s`, `made_s`: seconds since the Unix epoch, console clock.

    `redacted`: how often what was taken out, by kind. `without_names`: people are `person-1` and so on.
    """

    format: str = FORMAT
    made_by: str
    made_s: float
    tool: str
    around_s: float
    first_s: float
    last_s: float
    without_names: bool
    redacted: dict[str, int]
    parts: list[Part]


Plain = dict[str, Any]
