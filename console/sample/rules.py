"""The alert rules of the sample fleet: defaults, one of a bundle, and one that somebody set."""

from __future__ import annotations

from typing import Final

from nodeagent.protocol import AlertRule, AlertRules

_RULES: Final = (
    AlertRule(
        code="HOST.TEMPERATURE",
        figure="host.temperature_c",
        origin="operator",
        priority=2,
        high=75.0,
        deadband=4.0,
        on_delay_s=10.0,
        off_delay_s=60.0,
        says="the processor has over 75 °C, clears 4 °C within",
    ),
    AlertRule(
        code="PRESS.SCORE",
        figure="bundle.latency_ms_p95",
        origin="press",
        priority=3,
        high=20.0,
        on_delay_s=30.0,
        off_delay_s=30.0,
        says="p95 latency over 20 ms",
    ),
    AlertRule(
        code="HOST.MEMORY",
        figure="host.memory_percent",
        origin="default",
        priority=2,
        high=92.0,
        deadband=3.0,
        on_delay_s=60.0,
        off_delay_s=60.0,
        enabled=False,
        says="memory is in use to over 92 %, clears 3 % within",
    ),
)


def sample_rules() -> AlertRules:
    """The same for every node."""
    return AlertRules(text='[[alert]]\ncode = "HOST.TEMPERATURE"\nhigh = 75\n', defaults="", in_force=list(_RULES))
