"""Taking a bundle in: what is missing, who signed, whether this node may have it. Up to STAGED nothing on it changes.

A deployment gets its row once its manifest, signature and facts are here and verified; before that the answer only
lists what is missing, and asking again with the same id goes on. So a bundle that nobody signed leaves no row.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3

import msgspec

from nodeagent.deployment import deployment
from nodeagent.deployment.deployment import Event
from nodeagent.deployment.rows import Rows, view
from nodeagent.deployment.transitions import Details, Fence
from nodeagent.deployment.verifier import Verdict, Verifier
from nodeagent.http.message import HttpError
from nodeagent.protocol import Deployment as View
from nodeagent.protocol import DeploymentState, StageRequest
from nodeagent.state.database import NodeDatabase, NotWritable
from nodeagent.state.standing import Standing
from store import ledger
from store.blobs import Blobs, is_digest
from store.errors import Busy
from store.ledger import Stamp
from store.node import change_control, deployments, revisions
from store.node.deployments import Deployment, Failure

Place = tuple[int, int]
PENDING_MAX = 16
ID_CHARS_MAX = 128


@dataclasses.dataclass(frozen=True)
class Pending:
    """A stage request that has no row yet, with the blobs that it is known to need."""

    request: StageRequest
    needs: frozenset[str]


class Staging:
    """Stages deployments of one node. `labels` are what a bundle's target may ask for, `node_id` included."""

    def __init__(
        self,
        *,
        database: NodeDatabase,
        rows: Rows,
        blobs: Blobs,
        verifier: Verifier,
        standing: Standing,
        labels: dict[str, str],
    ) -> None:
        self._database = database
        self._rows = rows
        self._blobs = blobs
        self._verifier = verifier
        self._standing = standing
        self._labels = labels
        self._pending: dict[str, Pending] = {}
        self.blobs_lock = asyncio.Lock()
        """Held while blobs are collected, and while one is written or a deployment begins to need it."""

    def pending_view(self, id_: str) -> View | None:
        """A request that waits for its first blobs, as the console sees it."""
        pending = self._pending.get(id_)
        return None if pending is None else _pending_view(pending.request, self._missing(pending.needs), "", "")

    def pending_blobs(self) -> set[str]:
        """Blobs that must not be collected, though no row names them."""
        return set().union(*(pending.needs for pending in self._pending.values()))

    async def stage(self, request: StageRequest, actor: str, fence: Fence) -> View:
        """Goes as far as the blobs that are here allow. Raises HttpError, Fenced, NotWritable."""
        if (
            not is_digest(request.manifest)
            or not is_digest(request.signature)
            or not 0 < len(request.id) <= ID_CHARS_MAX
        ):
            raise HttpError("REQUEST.MALFORMED", "id, manifest or signature is not what it should be")
        row = await self._rows.get(request.id)
        if row is not None and (row.digest, row.kind) != (request.manifest, "bundle"):
            raise HttpError("DEPLOYMENT.STATE", f"{request.id} is the deployment of another bundle", "Use a new id.")
        if row is not None and row.state != DeploymentState.RECEIVING:
            return self._view(row)
        if row is not None:  # taken in already: its permit, if it had one, is used up
            request = msgspec.structs.replace(request, permit=None)
        await self._database.read(lambda connection: fence(connection, self._standing.stamp(actor)))
        needs = frozenset({request.manifest, request.signature})
        if missing := await self._need(request, needs):
            return _pending_view(request, missing, "", "")
        try:
            return await self._admit(request, needs, actor, fence)
        except HttpError as error:
            await self._note_refusal(request, error, actor)
            raise

    async def _admit(self, request: StageRequest, needs: frozenset[str], actor: str, fence: Fence) -> View:
        """From a manifest and a signature that are here to as far as the other blobs allow."""
        verdict = await self._verify(request, content=False)
        missing = await self._need(request, needs | verdict.blobs.keys())
        if verdict.facts is None:
            return _pending_view(request, missing, verdict.bundle, verdict.version)
        row = await self._receive(request, verdict, actor, fence)
        self._pending.pop(request.id, None)
        if missing or row.state != DeploymentState.RECEIVING:
            return self._view(row, missing)
        return self._view(await self._look_inside(request, actor))

    def missing_of(self, row: Deployment, needs: set[str]) -> list[str]:
        """What a RECEIVING row still waits for."""
        return self._missing(frozenset(needs | {row.digest, row.signature}))

    async def _note_refusal(self, request: StageRequest, error: HttpError, actor: str) -> None:
        """What is refused for whom it comes from stands in the ledger, though it gets no row."""
        if not error.code.startswith(("TRUST.", "BUNDLE.")):
            return
        detail = {"code": error.code, "message": error.message, "digest": request.manifest}
        with contextlib.suppress(NotWritable, Busy):  # what the operator is told is the refusal, not the disk
            await self._database.write(
                ledger.note, self._standing.stamp(actor), "deployment.refuse", request.id, detail
            )

    async def examine(self, manifest: str, signature: str, *, content: bool) -> Verdict:
        """The verdict on a bundle that nobody deploys yet. Raises HttpError with the code that refuses it."""
        at_s = self._standing.stamp("agent").wall_us / 1e6
        return await self._verifier.verify(manifest, signature, content=content, at_s=at_s)

    async def _look_inside(self, request: StageRequest, actor: str) -> Deployment:
        try:
            verdict = await self._verify(request, content=True)
        except HttpError as error:
            if error.code in ("BLOB.MISMATCH", "DEPLOYMENT.MISSING_BLOBS"):
                raise
            failure = Failure(error.code, error.message, error.hint)
            return await self._settle(request.id, Event.REFUSED, actor, Details(failure=failure))
        return await self._settle(request.id, Event.VERIFIED, actor, Details(signer=verdict.signer))

    async def _settle(self, id_: str, event: Event, actor: str, details: Details) -> Deployment:
        async with self._rows.lock:
            row = await self._rows.find(id_)
            if row.state != DeploymentState.RECEIVING:
                return row
            row, _ = await self._rows.apply(id_, event, actor, details)
            return row

    async def _receive(self, request: StageRequest, verdict: Verdict, actor: str, fence: Fence) -> Deployment:
        facts = verdict.facts or {}
        self._check_target(dict(facts.get("target") or {}))
        place = int(facts["epoch"]), int(facts["sequence"])

        def stage(connection: sqlite3.Connection, stamp: Stamp) -> Deployment:
            fence(connection, stamp)
            self._check_floor(connection, stamp, request, verdict, place)
            return deployments.stage(
                connection,
                stamp,
                id_=request.id,
                bundle=facts["name"],
                version=facts["version"],
                digest=request.manifest,
                epoch=place[0],
                sequence=place[1],
                window_us=round(request.window_s * 1e6),
                signature=request.signature,
                signer=verdict.signer,
                brought=request.brought,
            )

        async with self._rows.lock:
            return await self._database.write(stage, self._standing.stamp(actor))

    def _check_floor(
        self, connection: sqlite3.Connection, stamp: Stamp, request: StageRequest, verdict: Verdict, place: Place
    ) -> None:
        """Below the floor a permit is used up, in the transaction that takes the bundle in; for nothing else."""
        if deployments.get(connection, request.id) is not None:
            return
        floor = revisions.floor(connection, verdict.bundle) or revisions.Floor(0, 0)
        code = deployment.floor_error(floor, place)
        if code == "TRUST.ROLLBACK" and verdict.permit is not None:
            id_, signer, reason = verdict.permit
            try:
                change_control.use_permit(
                    connection,
                    stamp,
                    id_,
                    subject=request.manifest,
                    deployment=request.id,
                    signer=signer,
                    reason=reason,
                )
            except change_control.Used as error:
                raise HttpError("TRUST.REPLAYED", str(error), "Each permit counts once: sign another.") from error
        elif code == "TRUST.ROLLBACK" and verdict.permit_error is not None:
            raise HttpError(*verdict.permit_error, _PERMIT)
        elif code:
            raise HttpError(code, f"{place} is not acceptable over the floor {tuple(floor)}", _FLOOR_HINTS[code])

    def _check_target(self, target: dict[str, str]) -> None:
        wrong = {name: wanted for name, wanted in target.items() if self._labels.get(name) != wanted}
        if wrong:
            text = ", ".join(f"{name} = {wanted}" for name, wanted in sorted(wrong.items()))
            raise HttpError("TRUST.WRONG_NODE", f"the bundle is only for nodes with {text}", "Sign it for this node.")

    async def _verify(self, request: StageRequest, *, content: bool) -> Verdict:
        at_s = self._standing.stamp("agent").wall_us / 1e6
        permit = None if request.permit is None else (request.permit.document, request.permit.signature)
        return await self._verifier.verify(
            request.manifest, request.signature, content=content, at_s=at_s, permit=permit
        )

    async def _need(self, request: StageRequest, needs: frozenset[str]) -> list[str]:
        """Keeps blobs from being collected from here on; returns those that are missing."""
        async with self.blobs_lock:
            self._pending.pop(request.id, None)
            while len(self._pending) >= PENDING_MAX:
                self._pending.pop(next(iter(self._pending)))
            self._pending[request.id] = Pending(request, needs)
            return self._missing(needs)

    def _missing(self, needs: frozenset[str]) -> list[str]:
        return sorted(digest for digest in needs if not self._blobs.state(digest).complete)

    def _view(self, row: Deployment, missing: list[str] | None = None) -> View:
        return view(row, now_us=self._standing.stamp("agent").boottime_us, missing=missing)


_PERMIT = "Sign a permit for this bundle and this node: outstation trust permit BUNDLE NODE --key FILE --until TIME."
_FLOOR_HINTS = {
    "TRUST.ROLLBACK": "Going back is a revert on the node; an older bundle needs a permit: outstation trust permit.",
    "TRUST.FAST_FORWARD": "Sign it again with the next number; a new epoch is one higher.",
}


def _pending_view(request: StageRequest, missing: list[str], bundle: str, version: str) -> View:
    return View(
        id=request.id,
        bundle=bundle,
        version=version,
        digest=request.manifest,
        state=DeploymentState.RECEIVING,
        window_s=request.window_s,
        missing=missing,
    )
