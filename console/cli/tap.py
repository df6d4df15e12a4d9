"""`tap`, `replay`: what passes through a running pipeline now, and what an edited one would have made of it."""

from __future__ import annotations

import argparse
from contextlib import aclosing
from pathlib import Path

from console import figures
from console.cli.arguments import add_verb
from console.cli.session import Session
from console.failure import FAILED, OK, USAGE, Failure
from nodeagent.protocol import PipelineReplay, StageTelemetry, Tap

LAST = 1_000
LAST_MAX = 20_000
FILE_BYTES_MAX = 256 << 10
TAGS_SHOWN = 12
QUALITY = ("", " Uncertain", " Bad")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the verbs."""
    tapped = add_verb(verbs, "tap", tap, summary="values, quality and reasons behind each stage of a running pipeline")
    tapped.add_argument("node")
    tapped.add_argument("bundle")
    tapped.add_argument("stage", nargs="?", help='one stage alone, such as "clean.hampel"')
    tapped.add_argument("-n", "--count", type=int, default=0, help="end after so many (0: go on)")
    again = add_verb(verbs, "replay", replay, summary="the last sweeps through an edited pipeline; nothing is changed")
    again.add_argument("node")
    again.add_argument("bundle")
    again.add_argument("file", type=Path, metavar="FILE", help="the edited pipeline.toml")
    again.add_argument("--last", type=int, default=LAST, metavar="N", help=f"so many sweeps ({LAST})")


async def tap(session: Session, args: argparse.Namespace) -> int:
    """Until it is interrupted, or for --count lines."""
    count = 0
    async with session.client(args.node) as client, aclosing(client.tap(args.bundle, stage=args.stage)) as found:
        async for each in found:
            session.json(each) if session.as_json else session.line(tap_line(each))
            session.flush()
            count += 1
            if args.count and count >= args.count:
                break
    return OK


def tap_line(tap: Tap) -> str:
    """One sweep behind one stage in one line."""
    pairs = zip(tap.names, tap.values, tap.quality, strict=False)
    shown = [
        f"{name} {figures.NONE if value is None else f'{value:.5g}'}{QUALITY[min(2, max(0, quality))]}"
        for name, value, quality in pairs
    ]
    more = f", {len(shown) - TAGS_SHOWN} more" if len(shown) > TAGS_SHOWN else ""
    why = f"  ({'; '.join(tap.reasons[:3])})" if tap.reasons else ""
    about = f"  [{tap.context}]" if tap.context else ""
    return f"{figures.moment(tap.wall_us)} {tap.stage:<22} {', '.join(shown[:TAGS_SHOWN])}{more}{about}{why}"


async def replay(session: Session, args: argparse.Namespace) -> int:
    """Exit code 1 when the file is wrong or nothing could be compared; a difference is not an error."""
    if not 0 < args.last <= LAST_MAX:
        raise Failure(f"--last is 1 to {LAST_MAX}", code=USAGE)
    try:
        data = args.file.read_bytes()
        text = data[: FILE_BYTES_MAX + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{args.file}: {error}", code=USAGE) from error
    if len(data) > FILE_BYTES_MAX:
        raise Failure(f"{args.file} is longer than {FILE_BYTES_MAX} bytes", code=USAGE)
    async with session.operate([args.node]) as lane:
        found = await lane.client(args.node).replay(args.bundle, text, last=args.last)
    if session.as_json:
        session.json(found)
    elif found.problem:
        raise Failure(found.problem.replace("pipeline.toml", str(args.file), 1), "the running pipeline was not touched")
    else:
        _show(session, found)
    return FAILED if found.problem else OK


def _show(session: Session, found: PipelineReplay) -> None:
    times = f"{figures.moment(found.first_us)} to {figures.moment(found.last_us)}"
    session.line(f"{found.sweeps:,} sweeps, {times}; the running pipeline was not touched")
    session.table(
        ("STAGE", "PASSED NOW", "EDITED", "MARKED NOW", "EDITED"),
        stage_rows(found.before.stages, found.after.stages),
        right=(1, 2, 3, 4),
    )
    words = list(dict.fromkeys([*found.before.decisions, *found.after.decisions]))
    rows = [(word, str(found.before.decisions.get(word, 0)), str(found.after.decisions.get(word, 0))) for word in words]
    session.table(("DECISION", "NOW", "EDITED"), rows, right=(1, 2))
    session.line(f"{found.differing:,} predictions differ" + (", the newest of them:" if found.changes else ""))
    if found.changes:
        session.table(
            ("TIME", "NOW", "SCORE", "EDITED", "SCORE", "WHY"),
            [
                (
                    figures.moment(change.at_us),
                    change.decision_before or figures.NONE,
                    _score(change.score_before),
                    change.decision_after or figures.NONE,
                    _score(change.score_after),
                    change.reason_after or change.reason_before,
                )
                for change in found.changes
            ],
            right=(2, 4),
        )


def stage_rows(before: list[StageTelemetry], after: list[StageTelemetry]) -> list[tuple[str, ...]]:
    """Stages by name in the order of the edited file, those that are gone at the end."""
    old, new = ({stage.name: stage for stage in side} for side in (before, after))
    rows = []
    for name in [*new, *(name for name in old if name not in new)]:
        was, now = old.get(name), new.get(name)
        rows.append(
            (
                name,
                *(figures.NONE if side is None else f"{side.frames_total:,}" for side in (was, now)),
                *(figures.NONE if side is None else f"{side.marked_total:,}" for side in (was, now)),
            )
        )
    return rows


def _score(score: float | None) -> str:
    return figures.NONE if score is None else figures.number(score)
