"""`review-queue`, `labels`: what a person should look at next, and what people have found so far."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from console import figures
from console.cli.arguments import add_verb
from console.cli.session import Session
from console.client.client import AgentClient
from console.client.wire import AgentError
from console.failure import OK, USAGE, Failure
from console.records import labels as judged
from console.records import labelstudio
from console.records.labels import LABELS_MIN, Verdict
from console.records.labelstudio import Given
from nodeagent.protocol import LabelRow, ReviewItem


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    summary = "records that a person should label, the most telling first"
    queue = add_verb(verbs, "review-queue", review_queue, summary=summary)
    queue.add_argument("node")
    queue.add_argument("bundle")
    queue.add_argument("-n", "--limit", type=int, default=20)
    answer = add_verb(verbs, "labels-import", take, summary="labels that were given in Label Studio, to their nodes")
    answer.add_argument(
        "file", type=Path, metavar="FILE", help="its JSON export of tasks that `outstation export` made"
    )
    shown = add_verb(verbs, "labels", show, summary="labels that were given, and the precision by model version")
    shown.add_argument("bundle")
    shown.add_argument("nodes", nargs="+", metavar="NODE")
    shown.add_argument("--by-product", action="store_true", help="the precision under each context, such as product=A4")
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
    by = f" after {', '.join(item.labelled_by)}" if item.labelled_by else ""
    score = figures.number(record.score) if record.score is not None else figures.NONE
    return (item.why + by, figures.day_and_time(record.wall_us), str(record.key), score, record.decision, record.label)


async def show(session: Session, args: argparse.Namespace) -> int:
    """Of several nodes the counts are added up."""
    rows: dict[str, list[LabelRow]] = {}
    async with session.fleet(args.nodes) as fleet:
        for node in dict.fromkeys(args.nodes):
            rows[node] = await fleet.client(node).all_labels(args.bundle)
    by = bool(args.by_product)
    found = judged.total(verdict for given in rows.values() for verdict in judged.verdicts(given, by_context=by))
    if session.as_json:
        session.json({"labels": rows, "versions": [_facts(verdict) for verdict in found]})
        return OK
    if args.each:
        listed = [(node, row) for node, given in rows.items() for row in given]
        session.table(
            ("TIME", "NODE", "KEY", "LABEL", "BY", "MODEL", "DECISION", "NOTE"), [_label(*each) for each in listed]
        )
    session.table(
        (
            "VERSION",
            "JUDGED",
            "PRECISION",
            "TRUE",
            "FALSE",
            "MISSED",
            "NORMAL",
            "DISPUTED",
            "UNSURE",
            *["CONTEXT"] * by,
        ),
        [(*_verdict(verdict), *[verdict.context or figures.NONE] * by) for verdict in found],
        right=(1, 2, 3, 4, 5, 6, 7, 8),
    )
    if any(verdict.judged < LABELS_MIN for verdict in found):
        session.line(
            f"A precision is shown from {LABELS_MIN} judged records on; `outstation review-queue` says which to judge."
        )
    return OK


async def take(session: Session, args: argparse.Namespace) -> int:
    """Each label is appended once, however often the file is taken in."""
    try:
        answer = labelstudio.read(args.file.read_bytes())
    except (OSError, labelstudio.AnswerRefused) as error:
        raise Failure(f"{args.file}: {error}", "nothing was labelled", code=USAGE) from error
    by_node: dict[str, list[Given]] = defaultdict(list)
    for given in answer.labels:
        by_node[given.node].append(given)
    known = {row.name for row in session.catalog.nodes()}
    if strange := sorted(by_node.keys() - known):
        raise Failure(f"{args.file} names nodes that this console does not know: {', '.join(strange[:5])}",
                      "nothing was labelled", code=USAGE)  # fmt: skip
    added: dict[str, int] = {}
    gone: dict[str, int] = {}
    async with session.fleet(sorted(by_node)) as fleet:
        for node, rows in by_node.items():
            added[node], gone[node] = await _append(fleet.client(node), rows)
    if session.as_json:
        facts = {"added": added, "gone": gone, "unanswered": answer.unanswered, "foreign": answer.foreign}
        session.json(facts)
        return OK
    for node, count in added.items():
        lost = f", {gone[node]} records are not on the node any more" if gone[node] else ""
        session.line(f"{node}: {count} of {len(by_node[node])} labels are new{lost}")
    session.line(f"{answer.unanswered} tasks had no answer, {answer.foreign} were none of ours")
    return OK


async def _append(client: AgentClient, rows: list[Given]) -> tuple[int, int]:
    """How many labels were added, and how many records were not there any more."""
    there = {
        (bundle, row.key, row.label, row.note)
        for bundle in {given.bundle for given in rows}
        for row in await client.all_labels(bundle)
    }
    added = gone = 0
    for given in rows:
        if (given.bundle, given.key, given.label, given.note) in there:
            continue
        try:
            await client.label(given.key, given.bundle, given.label, given.note)
            added += 1
        except AgentError as error:
            if error.error.code != "RECORD.UNKNOWN":
                raise
            gone += 1
    return added, gone


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
    names = (
        "version",
        "context",
        "judged",
        "precision",
        "true_alarms",
        "false_alarms",
        "missed",
        "normal",
        "disputed",
        "unsure",
    )
    return {name: getattr(verdict, name) for name in names}
