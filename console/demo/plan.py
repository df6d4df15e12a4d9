"""What the demo consists of: nodes, sites, PLCs, which bundle runs where. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlcPlan:
    """One simulated PLC. `wear` 0 is a new pump; `wear_per_s` makes it degrade while you watch."""

    name: str
    seed: int
    wear: float = 0.0
    wear_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node: which example it runs, and the PLC that its binding names."""

    name: str
    site: str
    line: str
    machine: str
    example: str
    plc: PlcPlan | None = None
    seed: int = 1
    jump: bool = False
    unplugged: bool = False


NODES: tuple[NodePlan, ...] = (
    NodePlan("pump-01", "graz", "utilities", "P-101", "pump", plc=PlcPlan("plc-01", seed=11)),
    NodePlan(
        "pump-02", "graz", "utilities", "P-102", "pump", plc=PlcPlan("plc-02", seed=12, wear=0.2, wear_per_s=0.02)
    ),
    NodePlan("motor-01", "graz", "press", "M-201", "bearing", seed=21),
    NodePlan("cast-01", "linz", "casting", "C-301", "casting", seed=31, jump=True),
    NodePlan("pump-03", "linz", "utilities", "P-103", "pump", plc=PlcPlan("plc-03", seed=13), jump=True),
    NodePlan(
        "pump-04", "linz", "utilities", "P-104", "pump", plc=PlcPlan("plc-04", seed=14), jump=True, unplugged=True
    ),
)

# Who does what in the demo: the bundle that is good goes to one node, the bad one to another.
GOOD_NODE = "pump-01"
BAD_NODE = "pump-03"
DEGRADING_NODE = "pump-02"
UNPLUGGED_NODE = "pump-04"
USER = "operator"
