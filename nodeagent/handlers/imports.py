"""A bundle that is on the node already, from a stick: verified as any other, kept, and not activated."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import admission
from nodeagent.deployment.imports import Imports, Kept
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import Imported
from store import ledger
from store.blobs import Blobs, is_digest
from store.errors import DiskFull, ReadOnly


@dataclasses.dataclass(frozen=True)
class ImportHandlers:
    """Asked again after each round of uploads, as `POST deployments` is. It needs no lease: nothing runs otherwise."""

    blobs: Blobs
    parts: Parts
    imports: Imports

    def endpoints(self) -> Endpoints:
        return {("POST", "/agent/v1/imports"): self.take}

    async def take(self, call: Call) -> Imported:
        """What is missing, or, once nothing is and all of it is verified, what was taken."""
        request = call.body
        if not is_digest(request.manifest) or not is_digest(request.signature):
            raise HttpError("REQUEST.MALFORMED", "manifest and signature are digests")
        admission.admit(self.parts)
        needs = {request.manifest, request.signature}
        if missing := self._missing(needs):
            return Imported(digest=request.manifest, missing=missing)
        verdict = await self.parts.staging.examine(request.manifest, request.signature, content=False)
        needs |= verdict.blobs.keys()
        if missing := self._missing(needs):
            return Imported(digest=request.manifest, missing=missing, bundle=verdict.bundle, version=verdict.version)
        verdict = await self.parts.staging.examine(request.manifest, request.signature, content=True)
        try:
            await self.imports.keep(Kept(manifest=request.manifest, blobs=sorted(needs)))
        except DiskFull as error:
            raise HttpError("DEPLOYMENT.DISK_FULL", str(error), "Free space on the node.") from error
        except ReadOnly as error:
            raise HttpError("DEPLOYMENT.READ_ONLY", str(error), "Look at the node's disk.") from error
        detail = {"bundle": verdict.bundle, "version": verdict.version, "signer": verdict.signer}
        detail |= {"brought": request.brought} if request.brought else {}
        stamp = self.parts.standing.stamp(call.actor)
        await self.parts.database.write(ledger.note, stamp, "bundle.import", request.manifest, detail)
        return Imported(
            digest=request.manifest,
            bundle=verdict.bundle,
            version=verdict.version,
            signer=verdict.signer,
            complete=True,
        )

    def _missing(self, needs: set[str]) -> list[str]:
        return sorted(digest for digest in needs if not self.blobs.state(digest).complete)
