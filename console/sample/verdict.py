"""A recorder gate's verdict as the sample plant gives it: always the same for a version."""

from __future__ import annotations

from console.delivery.gate import GateOrder
from console.sample.plant import WALL_S
from nodeagent.protocol import ContextAgreement, GateRow, GateVerdict

STOPPED_VERSION = "3.0"


def sample_verdict(version: str, gate: GateOrder | None) -> GateVerdict | None:
    """Failed for STOPPED_VERSION, passed for any other; None where no gate was asked."""
    if gate is None:
        return None
    bad = version == STOPPED_VERSION
    agreement = 0.71 if bad else 0.998
    wall_us = int(WALL_S * 1e6)
    return GateVerdict(
        verdict="failed" if bad and agreement < gate.agreement_min else "passed",
        reasons=[f"agrees on 71.0% of the decisions, at least {gate.agreement_min:.1%} are wanted"] if bad else [],
        rows=gate.rows,
        first_wall_us=wall_us - 3_600_000_000,
        last_wall_us=wall_us,
        agreement=agreement,
        active_agreement=1.0,
        contexts=[
            ContextAgreement(context=context, decided=decided, agreed=round(decided * share))
            for context, decided, share in (
                ("product=A7 shift=2", gate.rows * 6 // 10, 0.999),
                ("product=B2 shift=2", gate.rows * 4 // 10, 0.28 if bad else 0.996),
            )
        ],
        flips={"ok -> alarm": 290} if bad else {"ok -> alarm": 2},
        score_shift_mean=0.41 if bad else 0.012,
        score_shift_p95=1.2 if bad else 0.05,
        score_shift_max=2.9 if bad else 0.21,
        latency_ms_p50=0.9,
        latency_ms_p95=1.4,
        active_latency_ms_p50=0.8,
        active_latency_ms_p95=1.2,
        worst=[
            GateRow(
                key=number,
                wall_us=wall_us - number * 60_000_000,
                score_before=0.4,
                score_after=3.3 - number / 10,
                decision_before="ok",
                decision_after="alarm",
            )
            for number in range(1, 4)
        ],
    )
