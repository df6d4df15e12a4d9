"""What labels say of a model: its precision by version, once enough of its alarms were judged. Pure.

A label is a word. Those of NORMAL say that nothing was wrong, those of UNSURE say nothing, every other one says that
something was. Where several people labelled one record the newest label of each counts; a record on which they differ
is counted as disputed and judges nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nodeagent.protocol import LabelRow, Record

NORMAL: Final = frozenset({"normal", "ok", "good", "accept", "healthy", "false-alarm", "false alarm", "no fault"})
UNSURE: Final = frozenset({"unsure", "unknown", "?"})
ALARMS: Final = frozenset({"alarm", "reject"})
STANDARD: Final = ("fault", "normal", "unsure")
LABELS_MIN: Final = 20
DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What people found of one version, under one `context` where that was asked: empty, where the record has none.

    Counts are records; disputed and unsure ones are in no other count.
    """

    version: str
    true_alarms: int = 0
    false_alarms: int = 0
    missed: int = 0
    normal: int = 0
    disputed: int = 0
    unsure: int = 0
    context: str = ""

    @property
    def judged(self) -> int:
        return self.true_alarms + self.false_alarms + self.missed + self.normal

    @property
    def precision(self) -> float | None:
        """Of the alarms the share that was right; None before LABELS_MIN records were judged, or without alarms."""
        alarms = self.true_alarms + self.false_alarms
        return self.true_alarms / alarms if alarms and self.judged >= LABELS_MIN else None


def verdicts(labels: Iterable[LabelRow], *, by_context: bool = False) -> list[Verdict]:
    """One for each version that has labels, the newest revision first. A key is one record: call it for one node.

    `by_context`: one for each product and the like under each version.
    """
    records: dict[int, dict[str, LabelRow]] = defaultdict(dict)
    for label in sorted(labels, key=lambda row: row.id):
        records[label.key][label.actor] = label
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    newest: dict[str, int] = {}
    for by_person in records.values():
        rows = list(by_person.values())
        version = rows[-1].version or "?"
        newest[version] = max(newest.get(version, -1), rows[-1].revision or -1)
        counts[version, rows[-1].context if by_context else ""][_found(rows)] += 1
    order = sorted(counts, key=lambda each: (-newest[each[0]], each[1]))
    return [Verdict(version, **counts[version, context], context=context) for version, context in order]


def total(parts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts of several nodes added up by version and context, in the order in which they first come."""
    fields = ("true_alarms", "false_alarms", "missed", "normal", "disputed", "unsure")
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for part in parts:
        row = sums.setdefault((part.version, part.context), dict.fromkeys(fields, 0))
        for name in fields:
            row[name] += getattr(part, name)
    return [Verdict(version, **row, context=context) for (version, context), row in sums.items()]


def offered(records: Sequence[Record]) -> list[str]:
    """The labels that a digit gives, at most nine: those that occur here, then the standard ones."""
    found = {record.label for record in records if record.label}
    return [*sorted(found - set(STANDARD))[: DIGITS - len(STANDARD)], *STANDARD]


def _found(rows: Sequence[LabelRow]) -> str:
    said = {row.label.casefold() not in NORMAL for row in rows if row.label.casefold() not in UNSURE}
    if not said:
        return "unsure"
    if len(said) > 1:
        return "disputed"
    wrong, alarmed = said == {True}, rows[-1].decision in ALARMS
    return ("true_alarms" if wrong else "false_alarms") if alarmed else ("missed" if wrong else "normal")
