"""Rules against readings: which alerts should stand now. Delays and deadband as ISA-18.2 means them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nodeagent.health.alerts import Condition, Key
from nodeagent.health.measures import MEASURES, Reading
from nodeagent.health.rules import Rule, RuleOptions


class RuleWatch:
    """Remembers since when each figure is beyond its limit, or within it again."""

    def __init__(self) -> None:
        self._beyond_us: dict[Key, int] = {}
        self._within_us: dict[Key, int] = {}

    def judge(
        self, rules: Sequence[Rule], readings: Iterable[Reading], now_us: int, standing: frozenset[Key]
    ) -> list[Condition]:
        """The conditions that should stand. Of rules with one code the first about a subject counts.

        `now_us` is CLOCK_BOOTTIME. A figure that is not known changes nothing.
        """
        by_figure: dict[str, list[Reading]] = {}
        for reading in readings:
            by_figure.setdefault(reading.figure, []).append(reading)
        seen: set[Key] = set()
        found = []
        for rule in rules:
            for reading in by_figure.get(rule.options.figure, ()):
                key = (rule.options.code, reading.subject)
                if key in seen or not rule.concerns(reading.subject, reading.bundle):
                    continue
                seen.add(key)
                if rule.options.enabled and self._stands(rule.options, key, reading.value, now_us, key in standing):
                    found.append(_condition(rule.options, reading))
        for timers in (self._beyond_us, self._within_us):
            for key in timers.keys() - seen:
                del timers[key]
        return found

    def _stands(self, options: RuleOptions, key: Key, value: float | None, now_us: int, standing: bool) -> bool:
        if value is None:
            return standing
        if beyond(options, value, standing=standing):
            self._within_us.pop(key, None)
            return standing or now_us - self._beyond_us.setdefault(key, now_us) >= options.on_delay * 1e6
        self._beyond_us.pop(key, None)
        return standing and now_us - self._within_us.setdefault(key, now_us) < options.off_delay * 1e6


def beyond(options: RuleOptions, value: float, *, standing: bool) -> bool:
    """Whether a value is beyond a limit; what stands must come back by the deadband too."""
    band = options.deadband if standing else 0.0
    high, low = options.high, options.low
    return (high is not None and value > high - band) or (low is not None and value < low + band)


def _condition(options: RuleOptions, reading: Reading) -> Condition:
    measure = MEASURES[options.figure]
    value = reading.value if reading.value is not None else math.nan
    limit = options.low if options.low is not None and not value > options.low + options.deadband else options.high
    text = reading.text or f"{measure.what} {measure.shown(value)}"
    if limit is not None and math.isfinite(value) and options.figure != "bundle.drift":
        text += f" (limit {measure.shown(limit)})"
    message = ". ".join(part for part in (text, options.message, reading.note) if part)
    return Condition(options.code, reading.subject, options.priority, message, options.advice)
