"""Gates: pure functions over rows. A wave passes only when all is known and good; unknown is never ok (I19)."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.rollout.alike import ContextSample
from console.rollout.gates import TERMINAL, Sample, Verdict, judge, wave_verdict
from console.rollout.plan import PlannedWave
from console.rollout.policy import Limits
from store.rollouts import TargetRow

OLD = Sample(
    digest="old",
    predictions=1_000,
    errors=1,
    rejects=10,
    rate=10.0,
    latency_ms_p95=5.0,
    quality_good_share=0.99,
    score_share=0.1,
)
NEW = msgspec.structs.replace(OLD, digest="new")
LIMITS = Limits(score_share_rise_max=0.1)


def says(**named: Any) -> dict[str, str]:
    return {f.name: f.says for f in judge("n1", LIMITS, OLD, msgspec.structs.replace(NEW, **named))}


def test_a_revision_that_does_as_well_as_the_one_before_passes_every_figure() -> None:
    assert set(says().values()) == {"pass"}


@pytest.mark.parametrize(
    ("named", "figure"),
    [
        ({"errors": 20}, "errors share"),
        ({"restarts": 1}, "worker restarts"),
        ({"latency_ms_p95": 10.1}, "p95 ms"),
        ({"rate": 7.9}, "inferences/s"),
        ({"rejects": 80}, "rejects share"),
        ({"score_share": 0.21}, "score share"),
        ({"quality_good_share": 0.93}, "good share"),
    ],
)
def test_each_limit_fails_its_own_figure_alone(named: dict[str, Any], figure: str) -> None:
    found = says(**named)
    assert found.pop(figure) == "fail"
    assert set(found.values()) == {"pass"}


def test_too_few_predictions_make_every_figure_unknown_and_none_passes() -> None:
    assert set(says(predictions=19).values()) == {"unknown"}


def test_what_a_node_does_not_tell_is_unknown() -> None:
    assert says(latency_ms_p95=None)["p95 ms"] == "unknown"
    assert [figure.says for figure in judge("n1", LIMITS, OLD, None)] == ["unknown"]


def test_a_first_deployment_is_judged_by_what_needs_nothing_before() -> None:
    found = {figure.name: figure.says for figure in judge("n1", LIMITS, None, NEW)}
    assert found["p95 ms"] == found["inferences/s"] == found["good share"] == "none"
    assert found["errors share"] == "pass"


def test_a_limit_that_is_not_given_is_not_looked_at() -> None:
    assert "score share" not in {figure.name for figure in judge("n1", Limits(), OLD, NEW)}


def target(node: str, state: str, *, soaked_s: float = 60.0, after: Sample | None = NEW) -> TargetRow:
    texts = [msgspec.json.encode(sample).decode() if sample else "" for sample in (OLD, after)]
    return TargetRow("r", node, 1, state=state, soaked_us=int(soaked_s * 1e6), before=texts[0], after=texts[1])


def verdict(
    *targets: TargetRow, failures_max: int = 2, silent: dict[str, float] | None = None, limits: Limits = LIMITS
) -> Verdict:
    wave = PlannedWave(number=1, name="", nodes=tuple(t.node for t in targets), failures_max=failures_max)
    return wave_verdict(wave, targets, limits, soak_s=30.0, silent=silent or {}, silent_s_max=10.0)


def test_a_wave_whose_nodes_are_committed_soaked_and_good_passes_with_its_figures() -> None:
    found = verdict(target("a", "ok"), target("b", "ok"))
    assert (found.says, found.ok, len(found.figures)) == ("pass", 2, 16)


def test_a_wave_waits_while_one_node_is_not_at_an_end_or_has_not_soaked() -> None:
    assert verdict(target("a", "ok"), target("b", "trial")).says == "wait"
    assert verdict(target("a", "ok"), target("b", "unknown")).says == "wait"
    found = verdict(target("a", "ok"), target("b", "ok", soaked_s=10.0))
    assert (found.says, found.soak_left_s) == ("wait", 20.0)


def test_failures_stop_a_wave_at_the_threshold_even_before_all_are_at_an_end() -> None:
    assert verdict(target("a", "failed"), target("b", "ok")).says == "pass"
    assert verdict(target("a", "failed"), target("b", "failed"), target("c", "trial")).says == "fail"


@pytest.mark.parametrize("state", ["interrupted", "unconfirmed", "skipped"])
def test_a_wave_of_which_nobody_runs_the_bundle_is_no_success(state: str) -> None:
    assert verdict(target("a", state), target("b", state)).reasons == ("no node of this wave runs it",)
    assert verdict(target("a", state), target("b", "ok")).says == "pass"


def test_a_node_that_falls_silent_while_its_wave_is_watched_makes_the_verdict_unknown() -> None:
    lost = target("a", "ok", soaked_s=10.0)
    assert verdict(lost, silent={"a": 9.0}).says == "wait"
    assert verdict(lost, silent={"a": 11.0}).says == "unknown"


def test_unknown_figures_stop_a_wave_unless_the_policy_takes_that_on_itself() -> None:
    assert verdict(target("a", "ok", after=None)).says == "unknown"
    assert verdict(target("a", "ok", after=None), limits=Limits(unknown="accept")).says == "pass"


states = st.sampled_from(("waiting", "staged", "trial", "unknown", *sorted(TERMINAL)))


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(states, st.floats(0, 60), st.sampled_from((NEW, None))), min_size=1, max_size=8),
    failures_max=st.integers(1, 4),
    random=st.randoms(use_true_random=False),
)
def test_a_pass_means_all_terminal_under_the_threshold_somebody_ok_and_all_of_them_soaked(
    rows: list[tuple[str, float, Sample | None]], failures_max: int, random: Any
) -> None:
    targets = [
        target(f"n{n}", state, soaked_s=soaked_s, after=after) for n, (state, soaked_s, after) in enumerate(rows)
    ]
    found = verdict(*targets, failures_max=failures_max)
    good = [t for t in targets if t.state == "ok"]
    may = (
        all(t.state in TERMINAL for t in targets)
        and sum(t.state == "failed" for t in targets) < failures_max
        and good
        and all(t.soaked_us >= 30e6 and t.after for t in good)
    )
    assert (found.says == "pass") == bool(may)
    random.shuffle(targets)
    again = verdict(*targets, failures_max=failures_max)
    assert (again.says, again.ok, again.failed) == (found.says, found.ok, found.failed)


def under(context: str, predictions: int = 1_000, **named: Any) -> ContextSample:
    plain: dict[str, Any] = {"rejects": 0, "alarms": 10, "outcomes": 1_000, "good": 1_000, "rate": 10.0}
    return ContextSample(context=context, predictions=predictions, **({"latency_ms_p95": 5.0} | plain | named))


def of(sample: Sample, *contexts: ContextSample) -> Sample:
    return msgspec.structs.replace(sample, contexts=contexts)


A, B = "product=A", "product=B"
# Product B is slower and odder than A, under any revision.
SLOW = {"rate": 4.0, "latency_ms_p95": 20.0, "alarms": 500, "good": 700}


def test_a_change_of_product_is_no_change_of_the_model() -> None:
    before = of(OLD, under(A, 3_000), under(B, 1_000, **SLOW))
    now = of(
        msgspec.structs.replace(NEW, rate=4.0, latency_ms_p95=20.0, quality_good_share=0.7), under(B, 1_000, **SLOW)
    )
    assert {figure.says for figure in judge("n1", LIMITS, before, now)} == {"pass"}
    told = {figure.name: (figure.before, figure.now) for figure in judge("n1", LIMITS, before, now)}
    assert told["p95 ms"] == (20.0, 20.0)
    worse = of(now, under(B, 1_000, **SLOW | {"latency_ms_p95": 41.0}))
    assert [figure.name for figure in judge("n1", LIMITS, before, worse) if figure.says == "fail"] == ["p95 ms"]


def test_products_are_weighed_by_what_the_new_revision_made_of_each() -> None:
    before = of(OLD, under(A, 9_000), under(B, 1_000, **SLOW))
    now = of(NEW, under(A, 250), under(B, 750, **SLOW))
    told = {figure.name: (figure.before, figure.now) for figure in judge("n1", LIMITS, before, now)}
    assert told["inferences/s"] == (5.5, 5.5)


@pytest.mark.parametrize("seen", [under(B), under("product=?"), under(A, 0)])
def test_another_product_since_the_switch_is_unknown_and_says_so(seen: ContextSample) -> None:
    before = of(OLD, under(A), under("product=?"))
    found = judge("n1", LIMITS, before, of(NEW, seen))
    said = {figure.name: figure.says for figure in found}
    assert {name for name, says in said.items() if says == "pass"} == {"predictions", "errors share", "worker restarts"}
    assert set(said.values()) == {"pass", "unknown"}
    stopped = wave_of(before, of(NEW, seen))
    assert stopped.says == "unknown"
    assert (
        f"not the same product since the switch: {seen.context} now, before product=A, product=?" in stopped.reasons[0]
    )


def test_too_little_of_the_same_product_is_unknown() -> None:
    found = judge("n1", LIMITS, of(OLD, under(A)), of(NEW, under(A, 5), under(B, 995)))
    assert {figure.name: figure.says for figure in found}["p95 ms"] == "unknown"


def test_a_revision_that_names_no_context_is_compared_as_a_whole() -> None:
    assert {figure.says for figure in judge("n1", LIMITS, OLD, of(NEW, under(A)))} == {"pass"}
    assert {figure.says for figure in judge("n1", LIMITS, of(OLD, under(A)), NEW)} == {"pass"}


def wave_of(before: Sample, after: Sample) -> Verdict:
    row = target("a", "ok", after=after)
    return verdict(dataclasses.replace(row, before=msgspec.json.encode(before).decode()))
