"""Which conditions raise an alert, and how alerts come and go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nodeagent.health import alerts
from nodeagent.health.alerts import Recent
from nodeagent.protocol import (
    Alert,
    AlertState,
    BundleTelemetry,
    Hold,
    HostHealth,
    LastPrediction,
    OutOfService,
    SourceTelemetry,
    Telemetry,
    WorkerState,
)
from nodeagent.settings import Settings

QUIET = Recent({}, {})
SETTINGS = Settings()


def telemetry(host: HostHealth | None = None, **more: Any) -> Telemetry:
    return Telemetry(
        cursor=1, node_id="n", boot_id="b", started_us=0, boottime_us=0, wall_us=10, period_s=1.0,
        host=host or HostHealth(), **more,
    )  # fmt: skip


def bundle(**more: Any) -> BundleTelemetry:
    plain = {"bundle": "press", "model": "press", "version": "1", "revision": 1, "digest": "d"}
    return BundleTelemetry(**{**plain, "state": WorkerState.SERVING, **more})


def codes(reading: Telemetry, recent: Recent = QUIET, standing: frozenset[tuple[str, str]] = frozenset()) -> set[str]:
    return {found.code for found in alerts.conditions(reading, recent, SETTINGS, standing)}


def test_a_healthy_node_and_an_unknown_one_raise_nothing() -> None:
    assert codes(telemetry(HostHealth(disk_bytes_free=1 << 40, temperature_c=40.0), bundles=[bundle()])) == set()
    assert codes(telemetry()) == set()


@pytest.mark.parametrize(
    ("reading", "recent", "code"),
    [
        (telemetry(HostHealth(disk_bytes_free=1)), QUIET, "DISK.LOW"),
        (telemetry(HostHealth(temperature_c=99.0)), QUIET, "HOST.TEMPERATURE"),
        (telemetry(mode="safe"), QUIET, "NODE.SAFE"),
        (telemetry(hold=Hold(by="a", reason="r", since_us=1)), QUIET, "HOLD"),
        (
            telemetry(out_of_service=OutOfService(by="a", reason="r", since_us=1, until_us=5)),
            QUIET,
            "OUT_OF_SERVICE.OVERDUE",
        ),
        (telemetry(bundles=[bundle(state=WorkerState.BACKOFF)]), QUIET, "WORKER.RESTARTS"),
        (telemetry(bundles=[bundle(alarm="score 4, alarm at or over 3")]), QUIET, "MODEL.ALARM"),
        (telemetry(bundles=[bundle()]), Recent({"press": 3}, {}), "WORKER.RESTARTS"),
        (telemetry(bundles=[bundle()]), Recent({}, {"press": 1}), "RECORDS.LOST"),
        (
            telemetry(bundles=[bundle(sources=[SourceTelemetry(id="plc", type="t", state="silent", age_s=9.0)])]),
            QUIET,
            "SOURCE.SILENT",
        ),
    ],
)
def test_each_condition_raises_its_alert_alone(reading: Telemetry, recent: Recent, code: str) -> None:
    assert codes(reading, recent) == {code}


def test_a_figure_must_be_clearly_better_before_its_alert_clears() -> None:
    limit = SETTINGS.disk.bytes_free_min
    just_above = telemetry(HostHealth(disk_bytes_free=limit + 1))
    assert codes(just_above) == set()
    assert codes(just_above, standing=frozenset({("DISK.LOW", "disk")})) == {"DISK.LOW"}


def alert(code: str, state: AlertState) -> Alert:
    return Alert(id=1, code=code, priority=2, state=state, subject="s", message="m", advice="a", raised_us=1)


def condition(code: str) -> alerts.Condition:
    return alerts.Condition(code=code, subject="s", priority=2, message="m", advice="a")


@pytest.mark.parametrize(
    ("standing", "found", "announce", "clear", "raised"),
    [
        ([], ["A"], True, [], ["A"]),
        ([alert("A", AlertState.RAISED)], ["A"], True, [], []),
        ([alert("A", AlertState.ACKNOWLEDGED)], ["A"], True, [], []),
        ([alert("A", AlertState.ACKNOWLEDGED)], [], True, ["A"], []),
        ([alert("A", AlertState.SHELVED)], ["A"], False, [], []),
        ([alert("A", AlertState.SHELVED)], ["A"], True, ["A"], ["A"]),
        ([alert("TRIAL.ROLLED_BACK", AlertState.RAISED)], [], True, [], []),
    ],
)
def test_alerts_come_with_their_condition_and_go_with_it(
    standing: list[Alert], found: list[str], announce: bool, clear: list[str], raised: list[str]
) -> None:
    changes = alerts.fold(standing, [condition(code) for code in found], announce=announce)
    assert [code for code, _ in changes.clear] == clear
    assert [each.code for each in changes.raise_] == raised


def test_no_more_alerts_stand_than_a_person_can_read() -> None:
    many = [
        alerts.Condition(code="A", subject=str(number), priority=2, message="m", advice="a") for number in range(999)
    ]
    assert len(alerts.fold([], many, announce=True).raise_) == alerts.OPEN_MAX


def test_a_power_cut_ranks_below_a_failure() -> None:
    outage, failure = (alerts.rolled_back("p", "1", reason, "").priority for reason in ("INTERRUPTED", "FAILED"))
    assert outage > failure


def test_an_alarm_of_a_model_calls_a_person_first_and_with_its_score() -> None:
    reading = telemetry(bundles=[bundle(alarm="score 4, alarm at or over 3")])
    (found,) = alerts.conditions(reading, QUIET, SETTINGS, frozenset())
    assert (found.priority, found.subject) == (1, "press")
    assert "score 4, alarm at or over 3" in found.message


def test_an_alarm_stands_while_nobody_predicts_and_goes_with_the_first_normal_prediction() -> None:
    stands = frozenset({("MODEL.ALARM", "press")})
    last = LastPrediction(wall_us=1, score=0.1, decision="normal")
    assert "MODEL.ALARM" in codes(telemetry(bundles=[bundle(state=WorkerState.STARTING)]), standing=stands)
    assert codes(telemetry(bundles=[bundle(last=last)]), standing=stands) == set()
    assert codes(telemetry(bundles=[bundle(state=WorkerState.STOPPED)]), standing=stands) == set()


def test_an_alarm_stands_over_a_restart_of_the_agent_until_its_bundle_had_time_to_come_back() -> None:
    stands = frozenset({("MODEL.ALARM", "press")})
    assert codes(telemetry(), standing=stands) == {"MODEL.ALARM"}
    later = msgspec.structs.replace(telemetry(), boottime_us=60_000_000)
    assert codes(later, standing=stands) == set()
