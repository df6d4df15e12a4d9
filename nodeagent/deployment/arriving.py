"""Do the tags that a bundle expects arrive on this node as it expects them? Pure: from its facts and what is seen now.

Nothing here stops a deployment: what runs now may read other tags than the new pipeline will, and in other units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nodeagent.pipeline.steps.units import between
from nodeagent.protocol import PassportItem, Quality

SHOWN_MAX = 4
# So far beyond the range of the training data, as a share of it, is another range.
MARGIN = 0.5
SLOWER = 2.0


class Seen(NamedTuple):
    """One tag as it arrives now. `value` None: none that is Good; `period_s` between its last sweeps, if known."""

    unit: str
    value: float | None
    quality: int
    period_s: float | None


def judge_inputs(tags: Sequence[Mapping[str, Any]], seen: Mapping[str, Seen]) -> PassportItem | None:
    """The passport's line about the inputs; None for a bundle that names none."""
    if not tags:
        return None
    names = [str(tag["name"]) for tag in tags]
    absent = [name for name in names if name not in seen]
    told = f"{len(names) - len(absent)} of {len(names)} arrive now"
    wrong = [words for tag in tags if (found := seen.get(str(tag["name"]))) and (words := _wrong(tag, found))]
    if wrong:
        fix = "Look with `outstation tap`, or `outstation source probe`: a wrong address, a unit to convert, a machine "
        fix += "that does other work?"
        return PassportItem(name="inputs", verdict="warn", text=f"{told}; {_few(wrong, '; ')}", fix=fix)
    if absent:
        text = f"{told}; nothing reads {_few(absent, ', ')} now, so it is not known whether they fit"
        return PassportItem(name="inputs", verdict="unknown", text=text)
    return PassportItem(name="inputs", verdict="yes", text=f"{told}, as the bundle expects them")


def _wrong(tag: Mapping[str, Any], seen: Seen) -> str:
    """What is otherwise than expected, in a few words; empty: nothing."""
    name, unit, low, high = str(tag["name"]), str(tag.get("unit") or ""), tag.get("low"), tag.get("high")
    found = []
    if unit and seen.unit and unit != seen.unit:
        found.append(f"in {seen.unit}, {unit} is expected{_factor(seen.unit, unit)}")
    elif seen.value is not None and low is not None and high is not None:
        margin = MARGIN * (float(high) - float(low))
        if not float(low) - margin <= seen.value <= float(high) + margin:
            found.append(f"{seen.value:.4g} {unit}".rstrip() + f", {float(low):.4g} to {float(high):.4g} is expected")
    if seen.quality == Quality.BAD:
        found.append("its quality is Bad")
    period_s = tag.get("period_s")
    if period_s is not None and seen.period_s is not None and seen.period_s > SLOWER * float(period_s):
        found.append(f"every {seen.period_s:.2g} s, {float(period_s):.2g} s is expected")
    return f"{name}: {', '.join(found)}" if found else ""


def _factor(source: str, target: str) -> str:
    try:
        factor, _ = between(source, target)
    except ValueError:
        return ", which is not the same quantity"
    return f" (1 {source} is {factor:.4g} {target})" if "deg" not in source + target else ""


def _few(texts: Sequence[str], between_: str) -> str:
    more = f"{between_}and {len(texts) - SHOWN_MAX} more" if len(texts) > SHOWN_MAX else ""
    return between_.join(texts[:SHOWN_MAX]) + more
