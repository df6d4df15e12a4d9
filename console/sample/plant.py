"""The sample plant: twelve nodes in three sites, always with the same figures.

An alarm (a model drifted), a warning (a PLC is silent), a node that does not answer, one whose host key changed, one
out of service, one on trial, one where nothing is installed, and five that are well.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import msgspec

from console.fleet.view import LinkState, NodeAddress, NodeView
from console.sample.trend import sample_histogram
from nodeagent.protocol import (
    Alert,
    AlertState,
    BundleTelemetry,
    ContextTelemetry,
    HostHealth,
    LastPrediction,
    OutOfService,
    SinkTelemetry,
    SourceTelemetry,
    StageTelemetry,
    Status,
    Telemetry,
    Trial,
    WorkerState,
)

NOW_S: Final = 10_000.0
WALL_S: Final = 1_773_324_151.0  # Thu 12 Mar 2026 14:02:31 UTC
NOW: Final = "product=A7 shift=2"
PLANT: Final = (
    ("press-01", "graz", "L1", "bearing"),
    ("press-02", "graz", "L1", "bearing"),
    ("press-07", "graz", "L3", "bearing"),
    ("pump-03", "graz", "water", "pump"),
    ("pump-04", "graz", "water", "pump"),
    ("cast-01", "linz", "foundry", "casting"),
    ("cast-02", "linz", "foundry", "casting"),
    ("cast-05", "linz", "foundry", "casting"),
    ("dock-01", "linz", "dock", "casting"),
    ("mill-11", "steyr", "M1", "bearing"),
    ("mill-12", "steyr", "M1", "bearing"),
    ("mill-13", "steyr", "M2", ""),
)
_RATES: Final = {"bearing": 412.0, "pump": 10.0, "casting": 24.8}
_P95_MS: Final = {"bearing": 1.84, "pump": 0.62, "casting": 31.2}
_DECISIONS: Final = {"bearing": ("healthy", "normal"), "pump": ("normal", "normal"), "casting": ("good", "pass")}


def digest_of(name: str, version: str) -> str:
    """A digest that looks like one and is always the same for a bundle."""
    return "sha256:" + "".join(f"{ord(c):02x}" for c in f"{name}-{version}").ljust(64, "0")[:64]


def bundle(name: str, index: int, *, version: str = "2.1", revision: int = 14) -> BundleTelemetry:
    """One running bundle with the pipeline that its example has."""
    swing = math.sin(index * 1.7)
    label, decision = _DECISIONS[name]
    source = "accelerometer" if name == "bearing" else "plc" if name == "pump" else "camera"
    frames = 1_204_511 + 1_000 * index
    stages = [
        StageTelemetry(name="validate.range", frames_total=frames, marked_total=112, last="0.031 g"),
        StageTelemetry(name="clean.hampel", frames_total=frames, marked_total=37, last="0.029 g"),
        StageTelemetry(name="window.sliding", frames_total=frames // 64, last="64 samples"),
        StageTelemetry(name="feature.vibration", frames_total=frames // 64, last="rms 0.118 kurtosis 3.1"),
    ]
    return BundleTelemetry(
        bundle=name,
        model=name,
        version=version,
        revision=revision,
        digest=digest_of(name, version),
        state=WorkerState.SERVING,
        inferences_per_s=_RATES[name] * (1 + 0.02 * swing),
        latency_ms_p50=_P95_MS[name] * 0.6,
        latency_ms_p95=_P95_MS[name] * (1 + 0.05 * swing),
        latency_ms_p99=_P95_MS[name] * 1.6,
        predictions_total=frames // 64,
        rejects_per_s=0.0,
        rejects_total=112,
        queue=3,
        queue_max=40_000,
        quality_good_share=0.998,
        records_total=frames // 64,
        memory_bytes=61_000_000,
        drift="none",
        last=LastPrediction(wall_us=int((WALL_S - 1) * 1e6), score=0.04, label=label, decision=decision, context=NOW),
        contexts=[
            ContextTelemetry(
                context=context,
                predictions_total=frames // 64 * tenths // 10,
                alarms_total=3 * tenths,
                outcomes_total=frames // 64 * tenths // 10,
                good_total=frames // 64 * tenths // 10 - 5 * tenths,
                inferences_per_s=_RATES[name] * (0.8 + 0.02 * tenths),
                latency_ms_p95=_P95_MS[name],
            )
            for context, tenths in (("product=B2 shift=2", 4), (NOW, 6))
        ],
        sources=[
            SourceTelemetry(
                id=source, type="modbus" if name == "pump" else "folder", state="up", age_s=0.4, samples_total=frames
            )
        ],
        stages=stages,
        latency_histogram_ms=sample_histogram(_P95_MS[name], frames // 64),
        sinks=[
            SinkTelemetry(type="record", delivered_total=frames // 64, waiting=3, waiting_max=40_000),
            SinkTelemetry(type="mqtt", delivered_total=frames // 64, waiting=0, waiting_max=100_000),
        ],
    )


def host(index: int) -> HostHealth:
    """A healthy machine, a little different for each node."""
    return HostHealth(
        cpu_percent=23.0 + 5 * (index % 4),
        load_1m=0.4,
        memory_bytes_total=4_000_000_000,
        memory_bytes_used=1_500_000_000 + 50_000_000 * index,
        disk_bytes_total=32_000_000_000,
        disk_bytes_free=32_000_000_000 - 1_000_000_000 * (9 + index),
        disk_days_left=210.0 - 9 * index,
        temperature_c=48.0 + index % 7,
        uptime_s=274_000.0,
    )


def view(name: str, site: str, line: str, model: str, index: int) -> NodeView:
    """A node that is well."""
    telemetry = Telemetry(
        cursor=5_000 + index,
        node_id=f"node-{name}",
        boot_id="b0",
        started_us=int((WALL_S - 274_000) * 1e6),
        boottime_us=274_000_000_000,
        wall_us=int(WALL_S * 1e6),
        period_s=1.0,
        host=host(index),
        bundles=[bundle(model, index)] if model else [],
    )
    trend = tuple(_RATES.get(model, 0.0) * (1 + 0.15 * math.sin(i / 5 + index)) for i in range(120))
    return NodeView(
        address=NodeAddress(
            name=name,
            host=f"10.0.{index}.7",
            user="edge",
            site=site,
            line=line,
            jumps=("ops@jump.graz:22",) if site == "graz" else (),
        ),
        link=LinkState.UP,
        link_since_wall_s=WALL_S - 7_200,
        link_mode="socket",
        status=Status(
            node_id=telemetry.node_id,
            name=name,
            agent_version="0.1.0",
            protocol_major=1,
            protocol_minor=0,
            access="operate",
            actor="alice",
            signers=2,
            telemetry=telemetry,
        ),
        telemetry=telemetry,
        telemetry_at_s=NOW_S - 0.4,
        rtt_ms=11.0 + index,
        clock_offset_s=0.012,
        rate_trend=trend if model else (),
    )


def alert(number: int, code: str, priority: int, message: str, advice: str, since_s: float, **more: Any) -> Alert:
    """An alert raised `since_s` seconds ago."""
    state = AlertState(more.pop("state", "raised"))
    return Alert(
        id=number,
        code=code,
        priority=priority,
        state=state,
        subject=more.pop("subject", "bearing"),
        message=message,
        advice=advice,
        raised_us=int((WALL_S + 0.012 - since_s) * 1e6),
        **more,
    )


def plant() -> dict[str, NodeView]:
    """The fleet described at the top of this file."""
    views = {name: view(name, site, line, model, i) for i, (name, site, line, model) in enumerate(PLANT)}
    drifted = alert(
        7,
        "DRIFT.SCORE",
        1,
        "score share 0.31 over its limit 0.08 for 20 min",
        "look at the newest records; roll back if the machine is well",
        131,
    )
    views["press-07"] = _with(views["press-07"], alerts=[drifted])
    silent = alert(
        3,
        "SOURCE.SILENT",
        3,
        "plc silent for 40 s: no reply from register 4x0012",
        "see that the PLC runs and that no other client holds its connection",
        40,
        subject="pump",
    )
    views["pump-04"] = _with(views["pump-04"], alerts=[silent])
    gone = views["cast-05"]
    views["cast-05"] = replace(
        gone,
        link=LinkState.DOWN,
        link_since_wall_s=WALL_S - 12_060,
        telemetry_at_s=NOW_S - 12_060,
        link_error="no route to host 10.0.7.7",
        rtt_ms=None,
        link_hint="see that the node has power and network",
    )
    changed = views["dock-01"]
    views["dock-01"] = replace(
        changed,
        link=LinkState.REFUSED,
        link_since_wall_s=WALL_S - 840,
        telemetry=None,
        status=None,
        telemetry_at_s=None,
        rtt_ms=None,
        rate_trend=(),
        clock_offset_s=None,
        link_error="the host key changed",
        link_hint="compare both fingerprints with the node's",
    )
    out = OutOfService(by="bob", reason="new spindle", since_us=int((WALL_S - 3_600) * 1e6))
    views["mill-12"] = _with(views["mill-12"], out_of_service=out)
    views["mill-11"] = on_trial(views["mill-11"], "bearing", "2.2", "dep-2", 192.0)
    return views


def on_trial(node: NodeView, name: str, version: str, deployment: str, left_s: float) -> NodeView:
    """The node with a new version of a bundle on trial."""
    assert node.telemetry is not None
    old = next((b for b in node.telemetry.bundles if b.bundle == name), None)
    revision = 1 if old is None else old.revision + 1
    new = bundle(name, 10, version=version, revision=revision)
    new = msgspec.structs.replace(
        new,
        trial=Trial(
            deployment=deployment, seconds_left=left_s, window_s=600.0, previous_revision=old.revision if old else None
        ),
        predictions_total=8_211,
        records_total=8_211,
        rejects_total=2,
    )
    others = [b for b in node.telemetry.bundles if b.bundle != name]
    return _with(node, bundles=[*others, new])


def _with(node: NodeView, **changes: object) -> NodeView:
    assert node.telemetry is not None
    return replace(node, telemetry=msgspec.structs.replace(node.telemetry, **changes))


def many(count: int) -> dict[str, NodeView]:
    """A fleet of any size, all well but every fortieth."""
    views = {}
    for i in range(count):
        name, site, line, model = PLANT[i % 11]
        one = view(f"{name.split('-')[0]}-{i:04}", site, line, model, i % 12)
        if i % 40 == 7:
            one = _with(one, alerts=[alert(1, "DRIFT.SCORE", 3, "score share over its limit", "look", 60.0 + i)])
        views[one.name] = one
    return views
