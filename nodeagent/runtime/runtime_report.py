"""What the runtime tells the supervisor: refusals, how a switch went, what happened to a worker."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Refused(Exception):
    """What was asked of a bundle cannot be done. `code` is a key of protocol.ERRORS."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class SwitchReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a switch went: milliseconds in which no worker had the plant, HTTP connections that went along."""

    gap_ms: float
    connections_passed: int
    from_revision: int | None
    to_revision: int


class ShadowStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that is compared, as of its last heartbeat. `ended`: why it lives no more.

    `candidate_waiting`: sweeps before the candidate; `active_waiting`: what waits in the active worker, by the name of
    `active`.
    """

    figures: dict[str, Any] | None
    candidate_waiting: int
    active_waiting: int
    active: str
    ended: str = ""


class RuntimeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a bundle's active worker, for the supervisor to act on."""

    kind: Literal["serving", "exited", "stopped"]
    bundle: str
    revision: int
    text: str
