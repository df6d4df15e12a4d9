"""The checks of the sample fleet: a node on a plant as it is, well in most things and not in all."""

from __future__ import annotations

from typing import Final

import msgspec

from console.fleet.checks import Checked
from nodeagent.protocol import Check

_FIELDS: Final = ("name", "verdict", "text", "advice")
_ROWS: Final = (
    ("link", "ok", "12ms round trip, by streamlocal", ""),
    ("offset", "warn", "+4.120 s, to within 0.006 s", "`outstation clock note NODE`, once your own clock is right."),
    ("version", "ok", "agent 0.1.0, console 0.1.0", ""),
    ("clock", "ok", "2026-11-25 00:44:10 UTC, kept by nothing: it drifts", ""),
    ("disk", "ok", "11420 MB of 29300 MB free, full in 61 days", ""),
    ("writes", "ok", "a durable write takes 8.4 ms, at worst 31.0 ms", ""),
    ("temperature", "warn", "78 °C, the limit is 85 °C", "It is near its limit: look at fan and cabinet."),
    ("throttling", "unknown", "the kernel does not count it here", ""),
    ("sshd", "ok", "forwarding is on", ""),
    ("ledger", "ok", "214 entries, the chain is whole", ""),
    ("connectors", "bad", "bearing/plc: silent for 41 s",
     "Look at cable and device: `outstation source probe NODE URL`"),
    ("outbox", "ok", "0 wait", ""),
    ("cold-start", "unknown", "never rehearsed; boot 12, 43 days ago", "`outstation rehearse NODE`"),
)  # fmt: skip


def sample_checks(node: str) -> Checked:
    """The same for every node."""
    rows = [(name, verdict, text, advice.replace("NODE", node)) for name, verdict, text, advice in _ROWS]
    return Checked(node, tuple(msgspec.convert(dict(zip(_FIELDS, row, strict=True)), Check) for row in rows))
