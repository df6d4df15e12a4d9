"""Which conditions raise an alert, and how alerts come and go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nodeagent.health import alerts, default_rules
from nodeagent.health.measures import Measurer
from nodeagent.health.rule_watch import RuleWatch
from nodeagent.protocol import (
    Alert,
    AlertState,
    BundleTelemetry,
    Hold,
    HostHealth,
    LastPrediction,
    OutOfService,
    SinkTelemetry,
    SourceTelemetry,
    Telemetry,
    WorkerState,
)
from nodeagent.settings import Settings

SETTINGS = Settings()
DEFAULTS = default_rules.defaults(SETTINGS)
MQTT = SinkTelemetry(type="mqtt")
SET_US = 1_800_000_000_000_000


def telemetry(host: HostHealth | None = None, **more: Any) -> Telemetry:
    return Telemetry(
        cursor=1, node_id="n", boot_id="b", started_us=0, boottime_us=0, wall_us=SET_US, period_s=1.0,
        host=host or HostHealth(), **more,
    )  # fmt: skip


def bundle(**more: Any) -> BundleTelemetry:
    plain = {"bundle": "press", "model": "press", "version": "1", "revision": 1, "digest": "d"}
    return BundleTelemetry(**{**plain, "state": WorkerState.SERVING, **more})


def found(*readings: Telemetry, standing: frozenset[tuple[str, str]] = frozenset()) -> list[alerts.Condition]:
    """What stands after the last of these readings."""
    measurer, watch = Measurer(), RuleWatch()
    for reading in readings:
        measured = watch.judge(DEFAULTS, measurer.read(reading), reading.boottime_us, standing)
    return [*alerts.conditions(readings[-1], standing), *measured]


def codes(*readings: Telemetry, standing: frozenset[tuple[str, str]] = frozenset()) -> set[str]:
    return {condition.code for condition in found(*readings, standing=standing)}


def later(seconds: float, **more: Any) -> Telemetry:
    us = round(seconds * 1e6)
    return msgspec.structs.replace(telemetry(**more), boottime_us=us, wall_us=SET_US + us)


def test_a_healthy_node_and_an_unknown_one_raise_nothing() -> None:
    assert codes(telemetry(HostHealth(disk_bytes_free=1 << 40, temperature_c=40.0), bundles=[bundle()])) == set()
    assert codes(telemetry()) == set()


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        (telemetry(HostHealth(disk_bytes_free=1)), "DISK.LOW"),
        (telemetry(HostHealth(temperature_c=99.0)), "HOST.TEMPERATURE"),
        (telemetry(mode="safe"), "NODE.SAFE"),
        (telemetry(hold=Hold(by="a", reason="r", since_us=1)), "HOLD"),
        (
            telemetry(out_of_service=OutOfService(by="a", reason="r", since_us=1, until_us=SET_US - 1)),
            "OUT_OF_SERVICE.OVERDUE",
        ),
        (telemetry(bundles=[bundle(state=WorkerState.BACKOFF)]), "WORKER.RESTARTS"),
        (telemetry(bundles=[bundle(alarm="score 4, alarm at or over 3")]), "MODEL.ALARM"),
        (
            telemetry(bundles=[bundle(sources=[SourceTelemetry(id="plc", type="t", state="silent", age_s=9.0)])]),
            "SOURCE.SILENT",
        ),
    ],
)
def test_each_condition_raises_its_alert_alone(reading: Telemetry, code: str) -> None:
    assert codes(reading) == {code}


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ({"restarts_total": 4}, {"restarts_total": 7}, "WORKER.RESTARTS"),
        ({"restarts_total": 4}, {"restarts_total": 6}, ""),
        ({"records_lost_total": 4}, {"records_lost_total": 5}, "RECORDS.LOST"),
        ({"errors_total": 4}, {"errors_total": 5}, "PREDICTIONS.FAILED"),
        ({"errors_total": 4}, {"errors_total": 1}, ""),
        ({"sinks": [MQTT]}, {"sinks": [msgspec.structs.replace(MQTT, dropped_total=1)]}, "SINK.DROPPED"),
        ({}, {"drift": "drift: flow 0.4"}, "MODEL.DRIFT"),
    ],
)  # fmt: skip
def test_a_counter_that_rises_raises_its_alert(before: dict[str, Any], after: dict[str, Any], code: str) -> None:
    assert codes(later(0, bundles=[bundle(**before)]), later(30, bundles=[bundle(**after)])) == ({code} - {""})


def test_too_many_rejects_raise_an_alert_once_they_lasted_a_minute() -> None:
    bad = {"inferences_per_s": 1.0, "rejects_per_s": 9.0}
    assert codes(later(0, bundles=[bundle(**bad)]), later(59, bundles=[bundle(**bad)])) == set()
    assert codes(later(0, bundles=[bundle(**bad)]), later(60, bundles=[bundle(**bad)])) == {"PREDICTIONS.REJECTED"}


def test_a_lost_source_is_one_alert_and_not_also_one_of_what_it_makes_unusable() -> None:
    lost = SourceTelemetry(id="plc", type="modbus", state="silent", age_s=90.0)
    bad = {"inferences_per_s": 0.0, "rejects_per_s": 10.0, "sources": [lost]}
    assert codes(later(0, bundles=[bundle(**bad)]), later(60, bundles=[bundle(**bad)])) == {"SOURCE.SILENT"}


def test_a_clock_that_jumps_is_told_and_one_that_goes_is_not() -> None:
    jumped = msgspec.structs.replace(later(1), wall_us=SET_US + 1_000_000 + 3_000_000)
    assert codes(later(0), jumped) == {"CLOCK.STEPPED"}
    assert codes(later(0), later(1)) == set()


def test_a_clock_that_was_never_set_is_told_after_five_minutes() -> None:
    unset = [msgspec.structs.replace(later(s), wall_us=round(s * 1e6)) for s in (0, 300)]
    assert codes(*unset) == {"CLOCK.UNSET"}


@pytest.mark.parametrize(("bytes_an_hour", "told"), [(4 << 30, {"DISK.FORECAST"}), (0, set()), (1 << 20, set())])
def test_a_disk_that_fills_within_days_is_told_before_it_is_full(bytes_an_hour: int, told: set[str]) -> None:
    free = [(hour, (200 << 30) - round(hour * bytes_an_hour)) for hour in (0.0, 0.5, 1.0, 1.5)]
    assert codes(*(later(3600 * hour, host=HostHealth(disk_bytes_free=left)) for hour, left in free)) == told


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
    ("standing", "conditions", "announce", "clear", "raised"),
    [
        ([], ["A"], True, [], ["A"]),
        ([alert("A", AlertState.RAISED)], ["A"], True, [], []),
        ([alert("A", AlertState.ACKNOWLEDGED)], ["A"], True, [], []),
        ([alert("A", AlertState.ACKNOWLEDGED)], [], True, ["A"], []),
        ([alert("A", AlertState.SHELVED)], ["A"], False, [], []),
        ([alert("A", AlertState.SHELVED)], ["A"], True, ["A"], ["A"]),
        ([alert("TRIAL.ROLLED_BACK", AlertState.RAISED)], [], True, [], []),
        ([alert("TRIAL.ROLLED_BACK", AlertState.SHELVED)], [], True, ["TRIAL.ROLLED_BACK"], ["TRIAL.ROLLED_BACK"]),
    ],
)
def test_alerts_come_with_their_condition_and_go_with_it(
    standing: list[Alert], conditions: list[str], announce: bool, clear: list[str], raised: list[str]
) -> None:
    changes = alerts.fold(standing, [condition(code) for code in conditions], announce=announce)
    assert [code for code, _ in changes.clear] == clear
    assert [each.code for each in changes.raise_] == raised


def test_what_a_person_shelved_is_not_heard_before_its_time_is_over() -> None:
    shelved, key = [alert("A", AlertState.SHELVED)], frozenset({("A", "s")})
    assert alerts.fold(shelved, [condition("A")], announce=True, shelved=key) == alerts.Changes((), ())
    assert alerts.fold(shelved, [], announce=True, shelved=key).clear == (("A", "s"),)


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
    (alarm,) = found(reading)
    assert (alarm.priority, alarm.subject) == (1, "press")
    assert "score 4, alarm at or over 3" in alarm.message


def test_an_alarm_stands_while_nobody_predicts_and_goes_with_the_first_normal_prediction() -> None:
    stands = frozenset({("MODEL.ALARM", "press")})
    last = LastPrediction(wall_us=1, score=0.1, decision="normal")
    assert "MODEL.ALARM" in codes(telemetry(bundles=[bundle(state=WorkerState.STARTING)]), standing=stands)
    assert codes(telemetry(bundles=[bundle(last=last)]), standing=stands) == set()
    assert codes(telemetry(bundles=[bundle(state=WorkerState.STOPPED)]), standing=stands) == set()


def test_an_alarm_stands_over_a_restart_of_the_agent_until_its_bundle_had_time_to_come_back() -> None:
    stands = frozenset({("MODEL.ALARM", "press")})
    assert codes(telemetry(), standing=stands) == {"MODEL.ALARM"}
    assert codes(later(60), standing=stands) == set()
