"""Deployments: staged, tried, confirmed, undone; the revisions they made; reverting a bundle."""

from __future__ import annotations

import dataclasses

from nodeagent.api import Call, Endpoints
from nodeagent.deployment import machine_state
from nodeagent.deployment.deployer import Deployer
from nodeagent.deployment.deployment import FINAL
from nodeagent.deployment.policy import ChangePolicy
from nodeagent.deployment.transitions import Fence, Known
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import PAGE_ROWS_MAX, Deployment, DeploymentsPage, DeploymentState, RevertRequest, Revision
from store.blobs import Blobs
from store.node import deployments as rows
from store.node import revisions

_BEGUN = FINAL | {DeploymentState.TRIAL}


@dataclasses.dataclass(frozen=True)
class DeploymentHandlers:
    """Every change carries the lease's token, checked in the transaction that makes it."""

    parts: Parts
    deployer: Deployer
    policy: ChangePolicy
    blobs: Blobs

    def endpoints(self) -> Endpoints:
        one = "/agent/v1/deployments/{id}"
        return {
            ("GET", "/agent/v1/revisions"): self.revisions,
            ("GET", "/agent/v1/deployments"): self.list,
            ("POST", "/agent/v1/deployments"): self.stage,
            ("GET", one): self.show,
            ("POST", f"{one}/preflight"): self.preflight,
            ("POST", f"{one}/gate"): self.gate,
            ("POST", f"{one}/shadow"): self.shadow,
            ("POST", f"{one}/activate"): self.activate,
            ("POST", f"{one}/confirm"): self.confirm,
            ("POST", f"{one}/extend"): self.extend,
            ("POST", f"{one}/rollback"): self.roll_back,
            ("POST", "/agent/v1/bundles/{name}/revert"): self.revert,
        }

    async def revisions(self, call: Call) -> list[Revision]:
        """Newest first; query: `bundle`, `limit`."""
        limit = call.query_int("limit", 100, minimum=1, maximum=PAGE_ROWS_MAX)
        database = self.parts.database
        active = {row.bundle: row.revision for row in await database.read(revisions.all_active)}
        return [
            Revision(
                bundle=row.bundle,
                revision=row.revision,
                version=row.version,
                digest=row.digest,
                binding_revision=row.binding_revision,
                since_us=row.since_us,
                active=active.get(row.bundle) == row.revision,
            )
            for row in await database.read(revisions.revisions, call.query_text("bundle") or None, limit)
        ]

    async def list(self, call: Call) -> DeploymentsPage:
        """Newest first; query: `bundle`, `limit`."""
        limit = call.query_int("limit", 50, minimum=1, maximum=PAGE_ROWS_MAX)
        found = await self.parts.database.read(rows.newest, call.query_text("bundle") or None, limit)
        return DeploymentsPage(deployments=[await self.deployer.view(row) for row in found])

    async def show(self, call: Call) -> Deployment:
        return await self.deployer.show(call.path["id"])

    async def stage(self, call: Call) -> Deployment:
        return await self.deployer.stage(call.body, call.actor, self._fence(call))

    async def preflight(self, call: Call) -> Deployment:
        return await self.deployer.preflight(
            call.path["id"], call.actor, self._fence(call), allow_gap=call.body.allow_gap
        )

    async def gate(self, call: Call) -> Deployment:
        return await self.deployer.gate(call.path["id"], call.actor, self._fence(call), call.body)

    async def shadow(self, call: Call) -> Deployment:
        """Begins, or with no seconds ends, a shadow; the answer does not wait for its end."""
        return await self.deployer.shadow(call.path["id"], call.actor, self._fence(call), call.body)

    async def activate(self, call: Call) -> Deployment:
        """The node's policy is asked for every bundle that is not on trial yet; a repeat is answered as it stands."""
        id_, fence = call.path["id"], self._fence(call)
        row = await self.parts.rows.find(id_)
        if row.kind == "bundle" and row.state not in _BEGUN:
            await self.policy.admit(call.body, call.actor, fence, subject=row.digest, id_=id_)
            if row.state == DeploymentState.PREFLIGHT_OK:
                await machine_state.admit(self.parts, self.blobs, row)
        return await self.deployer.activate(id_, call.actor, fence)

    async def confirm(self, call: Call) -> Deployment:
        return await self.deployer.confirm(call.path["id"], call.actor, self._fence(call), peer_pid=call.peer.pid)

    async def extend(self, call: Call) -> Deployment:
        return await self.deployer.extend(call.path["id"], call.actor, self._fence(call), window_s=call.body.window_s)

    async def roll_back(self, call: Call) -> Deployment:
        return await self.deployer.roll_back(
            call.path["id"], call.actor, self._fence(call), reason=call.body.reason[:512]
        )

    async def revert(self, call: Call) -> Deployment:
        """The bundle's previous revision again, under its bindings, as a trial of its own; below the floor too."""
        request: RevertRequest = call.body
        name = call.path["name"]
        database = self.parts.database
        done = await self.parts.rows.get(request.id)
        if done is not None and (done.bundle, done.kind) != (name, "revert"):
            raise HttpError("DEPLOYMENT.STATE", f"{request.id[:64]} is another deployment", "Use a new id.")
        active = await database.read(revisions.active, name)
        number = active.previous if active is not None else None
        previous = await self.parts.switcher.revision(name, number) if done is None else None
        if done is not None:
            previous = await self.parts.switcher.revision(name, done.previous_revision or number)
        if previous is None:
            raise HttpError("DEPLOYMENT.NOTHING_BEFORE", f"{name[:64]} has no previous revision on this node")
        plan = Known(request.id, "revert", previous, previous.binding_revision, round(request.window_s * 1e6))
        return await self.deployer.start_known(plan, call.actor, self._fence(call))

    def _fence(self, call: Call) -> Fence:
        return self.parts.standing.fence(call.body.lease)
