"""The filter grammar and the orders of the fleet. Pure.

`site:press state:warn model:bearing cpu>80` all must hold; a bare word is looked for in the node's name, site, model
and reason; `!` before a word, a pair or a comparison turns it round. What is not known is neither over nor under.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from console.figures import share
from console.fleet.board import NodeState
from console.fleet.view import Condition

_STATES: Final[dict[str, tuple[Condition, ...]]] = {
    "alarm": (Condition.ALARM,),
    "alrm": (Condition.ALARM,),
    "warn": (Condition.WARN,),
    "unknown": (Condition.UNKNOWN,),
    "unkn": (Condition.UNKNOWN,),
    "maintenance": (Condition.MAINTENANCE,),
    "mnt": (Condition.MAINTENANCE,),
    "ok": (Condition.OK,),
    "fault": (Condition.ALARM, Condition.WARN, Condition.UNKNOWN),
}

_COMPARED: Final = re.compile(r"([a-z0-9]+)([<>])(-?\d+(?:\.\d+)?)")
WORDS: Final = ("site", "line", "machine", "node", "state", "model", "bundle", "version", "link", "label", "trial")


class QueryError(ValueError):
    """The filter cannot be read. The text says which word and what is allowed."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition of a filter."""

    key: str
    value: str
    inverted: bool

    def holds(self, state: NodeState) -> bool:
        return _TESTS[self.key](state, self.value) != self.inverted


@dataclass(frozen=True, slots=True)
class Query:
    """A filter that was read; the empty one lets everything through."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def matches(self, state: NodeState) -> bool:
        return all(term.holds(state) for term in self.terms)


def parse(text: str) -> Query:
    """Reads a filter. Raises QueryError for a key or a state that does not exist."""
    terms = []
    for word in text.split():
        inverted = word.startswith("!")
        word = word.removeprefix("!")
        if (compared := _COMPARED.fullmatch(word)) is not None:
            terms.append(_comparison(compared[1], compared[2], compared[3], inverted))
            continue
        key, colon, value = word.partition(":")
        if not word:
            continue
        if not colon:
            terms.append(Term("word", word.casefold(), inverted))
            continue
        if key not in WORDS:
            raise QueryError(f"no such word: {key}: use {', '.join(WORDS)}")
        if key == "state" and not _states(value.casefold()):
            raise QueryError(f"no such state: {value}: use alarm, warn, unknown, mnt, ok or fault")
        terms.append(Term(key, value.casefold(), inverted))
    return Query(text.strip(), tuple(terms))


def _comparison(name: str, sign: str, limit: str, inverted: bool) -> Term:
    if name not in _FIGURES:
        raise QueryError(f"no such figure: {name}: use {', '.join(_FIGURES)}")
    return Term("figure", f"{name}{sign}{limit}", inverted)


def _figure(state: NodeState, text: str) -> bool:
    found = _COMPARED.fullmatch(text)
    assert found is not None
    value = _FIGURES[found[1]](state)
    return value is not None and (value > float(found[3]) if found[2] == ">" else value < float(found[3]))


def _states(value: str) -> set[Condition]:
    """The conditions that a word, or the beginning of one, stands for."""
    return {condition for word, found in _STATES.items() if word.startswith(value) for condition in found}


def _has(text: str, value: str) -> bool:
    return value in text.casefold()


def _word(state: NodeState, value: str) -> bool:
    address = state.view.address
    texts = [address.name, address.site, address.line, address.machine, state.reason]
    texts += [part for b in state.bundles for part in (b.bundle, b.model)]
    return any(_has(text, value) for text in texts)


def _label(state: NodeState, value: str) -> bool:
    return any(_has(f"{key}={text}", value) for key, text in state.view.address.labels)


_TESTS: Final[dict[str, Callable[[NodeState, str], bool]]] = {
    "word": _word,
    "site": lambda s, v: _has(s.view.address.site, v),
    "line": lambda s, v: _has(s.view.address.line, v),
    "machine": lambda s, v: _has(s.view.address.machine, v),
    "node": lambda s, v: _has(s.view.name, v),
    "state": lambda s, v: s.condition in _states(v),
    "model": lambda s, v: any(_has(b.model, v) for b in s.bundles),
    "bundle": lambda s, v: any(_has(b.bundle, v) for b in s.bundles),
    "version": lambda s, v: any(b.version.casefold().startswith(v) for b in s.bundles),
    "link": lambda s, v: _has(s.view.link.value, v),
    "label": _label,
    "figure": _figure,
    "trial": lambda s, v: any(b.trial is not None for b in s.bundles) == (v in ("", "yes", "1")),
}


# ---------------------------------------------------------------- orders


def inferences(state: NodeState) -> float | None:
    """Inferences a second over all bundles; None when not known."""
    return sum(b.inferences_per_s for b in state.bundles) if state.known else None


def worst_p95(state: NodeState) -> float | None:
    """The highest p95 latency of a bundle in milliseconds."""
    return max((b.latency_ms_p95 for b in state.bundles if b.latency_ms_p95 is not None), default=None)


def disk_percent(state: NodeState) -> float | None:
    """Used part of the disk in percent."""
    if not state.known or state.view.telemetry is None:
        return None
    host = state.view.telemetry.host
    if host.disk_bytes_free is None or host.disk_bytes_total is None:
        return None
    return share(host.disk_bytes_total - host.disk_bytes_free, host.disk_bytes_total)


def _host(field: str) -> Callable[[NodeState], float | None]:
    def read(state: NodeState) -> float | None:
        telemetry = state.view.telemetry
        return getattr(telemetry.host, field) if state.known and telemetry is not None else None

    return read


def memory_percent(state: NodeState) -> float | None:
    """Used part of the memory in percent."""
    if not state.known or state.view.telemetry is None:
        return None
    host = state.view.telemetry.host
    return share(host.memory_bytes_used, host.memory_bytes_total)


def _rejects(state: NodeState) -> float | None:
    return sum(b.rejects_per_s for b in state.bundles) if state.known else None


def _clock(state: NodeState) -> float | None:
    offset_s = state.view.clock_offset_s
    return abs(offset_s) if state.known and offset_s is not None else None


def _round_trip(state: NodeState) -> float | None:
    return state.view.rtt_ms if state.known else None


# The orders `s` goes through. Figures: the highest first; what is not known comes last.
_FIGURES: Final[dict[str, Callable[[NodeState], float | None]]] = {
    "rate": inferences,
    "p95": worst_p95,
    "rejects": _rejects,
    "cpu": _host("cpu_percent"),
    "memory": memory_percent,
    "disk": disk_percent,
    "days": _host("disk_days_left"),
    "temperature": _host("temperature_c"),
    "offset": _clock,
    "link": _round_trip,
}
_LOWEST_FIRST: Final = ("days",)
ORDERS: Final = ("state", "node", "site", "model", *_FIGURES)


def _runs(state: NodeState) -> tuple[bool, str]:
    """What runs first on a node; nodes where that is nothing, or not known, come last."""
    first = next(iter(state.bundles), None)
    return first is None, f"{first.bundle} {first.version}" if first is not None else ""


def order(states: Iterable[NodeState], by: str = "state", reverse: bool = False) -> list[NodeState]:
    """The states in an order that does not depend on how they came: worst first by default, then by name."""
    listed = sorted(states, key=lambda s: s.view.name)
    if by == "node":
        return listed[::-1] if reverse else listed
    if by == "site":
        return sorted(listed, key=lambda s: (s.view.address.site, s.view.address.line), reverse=reverse)
    if by == "model":
        return sorted(listed, key=_runs, reverse=reverse)
    if by == "state":
        return sorted(listed, key=lambda s: (s.condition, s.trial is None), reverse=reverse)
    figure = _FIGURES[by]
    known = [(value, s) for s in listed if (value := figure(s)) is not None]
    known.sort(key=lambda pair: pair[0], reverse=reverse == (by in _LOWEST_FIRST))
    return [s for _, s in known] + [s for s in listed if figure(s) is None]
