"""A gate's verdict says for which product a candidate decides otherwise."""

from __future__ import annotations

from console.delivery.gate import in_full
from console.screens.gatelines import gate_lines
from nodeagent.protocol import ContextAgreement, GateVerdict

VERDICT = GateVerdict(
    verdict="failed",
    rows=1_000,
    agreement=0.71,
    contexts=[
        ContextAgreement(context="product=A7 shift=2", decided=600, agreed=599),
        ContextAgreement(context="", decided=400, agreed=112),
    ],
)


def test_the_command_line_and_the_screen_say_it_by_product() -> None:
    assert "  28 % of 400 under no context" in in_full(VERDICT)
    shown = ["".join(text for text, _ in line) for line in gate_lines(VERDICT, 60)]
    assert "   by product     99.83 % of 600 under product=A7 shift=2" in shown
    assert all(len(line) <= 60 for line in shown)
