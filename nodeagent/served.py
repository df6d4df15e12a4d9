"""What a node serves: the handlers of every route behind one HTTP server on the launcher's sockets."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nodeagent.api import Api, Endpoint, Endpoints, Gate
from nodeagent.checks.node import Agent
from nodeagent.clock import may_set_wall, set_wall
from nodeagent.deployment import reachability
from nodeagent.deployment.imports import Imports
from nodeagent.deployment.policy import ChangePolicy
from nodeagent.front import Front
from nodeagent.handlers.alerts import AlertHandlers
from nodeagent.handlers.bindings import BindingHandlers
from nodeagent.handlers.blobs import BlobHandlers
from nodeagent.handlers.checks import CheckHandlers
from nodeagent.handlers.clock import ClockHandlers
from nodeagent.handlers.deployments import DeploymentHandlers
from nodeagent.handlers.handover import HandoverHandlers
from nodeagent.handlers.hold import HoldHandlers
from nodeagent.handlers.imports import ImportHandlers
from nodeagent.handlers.labels import LabelHandlers
from nodeagent.handlers.lease import LeaseHandlers
from nodeagent.handlers.ledger import LedgerHandlers
from nodeagent.handlers.logs import LogHandlers
from nodeagent.handlers.metrics import MetricsHandlers
from nodeagent.handlers.passport import PassportHandlers
from nodeagent.handlers.patch import PatchHandlers
from nodeagent.handlers.probe import ProbeHandlers
from nodeagent.handlers.records import RecordHandlers
from nodeagent.handlers.rehearsal import RehearsalHandlers
from nodeagent.handlers.review import ReviewHandlers
from nodeagent.handlers.sensors import SensorHandlers
from nodeagent.handlers.service import ServiceHandlers
from nodeagent.handlers.status import StatusHandlers
from nodeagent.handlers.tap import TapHandlers
from nodeagent.handlers.trust import TrustHandlers
from nodeagent.handlers.upgrade import NOT_MEANWHILE, UpgradeHandlers
from nodeagent.http.server import HttpServer
from nodeagent.serving.forward import Forwarder
from nodeagent.state import installed
from nodeagent.state.database import NotWritable
from nodeagent.state.state_folder import count_signers

if TYPE_CHECKING:
    from nodeagent.node import Node


class Served:
    """The HTTP side of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._forwarder = Forwarder(node.runtimes.upstream, node.runtimes.models, lambda: node.runtimes.unsettled)
        self._server: HttpServer | None = None
        parts = node.parts
        self._upgrades = UpgradeHandlers(node.launcher, parts.clock, parts.database, parts.standing)

    async def open(self, listeners: Mapping[str, socket.socket]) -> None:
        """Serves on the sockets that the launcher keeps: `agent`, `monitor`, and `tcp` where there is one."""
        node = self._node
        gate = Gate(
            node_id=node.node_id,
            access=node.settings.node.access,
            is_worker=node.runtimes.is_worker,
            is_local=lambda pid: not reachability.is_from_afar(pid),
            is_safe=node.is_safe,
        )
        api = Api(self._endpoints(), gate, lambda text: node.log.add("info", "order", text))
        front = Front(api, self._forwarder, MetricsHandlers(node.telemeter.now))
        self._server = HttpServer(front.handle, fast=self._forwarder.fast, report=node.report)
        for name, sock in listeners.items():
            await self._server.serve(sock, role="operate" if name == "agent" else "monitor")
        try:
            await self._upgrades.tell_ledger()
        except NotWritable as error:
            node.log.add("warning", "supervisor", f"how the agent's upgrade ended is told later: {error}")

    async def close(self) -> None:
        """Lets what is under way end."""
        if self._server is not None:
            await self._server.close()
        await self._forwarder.close()

    def _endpoints(self) -> Endpoints:
        node, parts = self._node, self._node.parts
        state = parts.state

        def signers() -> int:
            return count_signers(state)

        status = StatusHandlers(
            node.node_id,
            node.settings,
            node.telemeter,
            node.trends,
            parts.database,
            signers,
            installed.version("outstation") or "unknown",
            node.rules.limits,
        )
        policy = ChangePolicy(parts, node.node_id, node.board.report)
        kept = RecordHandlers(state / "records", parts.database, parts.standing)
        nouns = (
            status,
            LogHandlers(node.log),
            kept,
            LabelHandlers(kept, node.pipeline_of),
            LedgerHandlers(parts.database),
            AlertHandlers(node.board, node.rules),
            BlobHandlers(node.blobs, parts, node.node_id),
            PatchHandlers(node.blobs, parts),
            ImportHandlers(node.blobs, parts, Imports(state)),
            DeploymentHandlers(parts, node.deployer, policy, node.blobs),
            BindingHandlers(parts.bindings, node.binder, parts.standing, policy),
            LeaseHandlers(parts.standing),
            HoldHandlers(parts.standing, node.runtimes, status.status),
            ServiceHandlers(parts.standing, parts.clock, status.status),
            PassportHandlers(parts, node.blobs, node.binder, signers, node.pipeline_of),
            RehearsalHandlers(parts),
            ClockHandlers(parts.clock, parts.database, parts.standing, node.boot_number, may_set_wall, set_wall),
            CheckHandlers(
                Agent(parts, node.log, node.node_id, node.forwarder), lambda: node.housekeeping.disk_days_left
            ),
            TapHandlers(node.runtimes),
            ProbeHandlers(),
            TrustHandlers(parts, node.node_id, policy),
            SensorHandlers(parts),
            ReviewHandlers(parts, node.board, status.status),
            HandoverHandlers(parts),
        )
        found: dict[tuple[str, str], Endpoint] = {}
        for noun in nouns:
            found.update(noun.endpoints())
        found.update(self._upgrades.endpoints())
        return found | {route: self._upgrades.unless_on_trial(found[route]) for route in NOT_MEANWHILE}
