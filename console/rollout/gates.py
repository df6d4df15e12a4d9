"""Whether a wave is good enough for the next one. Pure functions over rows: the same rows give the same verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from console.rollout.alike import Alike, ContextSample, Figures, alike
from console.rollout.plan import PlannedWave
from console.rollout.policy import Limits
from store.rollouts import TargetRow

Say = Literal["pass", "fail", "wait", "unknown", "none"]
TERMINAL = frozenset({"ok", "failed", "interrupted", "unconfirmed", "skipped"})
REASONS_MAX = 20
CONTEXTS_NAMED = 3
OTHER_PRODUCT = "not the same product since the switch"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's revision did so far. Shares are 0 to 1; None is: not known. Counts are since the worker started.

    `rate` and `latency_ms_p95` are medians over `running_s` in which the machine ran, 0: those of this moment.
    `contexts`: the same for each product and the like, where the pipeline names them.
    """

    digest: str
    version: str = ""
    revision: int = 0
    boot_id: str = ""
    boottime_us: int = 0
    predictions: int = 0
    errors: int = 0
    rejects: int = 0
    restarts: int = 0
    rate: float | None = None
    latency_ms_p95: float | None = None
    quality_good_share: float | None = None
    score_share: float | None = None
    running_s: float = 0.0
    contexts: tuple[ContextSample, ...] = ()


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison on one node: before, now, the limit as it reads, and what that says."""

    node: str
    name: str
    before: float | None
    now: float | None
    limit: str
    says: Say


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A gate's verdict with everything it was made of. `soak_left_s` of the node that needs longest."""

    says: Say
    reasons: tuple[str, ...] = ()
    ok: int = 0
    failed: int = 0
    failures_max: int = 0
    other: int = 0
    soak_left_s: float = 0.0
    figures: tuple[Figure, ...] = ()


def judge(node: str, limits: Limits, before: Sample | None, now: Sample | None) -> tuple[Figure, ...]:
    """The new revision of one node against the one before. `none`: there is nothing before to compare it with."""
    if now is None:
        return (
            Figure(node=node, name="telemetry", before=None, now=None, limit="of the new revision", says="unknown"),
        )
    both = alike(before.contexts if before else (), now.contexts)
    figures = [_predictions(node, limits, now.predictions)]
    enough = figures[0].says == "pass"
    if both is not None and before is not None:
        figures.append(_of_the_same(node, limits, both, before, now))
    enough_alike = enough and figures[-1].says == "pass"
    for name, limit, old, new, broken in _comparisons(limits, before, now, both):
        compared = "before" in limit
        known = new is not None and (enough_alike if compared else enough)
        says: Say = "unknown" if not known else "fail" if broken else "pass"
        if both is not None and old is None and compared:
            says = "unknown"
        elif old is None and compared:
            says = "none"
        figures.append(Figure(node=node, name=name, before=old, now=new, limit=limit, says=says))
    return tuple(figures)


def _of_the_same(node: str, limits: Limits, both: Alike, before: Sample, now: Sample) -> Figure:
    """How much of what the new revision did can be compared with the one before, and under what."""
    limit = f"compared under {_named(both.contexts)}"
    if not both.contexts:
        seen = (_named(tuple(each.context for each in sample.contexts)) for sample in (now, before))
        limit = f"{OTHER_PRODUCT}: {' now, before '.join(seen)}"
    elif both.predictions < limits.predictions_min:
        limit += f", only {both.predictions} of at least {limits.predictions_min} predictions"
    enough = both.contexts and both.predictions >= limits.predictions_min
    return Figure(
        node=node, name="same product", before=None, now=both.share, limit=limit, says="pass" if enough else "unknown"
    )


def _named(contexts: tuple[str, ...]) -> str:
    more = f" and {len(contexts) - CONTEXTS_NAMED} more" if len(contexts) > CONTEXTS_NAMED else ""
    return ", ".join(contexts[:CONTEXTS_NAMED]) + more


def _predictions(node: str, limits: Limits, made: int) -> Figure:
    enough = made >= limits.predictions_min
    return Figure(
        node=node,
        name="predictions",
        before=None,
        now=float(made),
        limit=f"at least {limits.predictions_min}",
        says="pass" if enough else "unknown",
    )


Comparison = tuple[str, str, float | None, float | None, bool]


def _comparisons(limits: Limits, before: Sample | None, now: Sample, both: Alike | None) -> list[Comparison]:
    """(name, limit, before, now, broken) of every limit of the policy; `both`: where products are told apart."""
    restarted = before.restarts if before else 0
    old, fresh = (both.before, both.now) if both is not None else (_figures(before), _figures(now))
    found: list[Comparison] = []

    def add(
        name: str, limit: float | None, text: str, was: float | None, new: float | None, worst: float | None
    ) -> None:
        """`worst`: the last value that is still good; negative limits are not used, so a sign tells which side."""
        if limit is None:
            return
        lower = text.startswith("at least")
        broken = new is not None and worst is not None and (new < worst if lower else new > worst)
        found.append((name, text, was, new, broken))

    errors, restarts = limits.errors_share_max, limits.restarts_max
    add("errors share", errors, f"at most {errors}", _errors(before), _errors(now), errors)
    again = float(max(0, now.restarts - restarted))
    add("worker restarts", restarts, f"at most {restarts}", None, again, restarts)
    ratio = limits.latency_ms_p95_ratio_max
    add(
        "p95 ms",
        ratio,
        f"at most {ratio} x before",
        old.latency_ms_p95,
        fresh.latency_ms_p95,
        _times(old.latency_ms_p95, ratio),
    )
    least = limits.rate_ratio_min
    add("inferences/s", least, f"at least {least} x before", old.rate, fresh.rate, _times(old.rate, least))
    for name, was, new, rise in (
        ("rejects share", old.rejects, fresh.rejects, limits.rejects_share_rise_max),
        ("score share", old.score, fresh.score, limits.score_share_rise_max),
    ):
        add(name, rise, f"at most before + {rise}", was, new, _plus(was, rise))
    drop = limits.quality_share_drop_max
    add("good share", drop, f"at least before - {drop}", old.good, fresh.good, _plus(old.good, -(drop or 0.0)))
    return found


def _errors(sample: Sample | None) -> float | None:
    tried = sample.predictions + sample.errors if sample else 0
    return sample.errors / tried if sample and tried else None


def _figures(sample: Sample | None) -> Figures:
    if sample is None:
        return Figures()
    seen = sample.predictions + sample.rejects
    return Figures(
        rejects=sample.rejects / seen if seen else None,
        score=sample.score_share,
        good=sample.quality_good_share,
        rate=sample.rate,
        latency_ms_p95=sample.latency_ms_p95,
    )


def _times(value: float | None, factor: float | None) -> float | None:
    return None if value is None or factor is None else value * factor


def _plus(value: float | None, more: float | None) -> float | None:
    return None if value is None or more is None else value + more


def read_sample(text: str) -> Sample | None:
    """A sample as a row keeps it."""
    return msgspec.json.decode(text, type=Sample) if text else None


def wave_verdict(
    wave: PlannedWave,
    targets: Sequence[TargetRow],
    limits: Limits,
    *,
    soak_s: float,
    silent: Mapping[str, float],
    silent_s_max: float,
) -> Verdict:
    """All terminal, failures under the threshold, somebody committed, all soaked, telemetry within its limits.

    `silent`: seconds since a node last answered, where it does not. A wave of which nobody committed is no success.
    """
    ok = [target for target in targets if target.state == "ok"]
    failed = [target for target in targets if target.state == "failed"]
    verdict = Verdict(
        says="wait",
        ok=len(ok),
        failed=len(failed),
        failures_max=wave.failures_max,
        other=len(targets) - len(ok) - len(failed),
    )
    if len(failed) >= wave.failures_max:
        return _said(verdict, "fail", [f"{target.node}: {target.detail or target.cause}" for target in failed])
    if waiting := [target.node for target in targets if target.state not in TERMINAL]:
        return _said(verdict, "wait", [f"{len(waiting)} not at an end"])
    if not ok:
        return _said(verdict, "fail", ["no node of this wave runs it"])
    left_s = max(soak_s - target.soaked_us / 1e6 for target in ok)
    if left_s > 0:
        verdict = replace(verdict, soak_left_s=left_s)
        if lost := [target.node for target in ok if silent.get(target.node, 0.0) >= silent_s_max]:
            return _said(verdict, "unknown", [f"{node} does not answer while its wave is watched" for node in lost])
        return _said(verdict, "wait", ["the wave is being watched"])
    figures = tuple(
        figure
        for target in ok
        for figure in judge(target.node, limits, read_sample(target.before), read_sample(target.after))
    )
    return _of_figures(replace(verdict, figures=figures), limits)


def _said(verdict: Verdict, says: Say, reasons: Sequence[str]) -> Verdict:
    return replace(verdict, says=says, reasons=tuple(reasons[:REASONS_MAX]))


def _of_figures(verdict: Verdict, limits: Limits) -> Verdict:
    broken = [figure for figure in verdict.figures if figure.says == "fail"]
    if broken:
        return _said(verdict, "fail", [tell(figure) for figure in broken])
    missing = [figure for figure in verdict.figures if figure.says == "unknown"]
    if missing and limits.unknown == "pause":
        return _said(verdict, "unknown", [tell(figure) for figure in missing])
    return _said(verdict, "pass", [])


def tell(figure: Figure) -> str:
    """A figure as a sentence."""
    now = "not known" if figure.now is None else f"{figure.now:.4g}"
    was = "" if figure.before is None else f", was {figure.before:.4g}"
    return f"{figure.node}: {figure.name} {now}{was}, {figure.limit}"
