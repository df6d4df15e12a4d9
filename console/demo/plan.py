"""What the demo consists of: nodes, sites, devices, which bundle runs where. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A PLC, a motor behind an OPC UA server, an MQTT broker, or a camera that speaks to the broker `server`.

    Of a PLC's pump: `wear` 0 is a new one; `wear_per_s` makes it degrade while you watch.
    """

    kind: Literal["plc", "motor", "broker", "camera"]
    name: str
    seed: int = 1
    wear: float = 0.0
    wear_per_s: float = 0.0
    server: str = ""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node: which example it runs, and the device that its binding names."""

    name: str
    site: str
    line: str
    machine: str
    example: str
    device: str
    jump: bool = False
    unplugged: bool = False


DEVICES: tuple[DevicePlan, ...] = (
    DevicePlan("plc", "plc-01", seed=11),
    DevicePlan("plc", "plc-02", seed=12, wear=0.2, wear_per_s=0.02),
    DevicePlan("plc", "plc-03", seed=13),
    DevicePlan("plc", "plc-04", seed=14),
    DevicePlan("plc", "plc-05", seed=15),
    DevicePlan("motor", "opcua-01", seed=21),
    DevicePlan("broker", "broker-01"),
    DevicePlan("camera", "camera-01", seed=31, server="broker-01"),
)
NODES: tuple[NodePlan, ...] = (
    NodePlan("pump-01", "graz", "utilities", "P-101", "pump", "plc-01"),
    NodePlan("pump-02", "graz", "utilities", "P-102", "pump", "plc-02"),
    NodePlan("motor-01", "graz", "press", "M-201", "bearing", "opcua-01"),
    NodePlan("cast-01", "linz", "casting", "C-301", "casting", "broker-01", jump=True),
    NodePlan("pump-03", "linz", "utilities", "P-103", "pump", "plc-03", jump=True),
    NodePlan("pump-04", "linz", "utilities", "P-104", "pump", "plc-04", jump=True, unplugged=True),
)
# A machine with an account and no agent: it becomes a node before one's eyes.
BARE = NodePlan("pump-05", "graz", "utilities", "P-105", "pump", "plc-05")

# Who does what in the demo: the bundle that is good goes to one node, the bad one to another.
GOOD_NODE = "pump-01"
BAD_NODE = "pump-03"
DEGRADING_NODE = "pump-02"
UNPLUGGED_NODE = "pump-04"
USER = "operator"
