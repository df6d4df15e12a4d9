"""A running trial under its guards: counters since the flip, worker ends, the previous revision's latency."""

from __future__ import annotations

from typing import Any

from nodeagent.deployment.deployment import TrialFacts
from nodeagent.deployment.trial_watch import TrialWatch
from nodeagent.protocol import BundleTelemetry, HostHealth, WorkerState
from nodeagent.settings import Settings

HOST = HostHealth(disk_bytes_free=1 << 40)
SETTINGS = Settings()


def watch(before: float | None = None) -> TrialWatch:
    return TrialWatch(
        id="d1", bundle="press", revision=2, facts=TrialFacts("boot", 10, 0), flip_us=1, latency_ms_p99_before=before,
        window_s=60.0, previous_revision=1,
    )  # fmt: skip


def seen(revision: int = 2, **figures: Any) -> list[BundleTelemetry]:
    plain: dict[str, Any] = {"bundle": "press", "model": "press", "version": "1", "digest": "d"}
    return [BundleTelemetry(**plain, revision=revision, state=WorkerState.SERVING, **figures)]


def test_what_was_counted_before_the_trial_is_not_held_against_it() -> None:
    trial = watch()
    assert trial.guard(seen(errors_total=500, predictions_total=1000), HOST, SETTINGS) is None
    assert trial.guard(seen(errors_total=500, predictions_total=1100), HOST, SETTINGS) is None
    assert "errors" in (trial.guard(seen(errors_total=600, predictions_total=1100), HOST, SETTINGS) or "")


def test_a_new_worker_counts_from_zero() -> None:
    trial = watch()
    assert trial.guard(seen(predictions_total=1000), HOST, SETTINGS) is None
    assert trial.guard(seen(predictions_total=3), HOST, SETTINGS) is None
    assert "errors" in (trial.guard(seen(predictions_total=60, errors_total=60), HOST, SETTINGS) or "")


def test_the_old_revision_s_figures_say_nothing_about_the_trial() -> None:
    trial = watch()
    assert trial.guard(seen(revision=1, errors_total=0), HOST, SETTINGS) is None
    assert trial.guard(seen(revision=1, errors_total=900), HOST, SETTINGS) is None


def test_one_end_of_the_worker_is_forgiven_and_a_second_is_not() -> None:
    trial = watch()
    trial.exited(1, "old one", SETTINGS)
    trial.exited(2, "killed by SIGSEGV", SETTINGS)
    assert trial.guard(seen(), HOST, SETTINGS) is None
    trial.exited(2, "killed by SIGSEGV", SETTINGS)
    assert "2 times: killed by SIGSEGV" in (trial.guard(seen(), HOST, SETTINGS) or "")


def test_latency_is_judged_against_what_was_replaced() -> None:
    busy = seen(predictions_total=100, latency_ms_p99=400.0)
    for before, trips in ((None, False), (10.0, True), (100.0, False)):
        trial = watch(before)
        trial.guard(seen(), HOST, SETTINGS)
        assert (trial.guard(busy, HOST, SETTINGS) is not None) == trips, before


def test_a_nearly_full_disk_ends_a_trial() -> None:
    assert "disk" in (watch().guard(seen(), HostHealth(disk_bytes_free=1), SETTINGS) or "")
