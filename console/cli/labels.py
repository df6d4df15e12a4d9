"""`review-queue`, `labels`: what a person should look at next, and what people have found so far."""

from __future__ import annotations

import argparse

from console import figures
from console import labels as judged
from console.cli.arguments import add_verb
from console.cli.session import Session
from console.failure import OK
from console.labels import LABELS_MIN, Verdict
from nodeagent.protocol import LabelRow, ReviewItem


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    queue = add_verb(verbs, "review-queue", review_queue, summary="records that a person should label, the most telling first")
    queue.add_argument("node")
    queue.add_argument("bundle")
    queue.add_argument("-n", "--limit", type=int, default=20)
    shown = add_verb(verbs, "labels", show, summary="labels that were given, and the precision by model version")
    shown.add_argument("bundle")
    shown.add_argument("nodes", nargs="+", metavar="NODE")
    shown.add_argument("--each", action="store_true", help="every label, by whom and when")


async def review_queue(session: Session, args: argparse.Namespace) -> int:
    """Alarms, what lay near the limit, and a share of the normal ones. Answer with `outstation label`."""
    async with session.client(args.node) as client:
        found = await client.review_queue(args.bundle, limit=args.limit)
    if session.as_json:
        session.json(found)
        return OK
    session.table(
        ("WHY", "TIME", "KEY", "SCORE", "DECISION", "MODEL SAID"), [_row(item) for item in found.items], right=(3,)
    )
    session.line(
        f"{len(found.items)} of the last {found.looked_at} records of {args.node} wait for you: "
        f"outstation label {args.node} {found.bundle} KEY {'|'.join(judged.STANDARD)}"
    )
    return OK


def _row(item: ReviewItem) -> tuple[str, ...]:
    record = item.record
    by = f" to {', '.join(item.labelled_by)}" if item.labelled_by else ""
    score = figures.number(record.score) if record.score is not None else figures.NONE
    return (item.why + by, figures.day_and_time(record.wall_us), str(record.key), score, record.decision, record.label)


async def show(session: Session, args: argparse.Namespace) -> int:
    """Of several nodes the counts are added up."""
    rows: dict[str, list[LabelRow]] = {}
    async with session.fleet(args.nodes) as fleet:
        for node in dict.fromkeys(args.nodes):
            rows[node] = await fleet.client(node).all_labels(args.bundle)
    found = judged.total(verdict for given in rows.values() for verdict in judged.verdicts(given))
    if session.as_json:
        session.json({"labels": rows, "versions": [_facts(verdict) for verdict in found]})
        return OK
    if args.each:
        listed = [(node, row) for node, given in rows.items() for row in given]
        session.table(
            ("TIME", "NODE", "KEY", "LABEL", "BY", "MODEL", "DECISION", "NOTE"), [_label(*each) for each in listed]
        )
    session.table(
        ("VERSION", "JUDGED", "PRECISION", "TRUE", "FALSE", "MISSED", "NORMAL", "DISPUTED", "UNSURE"),
        [_verdict(verdict) for verdict in found],
        right=(1, 2, 3, 4, 5, 6, 7, 8),
    )
    if any(verdict.judged < LABELS_MIN for verdict in found):
        session.line(
            f"A precision is shown from {LABELS_MIN} judged records on; `outstation review-queue` says which to judge."
        )
    return OK


def _label(node: str, row: LabelRow) -> tuple[str, ...]:
    when = figures.day_and_time(row.wall_us)
    return (when, node, str(row.key), row.label, row.actor, row.version or figures.UNKNOWN, row.decision, row.note)


def _verdict(verdict: Verdict) -> tuple[str, ...]:
    precision = verdict.precision
    few = f"{LABELS_MIN - verdict.judged} more" if verdict.judged < LABELS_MIN else figures.NONE
    counts = ("true_alarms", "false_alarms", "missed", "normal", "disputed", "unsure")
    return (
        verdict.version,
        str(verdict.judged),
        few if precision is None else f"{100 * precision:.0f} %",
        *(str(getattr(verdict, name)) for name in counts),
    )


def _facts(verdict: Verdict) -> dict[str, object]:
    names = ("version", "judged", "precision", "true_alarms", "false_alarms", "missed", "normal", "disputed", "unsure")
    return {name: getattr(verdict, name) for name in names}
