"""Does this bundle fit this node? Judged from facts before any byte moves. Pure.

Unknown is never yes: a line that cannot be judged reads `unknown` and does not stop a deployment; `no` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nodeagent.deployment import bindings as bindings_
from nodeagent.deployment import write_conflicts
from nodeagent.deployment.arriving import Seen, judge_inputs
from nodeagent.protocol import ASKS_NUMBER, ASKS_PERSON, Passport, PassportItem

# onnxruntime release -> (newest ai.onnx opset, newest IR version), from its release notes and the ONNX version table.
RUNTIMES: dict[tuple[int, int], tuple[int, int]] = {
    (1, 20): (21, 10),
    (1, 21): (22, 10),
    (1, 22): (23, 11),
    (1, 23): (23, 11),
    (1, 24): (24, 12),
}
NEWEST_KNOWN = max(RUNTIMES)
ML_OPSET_MAX = 5
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
WORKER_BYTES = 70 << 20
SPARE_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class NodeFacts:
    """What the node is and has; None: not known. `held`: whole blobs, `endpoints`: address -> other bundles on it.

    `arriving`: tags as they are seen now; `kept_bytes`: of all blobs that are here; `trial`, `hold`: the one that runs
    now, in words; `written`: the places that each active bundle writes; `asks_*`: what its policy asks of a change.
    """

    runtime: str | None
    providers: tuple[str, ...]
    memory_bytes_available: int | None
    disk_bytes_free: int | None
    disk_bytes_free_min: int
    disk_writable: bool
    held: frozenset[str]
    bindings: Mapping[str, Any]
    signers: int
    out_of_service: str
    endpoints: Mapping[str, int]
    arriving: Mapping[str, Seen] = dataclasses.field(default_factory=dict)
    kept_bytes: int = 0
    trial: str = ""
    hold: str = ""
    written: Mapping[str, set[str]] = dataclasses.field(default_factory=dict)
    asks_number: bool = False
    asks_person: bool = False


def judge(facts: Mapping[str, Any], blob_sizes: Mapping[str, int], node: NodeFacts) -> Passport:
    """The passport of a bundle on a node: its facts as plain JSON, its pipeline's text as `pipeline` among them."""
    items = [
        _runtime(facts, node),
        _operators(facts),
        _providers(facts, node),
        _memory(facts, blob_sizes, node),
        _disk(blob_sizes, node),
        _bindings(facts, node),
        *_connections(facts, node),
        *_outputs(facts, node),
        *filter(None, [judge_inputs(list(facts.get("tags") or ()), node.arriving)]),
        _trust(node),
        _service(node),
        *_asked(node),
        *_under_way(node),
    ]
    return Passport(fits=all(item.verdict != "no" for item in items), items=items)


def _runtime(facts: Mapping[str, Any], node: NodeFacts) -> PassportItem:
    opsets = {str(domain): int(version) for domain, version in dict(facts.get("opsets") or {}).items()}
    opset = max(opsets.get("", 0), opsets.get("ai.onnx", 0))
    ir = int(facts.get("ir_version") or 0)
    if node.runtime is None:
        return PassportItem(
            name="runtime", verdict="no", text="onnxruntime is not installed", fix="Install outstation[agent]."
        )
    release = tuple(int(part) for part in node.runtime.split(".")[:2])
    known = RUNTIMES.get(release[:2]) if len(release) == 2 else None
    text = f"onnxruntime {node.runtime}, opset {opset or '?'}, IR {ir or '?'}"
    if known is None:
        newest = RUNTIMES[NEWEST_KNOWN]
        within = release > NEWEST_KNOWN and opset <= newest[0] and ir <= newest[1]
        return PassportItem(name="runtime", verdict="yes" if within and opset else "unknown", text=text)
    if opset > known[0] or ir > known[1] or opsets.get("ai.onnx.ml", 0) > ML_OPSET_MAX:
        fix = f"Export the model with opset {known[0]} or lower, or install a newer onnxruntime on the node."
        return PassportItem(name="runtime", verdict="no", text=f"{text}; at most {known[0]} and {known[1]}", fix=fix)
    return PassportItem(name="runtime", verdict="yes" if opset else "unknown", text=text)


def _operators(facts: Mapping[str, Any]) -> PassportItem:
    operators = [str(operator) for operator in facts.get("operators") or ()]
    foreign = sorted({op for op in operators if op.rpartition("::")[0] not in DOMAINS})
    if foreign:
        return PassportItem(name="operators", verdict="unknown", text=f"custom operators: {', '.join(foreign[:5])}")
    return PassportItem(name="operators", verdict="yes" if operators else "unknown", text=f"{len(operators)} operators")


def _providers(facts: Mapping[str, Any], node: NodeFacts) -> PassportItem:
    wanted = [str(provider) for provider in facts.get("providers") or ("CPUExecutionProvider",)]
    found = [provider for provider in wanted if provider in node.providers]
    if found:
        return PassportItem(name="provider", verdict="yes", text=found[0])
    fix = "Build the bundle for CPUExecutionProvider as well."
    return PassportItem(name="provider", verdict="no", text=f"the node has none of {', '.join(wanted)}", fix=fix)


def _memory(facts: Mapping[str, Any], blob_sizes: Mapping[str, int], node: NodeFacts) -> PassportItem:
    peak = int(facts.get("peak_memory_bytes") or 0) or 3 * max(blob_sizes.values(), default=0)
    need = WORKER_BYTES + peak
    if node.memory_bytes_available is None:
        return PassportItem(name="memory", verdict="unknown", text=f"needs {_size(need)} beside the present worker")
    text = f"needs {_size(need)} beside the present worker, {_size(node.memory_bytes_available)} available"
    if need <= node.memory_bytes_available:
        return PassportItem(name="memory", verdict="yes", text=text)
    fix = "Both revisions do not fit at once: activate with --allow-gap, or free memory."
    return PassportItem(name="memory", verdict="no", text=text, fix=fix)


def _disk(blob_sizes: Mapping[str, int], node: NodeFacts) -> PassportItem:
    new = sum(size for digest, size in blob_sizes.items() if digest not in node.held)
    need = new + SPARE_BYTES
    told = f"needs {_size(need)} ({_size(new)} new, the rest temporary) beside {_size(node.kept_bytes)} kept"
    if not node.disk_writable:
        fix = "Mount it for writing and check it; serving goes on meanwhile."
        return PassportItem(name="disk", verdict="no", text="the disk is read-only", fix=fix)
    if node.disk_bytes_free is None:
        return PassportItem(name="disk", verdict="unknown", text=told)
    left = node.disk_bytes_free - need
    text = f"{told}, {_size(node.disk_bytes_free)} free"
    if left >= node.disk_bytes_free_min:
        return PassportItem(name="disk", verdict="yes", text=text)
    fix = f"Free {_size(node.disk_bytes_free_min - left)}, or lower [records] bytes_max in node.toml."
    return PassportItem(name="disk", verdict="no", text=text, fix=fix)


def _bindings(facts: Mapping[str, Any], node: NodeFacts) -> PassportItem:
    needed = [str(name) for name in facts.get("bindings") or ()]
    if absent := bindings_.missing(needed, node.bindings):
        fix = f"outstation node bind NODE {' '.join(f'{name}=...' for name in absent)}"
        return PassportItem(name="bindings", verdict="no", text=f"not bound: {', '.join(absent)}", fix=fix)
    return PassportItem(name="bindings", verdict="yes", text=f"{len(needed)} of {len(needed)} bound")


def _connections(facts: Mapping[str, Any], node: NodeFacts) -> list[PassportItem]:
    """PLCs allow few connections: a bundle that shares an endpoint with others is told so."""
    shared = {
        name: node.endpoints[str(node.bindings[name])]
        for name in map(str, facts.get("bindings") or ())
        if name in node.bindings and node.endpoints.get(str(node.bindings[name]), 0)
    }
    if not shared:
        return []
    text = ", ".join(f"{name} is used by {count} other bundle(s)" for name, count in sorted(shared.items()))
    return [PassportItem(name="connections", verdict="warn", text=text, fix="See how many clients the device allows.")]


def _outputs(facts: Mapping[str, Any], node: NodeFacts) -> list[PassportItem]:
    """A place of the plant is one bundle's: the preflight will refuse a second, so it is said before any byte moves."""
    mine = write_conflicts.read_places(str(facts.get("pipeline") or ""), node.bindings)
    if not mine:
        return []
    conflict = write_conflicts.between(str(facts.get("name", "")), mine, node.written)
    if conflict is not None:
        return [PassportItem(name="outputs", verdict="no", text=conflict.message, fix=conflict.hint)]
    return [PassportItem(name="outputs", verdict="yes", text=f"no other bundle writes its {len(mine)} place(s)")]


def _trust(node: NodeFacts) -> PassportItem:
    if node.signers:
        return PassportItem(name="trust", verdict="yes", text=f"{node.signers} allowed signer(s)")
    fix = "Run outstation-agent init --allow-signer FILE on the node."
    return PassportItem(name="trust", verdict="no", text="the node has no allowed signers", fix=fix)


def _service(node: NodeFacts) -> PassportItem:
    if node.out_of_service:
        return PassportItem(
            name="service",
            verdict="no",
            text=f"out of service: {node.out_of_service}",
            fix="Lift it, by name and reason.",
        )
    return PassportItem(name="service", verdict="yes", text="in service")


def _asked(node: NodeFacts) -> list[PassportItem]:
    """What the switch has to bring along here, which no console can know before it is refused."""
    items = []
    if node.asks_number:
        text, fix = "this node asks for a change number", "Give it: --change NUMBER."
        items.append(PassportItem(name=ASKS_NUMBER, verdict="warn", text=text, fix=fix))
    if node.asks_person:
        text, fix = "this node asks for a second person's signature", "Another person: outstation approve, --key FILE."
        items.append(PassportItem(name=ASKS_PERSON, verdict="warn", text=text, fix=fix))
    return items


def _under_way(node: NodeFacts) -> list[PassportItem]:
    """What would refuse the switch now, and not the bundle: the node takes it in meanwhile."""
    items = []
    if node.trial:
        fix = "Confirm it or roll it back before the switch."
        items.append(PassportItem(name="trial", verdict="warn", text=node.trial, fix=fix))
    if node.hold:
        text = f"outputs are held by {node.hold}"
        items.append(PassportItem(name="hold", verdict="warn", text=text, fix="Release the hold before the switch."))
    return items


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 999_950_000 else f"{count / 1e6:.1f} MB"
