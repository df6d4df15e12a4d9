"""What the sample console keeps: bundles with their lineage, and ledgers of which one is broken and one never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from console.fleet.view import LinkState, NodeAddress, NodeView
from console.ledgers.past import Past, past
from console.ledgers.visits import Visit
from console.sample.fleet import SampleFleet
from console.sample.plant import WALL_S, digest_of
from console.seat.operations import BundleEntry, OperationFailed
from console.seat.shelf import Inspection
from nodeagent.protocol import Alert, AlertState
from store.histories import Chain, KnownBreak
from store.ledger import GENESIS, Break, Entry, Head, entry_hash

FORKED: Final = "cast-05"
NEVER: Final = "dock-01"
FORK: Final = Break(
    "forked", 4, "entry 4 is another one in jump-host.ostn-ledger than here: the node showed two histories"
)
_STORY: Final[tuple[tuple[float, str, str, str, dict[str, Any]], ...]] = (
    (900_000, "agent", "agent.start", "node", {"version": "0.1.0"}),
    (894_000, "bob", "bindings.set", "node", {"revision": 1, "names": "plc, seed"}),
    (350_900, "bob", "deployment.receive", "dep-1", {"version": "2.1"}),
    (350_600, "bob", "deployment.trial", "dep-1", {"bundle": "bearing", "revision": 14, "previous_revision": 13}),
    (350_100, "bob", "deployment.committed", "dep-1", {"bundle": "bearing"}),
    (86_400, "alice", "hold.set", "node", {"reason": "belt change"}),
    (84_100, "alice", "hold.lift", "node", {}),
    (131, "agent", "alert.raise", "bearing", {"code": "DRIFT.SCORE", "priority": 1}),
)


class SampleShelf:
    """Implements console.seat.shelf.Shelf on a SampleFleet."""

    def __init__(self, fleet: SampleFleet) -> None:
        self._fleet = fleet
        self.catalog: list[BundleEntry] = []
        self.broken = {FORKED}

    async def take_bundle(self, path: str) -> str:
        name, _, version = path.rpartition("/")[2].removesuffix(".ostn").partition("-")
        if not version:
            raise OperationFailed("add a bundle failed", why=[f"{path}: no such file"], hint="give the .ostn file")
        digest = digest_of(name, version)
        entry = BundleEntry(
            name, version, digest, 20_000, "release@plant", WALL_S, path, "values f32[8]", "score f32[1]"
        )
        self.catalog = [entry, *(e for e in self.catalog if e.digest != digest)]
        return digest

    async def bundle_files(self, folder: str) -> Sequence[str]:
        return ["/media/stick/bearing-2.3.ostn", "/home/alice/pump-3.1.ostn"]

    async def inspect(self, digest: str) -> Inspection:
        entry = next((e for e in self.catalog if e.digest == digest), None)
        if entry is None:
            raise OperationFailed("inspect the bundle failed", why=["it is not in the catalog any more"])
        return Inspection(
            facts=(
                ("bundle", f"{entry.title} (epoch 1, sequence {entry.version.replace('.', '')})"),
                ("digest", digest),
                ("model", f"{entry.name}, {entry.size_bytes // 2:,} B, opset onnx 17, IR 8"),
                ("inputs", entry.inputs),
                ("outputs", entry.outputs),
                ("memory", "61 MB"),
                ("bindings", "plc, seed"),
                ("signature", "by key SHA256:6SDF1pQz3wZl0, not verified here"),
            ),
            blobs=((digest_of(entry.name, "model"), entry.size_bytes // 2), (digest_of(entry.name, "facts"), 1_204)),
            lineage=(("data", "press line, 2025-11 to 2026-02"), ("training", "examples/bearing/train.py")),
            parents=(("bearing", "2.1", digest_of("bearing", "2.1")),) if entry.version == "2.2" else (),
            children=(("bearing", "2.2", digest_of("bearing", "2.2")),) if entry.title == "bearing 2.1" else (),
        )

    async def chains(self) -> Mapping[str, Chain]:
        found = {}
        for name, view in self._fleet.views().items():
            if name == NEVER or not view.address.name:
                continue
            entries = story(name)
            node_id = f"node-{name}"
            known = KnownBreak(node_id, FORK, "jump-host.ostn-ledger", WALL_S - 700) if name in self.broken else None
            seen_s = WALL_S - (12_060 if view.link is LinkState.DOWN else 74)
            found[node_id] = Chain(node_id, Head(entries[-1].seq, entries[-1].hash), seen_s, entries[-2], known)
        return found

    async def newest_entries(self, node_id: str, limit: int) -> Sequence[Entry]:
        return [] if node_id in ("", f"node-{NEVER}") else story(node_id)[-limit:]

    async def past(self, node_id: str, at_us: int) -> Past | None:
        entries = await self.newest_entries(node_id, 1_000)
        return past(entries, at_us) if entries else None

    async def verify(self, node: str) -> Visit:
        view = self._fleet.views().get(node)
        if view is None or view.link is not LinkState.UP:
            raise OperationFailed(
                "verify the ledger failed", node=node, why=["no route to host"], hint="check its power"
            )
        entries = story(node)
        return Visit(f"node-{node}", 0, Head(entries[-1].seq, entries[-1].hash), None)

    async def accept_break(self, node_id: str, why: str) -> None:
        self.broken.discard(node_id.removeprefix("node-"))

    async def alert_history(self, node: str, limit: int) -> Sequence[Alert]:
        view = self._fleet.views().get(node)
        if view is None or view.telemetry is None or view.link is not LinkState.UP:
            raise OperationFailed("alerts failed", node=node, why=["no route to host"])
        begin_us = int((WALL_S - 7_200 - 13 * len(node)) * 1e6)
        cleared = Alert(
            id=2,
            code="SOURCE.SILENT",
            priority=2,
            state=AlertState.CLEARED,
            subject="plc",
            message="plc has sent nothing for 15 s",
            advice="check the device and its network",
            raised_us=begin_us,
            acknowledged_by="bob",
            cleared_us=begin_us + 94_000_000,
        )
        return [*sorted(view.telemetry.alerts, key=lambda a: -a.id), cleared]

    async def add_node(self, words: Sequence[str]) -> str:
        if len(words) < 2:
            raise OperationFailed("add a node failed", why=["a name and an address are needed"], hint="NAME USER@HOST")
        user, _, host = words[1].rpartition("@")
        self._fleet.put(NodeView(NodeAddress(words[0], host, user=user)))
        return words[0]


def story(name: str) -> list[Entry]:
    """The ledger of a sample node: a chain that verifies."""
    entries: list[Entry] = []
    for before_s, actor, action, subject, detail in _STORY:
        previous = entries[-1].hash if entries else GENESIS
        told = {**detail, "digest": digest_of("bearing", "2.1")} if action == "deployment.receive" else detail
        wall_us = int((WALL_S - before_s) * 1e6) + len(name)
        one = Entry(len(entries) + 1, "b0", wall_us, wall_us, actor, action, subject, told, previous, "")
        entries.append(one._replace(hash=entry_hash(one)))
    return entries
