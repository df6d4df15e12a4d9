"""The agent's own version: another one on trial, confirmed by a new login, or the one before is back.

The launcher decides and writes; what it decided is told to the ledger, by whichever supervisor comes to it first.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Awaitable
from typing import Any

import msgspec

from nodeagent.api import Call, Endpoint
from nodeagent.clock import Clock
from nodeagent.deployment import reachability
from nodeagent.http.message import HttpError
from nodeagent.parts import AGENT
from nodeagent.processes.launcher_client import LauncherClient, LauncherError
from nodeagent.protocol import AgentUpgrade, UpgradeEnd, UpgradeRequest
from nodeagent.state.database import NodeDatabase
from nodeagent.state.standing import Standing
from store import ledger
from store.ledger import Stamp
from store.node import deployments

ACTIONS = {"trial": "agent.upgrade", "committed": "agent.commit", "rolled_back": "agent.rollback"}
LOOKED_AT_MAX = 500
TICK_US = 10_000
# Nothing else may be on trial while the agent itself is.
NOT_MEANWHILE = (
    ("POST", "/agent/v1/deployments/{id}/activate"),
    ("POST", "/agent/v1/bundles/{name}/revert"),
    ("PUT", "/agent/v1/bindings"),
)
_TRIAL_HINT = "Confirm it, take the one before, or wait for its end."


@dataclasses.dataclass(frozen=True)
class UpgradeHandlers:
    """Every change needs the lease."""

    launcher: LauncherClient
    clock: Clock
    database: NodeDatabase
    standing: Standing

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        return {
            ("GET", "/agent/v1/upgrade"): self.show,
            ("POST", "/agent/v1/upgrade"): self.begin,
            ("POST", "/agent/v1/upgrade/confirm"): self.confirm,
            ("POST", "/agent/v1/upgrade/rollback"): self.back,
        }

    async def show(self, call: Call) -> AgentUpgrade:
        return self._view(await self._ordered(self.launcher.ask_versions()))

    async def begin(self, call: Call) -> AgentUpgrade:
        """The row first, then the switch: a version that ran without a row does not exist."""
        request: UpgradeRequest = call.body
        now = self._view(await self._ordered(self.launcher.ask_versions()))
        if now.id == request.id:
            return now
        if now.phase == "trial":
            raise HttpError("UPGRADE.RUNNING", f"agent {now.version} is on trial", _TRIAL_HINT)
        if not now.launcher:
            hint = "Put it there with `outstation node bootstrap`, which keeps versions beside each other."
            raise HttpError("UPGRADE.NOT_INSTALLED", "this agent was not put here by bootstrap", hint)
        if request.version not in now.installed or request.version == now.running:
            text = f"{request.version[:80]} {'runs already' if request.version == now.running else 'is not here'}"
            raise HttpError("UPGRADE.NOT_INSTALLED", text, f"Installed: {', '.join(now.installed)}.")
        detail = {"id": request.id, "version": request.version, "previous": now.running}
        detail |= {"brought": request.brought} if request.brought else {}
        await self._write(call.actor, request.lease, "agent.upgrade", detail, no_trial=True)
        begun = self.launcher.begin_upgrade(request.id, request.version, window_s=request.window_s, actor=call.actor)
        return self._view(await self._ordered(begun))

    async def confirm(self, call: Call) -> AgentUpgrade:
        """The launcher's file is the answer; a repeat after it gives the same."""
        request: UpgradeEnd = call.body
        now = self._known(await self._ordered(self.launcher.ask_versions()), request.id)
        if now.phase == "committed":
            return now
        told = self._reachability(call.peer.pid)
        await self._write(call.actor, request.lease, "agent.confirm", {"id": request.id, "reachability": told})
        done = self._view(await self._ordered(self.launcher.confirm_upgrade(request.id)))
        await self.tell_ledger()
        return done

    async def back(self, call: Call) -> AgentUpgrade:
        request: UpgradeEnd = call.body
        self._known(await self._ordered(self.launcher.ask_versions()), request.id)
        await self._write(call.actor, request.lease, "agent.revert", {"id": request.id})
        return self._view(await self._ordered(self.launcher.end_upgrade(request.id)))

    async def tell_ledger(self) -> None:
        """Writes down how an upgrade ended, once, whoever decided it. Raises NotWritable."""
        upgrade = self.launcher.versions.get("upgrade")
        if not upgrade or upgrade["phase"] == "trial":
            return
        action, detail = ACTIONS[upgrade["phase"]], {name: upgrade[name] for name in ("id", "version", "previous")}
        detail |= {name: upgrade[name] for name in ("reason", "text") if upgrade[name]}
        stamp = self.standing.stamp(AGENT)

        def write(connection: sqlite3.Connection) -> None:
            newest = ledger.newest(connection, LOOKED_AT_MAX)
            if not any(entry.action == action and entry.detail.get("id") == detail["id"] for entry in newest):
                ledger.note(connection, stamp, action, "node", detail)

        await self.database.write(write)

    def unless_on_trial(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, refused while the agent itself is on trial: the way back must stay one step."""

        async def guarded(call: Call) -> Any:
            upgrade = self.launcher.versions.get("upgrade")
            if upgrade and upgrade["phase"] == "trial":
                raise HttpError("UPGRADE.RUNNING", f"agent {upgrade['version']} is on trial", _TRIAL_HINT)
            return await endpoint(call)

        return guarded

    async def _ordered(self, order: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await order
        except LauncherError as error:
            raise HttpError("UPGRADE.ENDED", str(error).partition("Error: ")[2] or str(error), _ENDED_HINT) from error

    async def _write(
        self, actor: str, lease: int | None, action: str, detail: dict[str, Any], *, no_trial: bool = False
    ) -> None:
        fence = self.standing.fence(lease)

        def write(connection: sqlite3.Connection, stamp: Stamp) -> None:
            fence(connection, stamp)
            if no_trial and (row := deployments.trial(connection)) is not None:
                text = f"{row.bundle} {row.version} is on trial"
                raise HttpError("DEPLOYMENT.TRIAL_RUNNING", text, "Confirm it or wait for its end.")
            ledger.note(connection, stamp, action, "node", detail)

        await self.database.write(write, self.standing.stamp(actor))

    def _known(self, shown: dict[str, Any], id_: str) -> AgentUpgrade:
        now = self._view(shown)
        if now.id != id_:
            raise HttpError("UPGRADE.ENDED", f"there is no upgrade {id_[:80]}", _ENDED_HINT)
        return now

    def _view(self, shown: dict[str, Any]) -> AgentUpgrade:
        upgrade = shown.get("upgrade")
        told = AgentUpgrade(running=shown["running"], launcher=shown["launcher"], installed=list(shown["installed"]))
        if not upgrade:
            return told
        left_s = max(0.0, (upgrade["deadline_us"] - self.clock.boottime_us()) / 1e6)
        return msgspec.structs.replace(
            told,
            seconds_left=round(left_s, 3) if upgrade["phase"] == "trial" else None,
            **{name: upgrade[name] for name in ("id", "version", "previous", "phase", "reason", "text")},
        )

    def _reachability(self, pid: int) -> str:
        began_us = reachability.login_us(pid)
        upgrade = self.launcher.versions.get("upgrade")
        if began_us is None or upgrade is None:
            return "claimed"
        if began_us + TICK_US < upgrade["started_us"]:
            raise HttpError("DEPLOYMENT.OLD_LOGIN", "this login is older than the switch", "Log in anew and confirm.")
        return "proved"


_ENDED_HINT = "`outstation agent show NODE` says where it stands."
