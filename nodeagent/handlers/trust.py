"""Who may sign on this node: the list, and changes of it that somebody signed who may change it."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import sqlite3
from pathlib import Path

import msgspec

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import admission
from nodeagent.deployment.policy import ChangePolicy
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import Trust, TrustRequest, TrustSigner
from nodeagent.runtime.probation_start import run_limited
from nodeagent.state.state_folder import SIGNERS_NAME
from store import durable, ledger
from store.ledger import Stamp

MODULE = "nodeagent.deployment.trust_change"
MEMORY_BYTES = 256 << 20
RUN_S = 20.0


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says; it is nodeagent.deployment.trust_change.TrustVerdict, which brings cryptography along."""

    code: str = ""
    message: str = ""
    text: str = ""
    signer: str = ""
    told: str = ""
    listed: list[tuple[str, str, list[str]]] = []


@dataclasses.dataclass(frozen=True)
class TrustHandlers:
    """The ledger row is written first: a list that changed without one does not exist."""

    parts: Parts
    node_id: str
    policy: ChangePolicy
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    def endpoints(self) -> Endpoints:
        return {("GET", "/agent/v1/trust"): self.show, ("POST", "/agent/v1/trust"): self.change}

    async def show(self, call: Call) -> Trust:
        return _view(await self._examine("", ""))

    async def change(self, call: Call) -> Trust:
        """A refused change is a row in the ledger too."""
        request: TrustRequest = call.body
        fence = self.parts.standing.fence(request.lease)
        await admission.check_fence(self.parts, call.actor, fence)
        digest = _digest(request.change)
        await self.policy.admit(request, call.actor, fence, subject=digest, id_=f"trust-{digest[7:15]}")
        async with self.lock:
            verdict = await self._examine(request.change, request.signature)
            stamp = self.parts.standing.stamp(call.actor)
            if verdict.code:
                told = {"code": verdict.code, "message": verdict.message}
                await self.parts.database.write(ledger.note, stamp, "trust.refuse", "node", told)
                raise HttpError(verdict.code, verdict.message, _HINTS.get(verdict.code, ""))
            detail = {"change": verdict.told, "signer": verdict.signer, "list": _digest(verdict.text)}

            def write(connection: sqlite3.Connection, stamp: Stamp) -> None:
                fence(connection, stamp)
                ledger.note(connection, stamp, "trust.change", "node", detail)

            await self.parts.database.write(write, stamp)
            path: Path = self.parts.state / SIGNERS_NAME
            await asyncio.to_thread(durable.write_file, path, verdict.text.encode(), 0o644)
        return _view(verdict)

    async def _examine(self, change: str, signature: str) -> _Verdict:
        at_s = self.parts.standing.stamp("agent").wall_us / 1e6
        job = {"state": str(self.parts.state), "node_id": self.node_id, "at_s": at_s}
        document = msgspec.json.encode({**job, "change": change, "signature": signature})
        ended = await run_limited(MODULE, document, memory_bytes=MEMORY_BYTES, cpu_s=10, wall_s=RUN_S)
        if ended.status != 0:
            raise HttpError("TRUST.SIGNATURE", f"reading the change {ended.words}")
        return msgspec.json.decode(ended.out, type=_Verdict)


_HINTS = {
    "TRUST.SIGNATURE": "Sign it with a key whose line in allowed_signers has the namespace outstation-trust.",
    "TRUST.STALE": "Look at the list again and sign the change anew.",
    "TRUST.LAST_SIGNER": "Add the next signer before you remove the last.",
}


def _view(verdict: _Verdict) -> Trust:
    if verdict.code:
        raise HttpError(verdict.code, verdict.message)
    return Trust(
        list_digest=_digest(verdict.text),
        signers=[
            TrustSigner(principals=principals, fingerprint=fingerprint, namespaces=namespaces)
            for principals, fingerprint, namespaces in verdict.listed
        ],
    )


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
