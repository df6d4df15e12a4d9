"""Change control: what a change has to bring along on this node before anything of it is done.

`[policy]` in node.toml may ask for a change number and for a second person's signature. Hold, roll back, revert and
confirm never ask. An emergency is written down, with an alert, before the change is made, and both stay until another
person has reviewed it. Names count as far as they are proven: by a key's forced command, or by a login of one's own.
"""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from nodeagent.deployment import admission
from nodeagent.deployment.transitions import Fence
from nodeagent.health.alerts import Condition
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import SignedWarrant
from nodeagent.runtime.probation_start import run_limited
from store import ledger
from store.ledger import Stamp
from store.node import change_control

MODULE = "nodeagent.deployment.warrant_check"
MEMORY_BYTES = 256 << 20
RUN_S = 20.0
REASON_CHARS_MAX = 512
EMERGENCY = "CHANGE.EMERGENCY"
NOTED_LOOKED_AT = 200
_CLAIMED = re.compile(r"(?P<name>\S+) \(claimed, .*\)")


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """nodeagent.deployment.warrant_check.WarrantVerdict, which brings cryptography along."""

    code: str = ""
    message: str = ""
    id: str = ""
    principals: str = ""
    fingerprint: str = ""
    plan: str = ""
    change: str = ""


def person(actor: str) -> tuple[str, bool]:
    """The name in a ledger's actor, and whether it is proven."""
    claimed = _CLAIMED.fullmatch(actor)
    return (claimed["name"], False) if claimed else (actor, True)


def same_person(actor: str, principals: str) -> bool:
    """Whether one of a signer's principals (`alice`, `alice@plant`) names the person who acts."""
    name = person(actor)[0].casefold()
    return any(
        principal.casefold() == name or principal.partition("@")[0].casefold() == name.partition("@")[0]
        for principal in principals.split(",")
    )


@dataclasses.dataclass(frozen=True)
class ChangePolicy:
    """The policy of one node. `report` raises an alert."""

    parts: Parts
    node_id: str
    report: Callable[[Condition], Awaitable[None]]

    async def admit(self, body: Any, actor: str, fence: Fence, *, subject: str, id_: str) -> None:
        """Raises CHANGE.* or TRUST.* where the change may not be made. `subject` is the digest that was approved.

        `body` is a write with `approval`, `emergency` and `change_number`; `id_` names the change in the ledger.
        """
        asks = self.parts.settings.policy
        if not asks.change_number and not asks.second_person:
            return
        await admission.check_fence(self.parts, actor, fence)
        if reason := body.emergency.strip()[:REASON_CHARS_MAX]:
            await self._as_emergency(actor, id_, reason)
            return
        if asks.change_number and not body.change_number:
            raise HttpError("CHANGE.NUMBER", "this node asks for a change number", "Give it: --change NUMBER.")
        if asks.second_person:
            await self._approved(body.approval, actor, subject=subject, id_=id_)

    async def _as_emergency(self, actor: str, id_: str, reason: str) -> None:
        stamp = self.parts.standing.stamp(actor)
        await self.parts.database.write(change_control.give_emergency, stamp, id_, reason)
        text = f"{actor} changed this node without the second person that it asks for: {reason}"
        advice = "Another person looks at it in the ledger and reviews it: outstation review NODE."
        await self.report(Condition(EMERGENCY, id_, 2, text, advice, latched=True))

    async def _approved(self, approval: SignedWarrant | None, actor: str, *, subject: str, id_: str) -> None:
        if not person(actor)[1]:
            text = f"{actor}: this node asks for two persons, and this name is only said"
            raise HttpError("CHANGE.UNPROVEN", text, "Log in with a key whose forced command names you.")
        if approval is None:
            text = f"this node asks for a second person's signature over {subject}"
            raise HttpError(
                "CHANGE.SECOND_PERSON", text, f"Another person: outstation approve {subject} NODE --key FILE."
            )
        found = await self._verdict(approval, subject)
        if same_person(actor, found.principals):
            text = f"{found.principals} approved it and {actor} asks for it: that is one person"
            raise HttpError("CHANGE.SAME_PERSON", text, "Another person has to sign the approval.")
        detail = {
            "digest": subject,
            "approval": found.id,
            "by": f"{found.principals} {found.fingerprint}",
            "plan": found.plan,
            "approved_change": found.change,
        }
        await self.parts.database.write(_note, self.parts.standing.stamp(actor), id_, detail)

    async def _verdict(self, approval: SignedWarrant, subject: str) -> _Verdict:
        job = {
            "state": str(self.parts.state),
            "node_id": self.node_id,
            "subject": subject,
            "document": approval.document,
            "signature": approval.signature,
            "at_s": self.parts.standing.stamp("agent").wall_us / 1e6,
        }
        ended = await run_limited(MODULE, msgspec.json.encode(job), memory_bytes=MEMORY_BYTES, cpu_s=10, wall_s=RUN_S)
        if ended.status != 0:
            raise HttpError("TRUST.SIGNATURE", f"reading the approval {ended.words}")
        found = msgspec.json.decode(ended.out, type=_Verdict)
        if found.code:
            hint = "Another person signs it anew: outstation approve, for this node and this digest."
            raise HttpError(found.code, found.message, hint)
        return found


def _note(connection: sqlite3.Connection, stamp: Stamp, id_: str, detail: dict[str, str]) -> None:
    """Once for one approval of one change, however often it is asked for while the machine is waited for."""
    told = {name: value for name, value in detail.items() if value}
    known = ((e.action, e.subject, e.detail.get("approval")) for e in ledger.newest(connection, NOTED_LOOKED_AT))
    if ("change.approve", id_, detail["approval"]) not in known:
        ledger.note(connection, stamp, "change.approve", id_, told)
